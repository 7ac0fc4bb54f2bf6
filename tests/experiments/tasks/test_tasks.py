"""Each problem's targets follow from its inputs, and every replica has data of its own."""

import numpy as np
import pytest
import torch

from salnb.experiments import tasks
from tests.problems import seeded
from tests.tolerances import counted, rounding, sampling, scatter


@pytest.mark.parametrize(("pulses", "lag"), [(2, 1), (2, 30), (3, 30), (5, 17)])
def test_parity_of_pulses_follows_from_the_inputs(pulses, lag):
    inputs, targets = tasks.lagged_parity(200, seeded(), lag=lag, pulses=pulses, replicas=(3,))
    assert inputs.shape == (lag + 1, 3, 200, 1) and targets.shape == (3, 200)
    assert (inputs[0] != 0).all() and (inputs[-1] != 0).all()  # the lag is that between first input and output
    assert ((inputs != 0).sum(0) == pulses).all()
    assert torch.equal((inputs > 0).sum((0, -1)) % 2, targets)


def test_xor_is_parity_of_two():
    inputs, targets = tasks.lagged_xor(500, seeded(), lag=300)
    assert inputs.shape == (301, 500, 1)
    assert torch.equal((inputs[0, :, 0] > 0) ^ (inputs[300, :, 0] > 0), targets == 1)
    fewest, most = counted(0.5, 500)
    assert fewest <= targets.sum() <= most


def test_temporal_order_follows_from_the_inputs():
    inputs, targets = tasks.temporal_order(300, seeded(), lag=100, distractors=3)
    assert inputs.shape == (101, 300, 5) and (inputs.sum(-1) == 1).all()
    relevant = inputs[..., :2].sum(-1)  # (T, n)
    assert (relevant.sum(0) == 2).all() and (relevant[:10].sum(0) == 1).all() and (relevant[-10:].sum(0) == 1).all()
    first, second = inputs[:50, :, 1].sum(0), inputs[50:, :, 1].sum(0)
    assert torch.equal(2 * first + second, targets.float())
    assert targets.unique().tolist() == [0, 1, 2, 3]


def test_static_parity():
    inputs, targets = tasks.parity(1000, seeded(), bits=4, replicas=(2,))
    assert inputs.shape == (2, 1000, 4)
    assert torch.equal((inputs.prod(-1) < 0), targets == 1) or torch.equal((-inputs).prod(-1) < 0, targets == 0)
    assert torch.equal((inputs > 0).sum(-1) % 2, targets)


def test_moons_without_noise_lie_on_two_half_circles():
    inputs, targets = tasks.two_moons(500, seeded(), noise=0.0)
    for label, sign in ((0, 1), (1, -1)):
        points = inputs[targets == label] - torch.tensor([label - 0.5, 0.5 * label - 0.25])
        digits = rounding(torch.float32, 5, 2)  # an angle, its sine, a shift and back, a length, of numbers up to 2
        torch.testing.assert_close(points.norm(dim=-1), torch.ones(len(points)), rtol=0, atol=digits)
        assert (sign * points[:, 1] >= -digits).all()


def test_disc_and_ring_are_apart_and_uniform_by_area():
    inputs, targets = tasks.disc_and_ring(20_000, seeded(), noise=0.0)
    radius = inputs.norm(dim=-1)
    disc, ring = radius[targets == 0], radius[targets == 1]
    digits = rounding(torch.float32, 5)
    assert disc.max() <= 0.6 + digits and 1.0 - digits <= ring.min() and ring.max() <= 1.4 + digits
    # Uniform by area: squares are uniform between those of the radii.
    for radii, (low, high) in ((disc, (0, 0.36)), (ring, (1, 1.96))):
        error = sampling((high - low) / 12**0.5, len(radii))
        assert radii.square().mean().item() == pytest.approx((low + high) / 2, abs=error)


def test_digits_are_scaled_and_split():
    inputs, targets = tasks.digits(3000, seeded(), replicas=(2,))
    assert inputs.shape == (2, 3000, 64) and targets.unique().tolist() == list(range(10))
    images = inputs.flatten(0, 1).double()  # independent draws; the pixels of one are not
    means, squares = images.mean(-1), images.square().mean(-1)
    assert abs(means.mean()) < scatter(means) and abs(squares.mean() - 1) < scatter(squares)
    assert scatter(means) < 0.02 and scatter(squares) < 0.02
    test_inputs, _ = tasks.digits(2000, seeded(), split="test")
    train_rows = {tuple(row.tolist()) for row in inputs.flatten(0, 1)}
    assert not any(tuple(row.tolist()) in train_rows for row in test_inputs[:300])
    with pytest.raises(ValueError, match="split: got 'all'"):
        tasks.digits(3, split="all")


@pytest.mark.parametrize("name", tasks.TASKS)
def test_same_generator_same_data_and_replicas_differ(name):
    make = tasks.TASKS[name]
    (a, b), (c, d), (e, _) = (make(40, seeded(seed), replicas=(2,)) for seed in (1, 1, 2))
    assert torch.equal(a, c) and torch.equal(b, d) and not torch.equal(a, e)
    axis = a.ndim - 3
    assert not torch.equal(*a.unbind(axis))


def test_bad_numbers_are_named():
    with pytest.raises(ValueError, match="n: got 0"):
        tasks.parity(0)
    with pytest.raises(ValueError, match="lag: got 0"):
        tasks.lagged_xor(3, lag=0)
    with pytest.raises(ValueError, match="pulses: got 9, but a lag of 3"):
        tasks.lagged_parity(3, lag=3, pulses=9)


def test_the_lag_of_varied_xor_varies_and_its_answer_is_that_of_the_two_pulses():
    inputs, targets = tasks.varied_xor(400, seeded(), replicas=(2,))
    assert inputs.shape == (351, 2, 400, 1) and targets.shape == (2, 400)
    pulses = inputs.squeeze(-1)
    assert ((pulses != 0).sum(0) == 2).all() and (pulses[350] != 0).all()
    first = (pulses[:350] != 0).int().argmax(0)
    assert first.min() == 0 and first.max() == 100 and 40 < first.float().mean() < 60
    assert torch.equal(targets, (pulses.sum(0) == 0).long())
    assert (tasks.varied_xor(50, seeded(), lag=9, spread=0.0)[0][0] != 0).all()
    given = tasks.varied_xor(50, seeded(), lag=8, spread=np.float32(0.5))[0]
    assert torch.equal(given, tasks.varied_xor(50, seeded(), lag=8, spread=0.5)[0])


@pytest.mark.parametrize("spread", [-0.1, 1.0, 0.99, "wide", True, float("nan")])
def test_a_spread_that_lets_pulses_meet_is_refused(spread):
    with pytest.raises(ValueError, match="spread: got"):
        tasks.varied_xor(5, lag=10, spread=spread)
