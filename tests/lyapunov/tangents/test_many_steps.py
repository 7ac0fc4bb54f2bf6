"""Many steps at once against the same steps one by one: states to the last bit, tangents to rounding."""

import math

import pytest
import torch

from salnb import TanhRNN, lyapunov_spectrum, rnn_step, tanh_map
from tests.digits import kept
from tests.problems import random, seeded
from tests.tolerances import within


def network(replicas=(), n=24, gain=2.0, connectivity=1.0, dtype=torch.float32, device="cpu"):
    given = dict(gain=gain, replicas=replicas, connectivity=connectivity, generator=seeded(), dtype=dtype)
    net = TanhRNN(0, n, 1, **given).to(device)
    with torch.no_grad():
        net.recurrent[0].bias.copy_(0.1 * random(*replicas, n, seed=2))
    return net


SYSTEMS = {
    "map": (lambda **g: tanh_map(2 * random(24, 24, **g) / 24**0.5), [(24,), (1, 24), (5, 24), (64, 24), (2, 3, 24)]),
    "map of many gains": (
        lambda **g: tanh_map(random(24, 24, **g) / 24**0.5, gain=torch.linspace(0.5, 3.0, 5)), [(5, 24), (3, 5, 24)],
    ),
    "network": (network, [(24,), (1, 24), (5, 24), (2, 3, 24)]),
    "network of missing connections": (lambda **g: network(connectivity=0.3, **g), [(5, 24)]),
    "replicas": (lambda **g: network((3,), **g), [(3, 1, 24), (3, 5, 24), (3, 2, 2, 24)]),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind, shape", [(kind, shape) for kind, (_, shapes) in SYSTEMS.items() for shape in shapes])
def test_states_and_tangents_are_those_of_single_steps(kind, shape, dtype, device):
    system = SYSTEMS[kind][0](dtype=dtype, device=device)
    step = (rnn_step(system) if isinstance(system, TanhRNN) else system).frozen()
    state, tangents = random(*shape, device=device, dtype=dtype), random(*shape, 1, seed=1, device=device, dtype=dtype)
    for n_steps in (1, 2, 7):
        kept = state.clone(), tangents.clone()
        with torch.no_grad():
            x, v = step.jvp_many(state, tangents, n_steps)
            following, moved = state, tangents
            for _ in range(n_steps):
                following, moved = step.jvp(following, moved)
        assert torch.equal(state, kept[0]) and torch.equal(tangents, kept[1])
        if device.type == "cpu":
            assert torch.equal(x, following)
        torch.testing.assert_close(x, following, **within(following, 24 * n_steps))
        torch.testing.assert_close(v, moved, **within(moved, 24 * n_steps))
        assert x.shape == state.shape and v.shape == tangents.shape


@pytest.mark.parametrize("kind", SYSTEMS)
def test_one_exponent_is_the_first_of_several_over_the_same_trajectory(kind):
    system, shapes = SYSTEMS[kind]
    made = system(dtype=torch.float64)
    step = rnn_step(made) if isinstance(made, TanhRNN) else made
    state = random(*shapes[-1])
    runs = [lyapunov_spectrum(step, state, n_steps=1500, n_warmup=200, k=k, qr_every="auto") for k in (1, 2)]
    assert torch.equal(runs[0].state, runs[1].state)
    # Two tangents that began apart grow alike but for what turning into one direction costs them, a few nats in all. Half the
    # cosine of a random direction with a given one falls below e⁻¹⁰ times its usual size once in 20,000 draws.
    torch.testing.assert_close(runs[0].exponents[..., 0], runs[1].exponents[..., 0], rtol=0, atol=10 / 1500)


def test_a_step_of_ones_own_without_it_gives_the_same():
    step, state = tanh_map(random(24, 24)), random(6, 24)
    found = [lyapunov_spectrum(s, state, n_steps=200, k=1, qr_every=every) for every in (1, 5, "auto")
             for s in (step, lambda x: step(x))]  # fmt: skip
    digits = 2 * kept(step, state, n_steps=200, k=1, qr_every=5).exponents
    for other in found[1:]:
        torch.testing.assert_close(other.exponents, found[0].exponents, rtol=0, atol=digits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("factor", [1e-15, 1e-9, 1e-3, 1e5, 1e12])
def test_growth_that_soon_leaves_the_range_of_numbers_shortens_the_interval(factor, dtype):
    """At 0 the slope is 1: every step multiplies a tangent by the factor."""
    weight = factor * torch.eye(3, dtype=dtype)
    found = lyapunov_spectrum(tanh_map(weight), torch.zeros(2, 3, dtype=dtype), n_steps=400, k=1, qr_every="auto")
    torch.testing.assert_close(found.exponents, torch.full((2, 1), math.log(factor), dtype=torch.float64), rtol=1e-6, atol=0)


def test_a_direction_that_dies_and_a_state_that_is_lost():
    weight = torch.zeros(3, 3)
    weight[0, 1] = 1.0
    found = lyapunov_spectrum(tanh_map(weight), torch.zeros(2, 3), n_steps=50, k=1, qr_every="auto")
    assert (found.exponents == -math.inf).all()
    exploded = lyapunov_spectrum(tanh_map(torch.full((3, 3), math.inf)), torch.ones(1, 3), n_steps=50, k=1, qr_every="auto")
    assert not torch.isfinite(exploded.exponents).any()


def test_what_is_seen_on_the_way_needs_single_steps():
    """Driven, observed or with a tangent step of one's own: the same answer by the other path."""
    net, state = network(dtype=torch.float64), random(4, 24)
    plain = lyapunov_spectrum(rnn_step(net), state, n_steps=100, k=1)
    seen = lyapunov_spectrum(rnn_step(net), state, n_steps=100, k=1, sensitivity=True)
    own = lyapunov_spectrum(rnn_step(net), state, n_steps=100, k=1, jvp=rnn_step(net).jvp)
    assert torch.isfinite(seen.log_sensitivity()).all()
    digits = 2 * kept(rnn_step(net), state, n_steps=100, k=1).exponents
    for other in (seen, own):
        torch.testing.assert_close(other.exponents, plain.exponents, rtol=0, atol=digits)
