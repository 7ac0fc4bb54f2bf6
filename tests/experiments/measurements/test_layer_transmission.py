"""Layers at sensitivity 1: scaled exactly, and measured against what algebra says of them."""

import math

import pytest
import torch

from salnb import neuron_sensitivity
from salnb.experiments.measurements.layer_transmission import layer_growth, measure_growth, scale_rows
from salnb.experiments.results import store
from salnb.sensitivity.activations import ACTIVATIONS
from tests.problems import SEED, seeded
from tests.tolerances import rounding, sampling, within

UNBOUNDED = ["relu", "leaky_relu", "gelu", "softplus", "identity"]


def known(width, samples, networks=1):
    """How well the log growth through a wide layer is known: half the log of a quotient of two mean squares.

    Where f is a ReLU half of the terms are 0, which doubles the kurtosis of the others to 6; the variance of the quotient of
    means over ``width`` terms is then (5 + 2) / width. A quarter of it is also how far half of E[log] lies below half of log E.
    """
    variance = (5 + 2) / width
    return sampling(math.sqrt(variance) / 2, samples * networks) + variance / 4


def draw(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("average", "power"), [("mean", 1), ("rms", 2)])
def test_every_neuron_gets_the_wanted_average_and_keeps_its_direction(activation, average, power):
    weight, inputs = draw(3, 7, 10), 0.2 * draw(3, 400, 10, seed=1)
    scaled = scale_rows(weight, inputs, activation, average=average, target=0.8)
    s = neuron_sensitivity(scaled, inputs @ scaled.mT, activation)
    reached = s.pow(power).mean(-2).pow(1 / power)
    torch.testing.assert_close(reached, torch.full_like(reached, 0.8), rtol=0, atol=rounding(torch.float64, 10 + 400))
    along = torch.cosine_similarity(scaled, weight, dim=-1)
    torch.testing.assert_close(along, torch.ones_like(along))


def test_of_two_lengths_the_shorter_one_is_taken():
    weight, inputs = torch.ones(1, 1, dtype=torch.float64), torch.tensor([[0.5]], dtype=torch.float64)
    length = scale_rows(weight, inputs, target=0.6).item()  # length * sech^2(length / 2) rises to 0.9 and falls again
    assert length < 2 * 0.772 and length * (1 - math.tanh(length / 2) ** 2) == pytest.approx(0.6)


def test_an_orthogonal_linear_layer_changes_nothing():
    weight = torch.linalg.qr(draw(4, 20, 20))[0]
    growth = measure_growth(weight, torch.zeros(4, 20, dtype=torch.float64), draw(4, 50, 20, seed=1), "identity")
    for values, exact in zip(growth, (0, 0, 1, 1, 0), strict=True):
        torch.testing.assert_close(values, torch.full_like(values, exact), rtol=0, atol=rounding(torch.float64, 20 + 50))


def test_samples_in_which_no_neuron_responds_are_counted_and_left_out():
    weight, bias = torch.eye(2, dtype=torch.float64)[None], torch.zeros(1, 2, dtype=torch.float64)
    inputs = torch.tensor([[[1.0, 1.0], [-1.0, -1.0], [2.0, 1.0], [-2.0, -1.0]]], dtype=torch.float64)  # on, off, on, off
    growth = measure_growth(weight, bias, inputs, "relu", generator=seeded(0))
    assert growth.silent.item() == 0.5
    for values in (growth.forward, growth.backward):  # where both neurons are on, the layer is the identity
        torch.testing.assert_close(values, torch.zeros_like(values), rtol=0, atol=rounding(torch.float64, 2))


def test_growth_is_that_of_the_jacobian_forward_and_backward():
    weight, bias, inputs = draw(1, 30, 12), draw(1, 30, seed=1), draw(1, 1, 12, seed=2)
    jacobian = torch.autograd.functional.jacobian(lambda x: torch.tanh(weight[0] @ x + bias[0]), inputs[0, 0])
    many = inputs.expand(1, 20_000, 12)
    growth = measure_growth(weight, bias, many, generator=seeded(3))
    forward, backward = draw(12, 20_000, seed=4), draw(30, 20_000, seed=5)
    for measured, matrix, directions in ((growth.forward, jacobian, forward), (growth.backward, jacobian.T, backward)):
        wanted = ((matrix @ directions).square().mean(0) / directions.square().mean(0)).log() / 2
        error = sampling(wanted.std().item(), 20_000) * math.sqrt(2)  # two means over other directions each
        assert abs(measured.item() - wanted.mean()) < error < 0.02
    assert growth.rms.item() == pytest.approx(jacobian.square().sum(1).mean().sqrt().item())


@pytest.mark.parametrize("activation", ["tanh", *UNBOUNDED])
def test_at_rms_1_a_wide_layer_passes_a_change_on_at_its_size(activation):
    growth = layer_growth(200, activation, average="rms", replicas=4, samples=200, seed=SEED)
    assert growth.forward.abs().max() < known(200, 200) and growth.backward.abs().max() < known(200, 200)


def test_at_mean_1_a_wide_relu_layer_expands_by_half_a_log_of_two():
    growth = layer_growth(200, "relu", replicas=4, samples=200, seed=SEED)
    assert abs(growth.forward.mean() - math.log(2) / 2) < known(200, 200, 4)


def test_a_sigmoid_layer_is_a_tanh_layer_that_reads_half_as_much():
    double = {"seed": SEED, "dtype": torch.float64}
    pairs = zip(layer_growth(20, "sigmoid", size=0.25, **double), layer_growth(20, "tanh", size=0.5, **double), strict=True)
    for by_sigmoid, by_tanh in pairs:
        torch.testing.assert_close(by_sigmoid, by_tanh, **within(by_tanh, 20 + 256, 1.0))


def test_same_seed_same_layers():
    first, again, other = (layer_growth(10, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.forward, again.forward) and not torch.equal(first.forward, other.forward)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(width=0), "width: got 0"),
        (dict(size=0.0), "size: got 0.0"),
        (dict(size=1.0), "no row length brings the mean sensitivity"),
        (dict(average="median"), "average: got 'median', expected one of mean, rms"),
        (dict(activation="sine"), "activation: got 'sine'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(arguments, message):
    with pytest.raises(ValueError, match=message):
        layer_growth(**{"width": 8, **arguments})
    with pytest.raises(ValueError, match="target: got 0"):
        scale_rows(torch.ones(2, 2), torch.ones(1, 2), target=0)


def test_stored_layers_are_those_asked_for_and_come_out_the_same():
    stored = store.read("transmission")
    for settings in store.LAYERS[:2]:
        stored_before = stored[f"{settings['activation']}, {settings['width']}"]
        assert stored_before["settings"] == settings
        again = store.transmit(settings)
        # Single precision: sums over at most 64 inputs, lengths to 22 halvings of a quarter of an octave; stored to five digits.
        digits = rounding(torch.float32, 64 + 22) + 1e-5
        assert again["forward"] == pytest.approx(stored_before["forward"], rel=0, abs=digits)
