"""A bit in a recurrent network: networks whose kind is known by construction, and the rule that sorts them."""

import math

import pytest
import torch

from salnb import TanhRNN
from salnb.experiments.measurements.working_memory import (
    after_first_pulse,
    distance_to,
    four_sequences,
    kept_bit,
    kind_of,
    orbits,
    period_of,
    right_answers,
)
from salnb.experiments.training.diagnostics import exponent_of


def network(*weights: torch.Tensor, pulse: float = 1.0) -> TanhRNN:
    """One replica per matrix; the pulse reaches the first neuron alone, and there are no biases."""
    n = len(weights[0])
    net = TanhRNN(1, n, 2, gain=1.0, replicas=(len(weights),), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        net.recurrent[0].weight.copy_(torch.stack(weights).double())
        net.input.weight.zero_()
        net.input.weight[:, 0, 0] = pulse
        for layer in (net.recurrent[0], net.readout):
            layer.bias.zero_()
    return net


def turned(angle: float, gain: float) -> torch.Tensor:
    return gain * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def test_networks_whose_kind_is_known():
    """Two stable states; a rotation that goes on; one that dies; a turn by exactly a quarter, which is periodic."""
    latch = torch.tensor([[2.0, 0.0], [0.0, 0.5]])
    kinds = {"latch": latch, "clock": turned(1.0, 1.5), "fading echo": turned(1.0, 0.9), "locked clock": turned(math.pi / 2, 1.5)}
    found = kept_bit(network(*kinds.values()), lag=20, n_warmup=2000, n_steps=2000)
    assert found.kind == list(kinds)
    largest = found.exponents.amax(-1)
    exact = torch.tensor([0.5, 0.9], dtype=torch.float64).log()  # at rest: the second neuron of the latch, and the whole echo
    torch.testing.assert_close(largest[[0, 2]], exact, rtol=0, atol=5e-3)
    assert abs(largest[1]) < 1e-3 and largest[3] < -1e-3


def test_the_latch_of_a_single_neuron_has_the_exponent_of_its_resting_state():
    rest = 0.0
    for _ in range(200):
        rest = math.tanh(2 * (rest or 0.5))
    found = kept_bit(network(torch.tensor([[2.0]])), lag=20, n_warmup=500, n_steps=500)
    assert found.kind == ["latch"]
    torch.testing.assert_close(found.exponents, torch.full((1, 2), math.log(2 * (1 - rest**2)), dtype=torch.float64))
    torch.testing.assert_close(found.apart, torch.tensor([2 * rest], dtype=torch.float64))
    assert found.moves < 1e-12 and found.period == torch.inf


def test_a_chaotic_network_is_called_so():
    weight = 3.0 * torch.randn(30, 30, generator=torch.Generator().manual_seed(3)) / 30**0.5
    found = kept_bit(network(weight), lag=10, n_warmup=1000, n_steps=2000)
    assert found.exponents.min() > 0.01 and found.kind == ["chaos"]
    assert kind_of(0.1, 1.0, 0.1, 0.1, 1.0) == "chaos" and kind_of(0.1, 1.0, 0.9, 0.1, 1.0) == "latch"


def test_the_turn_of_a_clock_is_its_period():
    """Where the rotation is weakly nonlinear, it takes 2 pi / angle steps to go round."""
    net = network(turned(0.7, 1.01))
    assert abs(period_of(orbits(net, after_first_pulse(net), 4000)[2000:, :, 0])[0] - 2 * math.pi / 0.7) < 0.1


def test_distance_to_an_orbit_is_that_to_its_nearest_point():
    orbit = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64).unsqueeze(1)
    points = torch.tensor([[0.0, 1.0], [3.0, 5.0], [3.0, 5.0]], dtype=torch.float64).unsqueeze(1)
    torch.testing.assert_close(distance_to(orbit, points), torch.tensor([1 / 2**0.5], dtype=torch.float64))


def test_the_random_tangent_is_the_exponent_that_training_runs_store():
    weight = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(5)) / 4
    net = network(*weight)
    found = kept_bit(net, lag=12, n_warmup=50, n_steps=400)
    inputs, _ = four_sequences(12, net)
    torch.testing.assert_close(found.random_tangent, exponent_of(net, inputs, torch.Generator()))
    assert (found.finite_time > found.random_tangent).all()  # no tangent grows more than the one that grows most


def test_the_four_sequences_and_their_answers():
    net = network(torch.zeros(2, 2))
    inputs, wanted = four_sequences(3, net)
    assert inputs.shape == (4, 1, 4, 1) and wanted.tolist() == [0, 1, 1, 0] and not inputs[1:-1].any()
    with torch.no_grad():
        net.readout.weight.zero_()
        net.readout.bias.copy_(torch.tensor([[1.0, 0.0]]))
    assert right_answers(net, 3).tolist() == [2]  # always the answer 0


def test_waits_are_those_around_the_lag_and_twice_the_lag():
    found = kept_bit(network(turned(1.0, 1.5)), lag=5, n_warmup=100, n_steps=400, around=2, looks=10)
    assert found.waits.tolist() == [3, 4, 5, 6, 7, 10] and found.right.shape == (6, 1)
    assert found.times[0] == 1 and found.times[-1] == 100 and found.distance.shape == (len(found.times), 1)


def test_other_networks_are_refused():
    with pytest.raises(ValueError, match="net"):
        kept_bit(TanhRNN(1, 4, 2, gain=1.0, replicas=(2,)), lag=5)
    with pytest.raises(ValueError, match="n_steps"):
        kept_bit(network(torch.eye(2)), lag=5, n_steps=10)
