"""Conditional exponents of driven networks, and many systems in one call."""

import math

import pytest
import torch
from torch import nn

from salnb import TanhRNN, lyapunov_spectrum, rnn_step
from salnb.lyapunov.tangents import first_frame
from tests.digits import kept
from tests.problems import LOG_2, gaussian, random, seeded, tanh_step
from tests.tolerances import sampling


def apart(step, inputs, first, second) -> torch.Tensor:
    """Log distance (T, ...) of two trajectories under the same drive."""
    rows = []
    with torch.no_grad():
        for u in inputs:
            first, second = step(first, u), step(second, u)
            rows.append((first - second).norm(dim=-1).log())
    return torch.stack(rows)


@pytest.mark.parametrize("kind", ["TanhRNN", "GRU", "LSTM"])
def test_two_states_of_a_contracting_network_meet_at_the_rate_of_the_exponent(kind):
    """The echo-state property: the conditional exponent is negative, and the start is forgotten at that rate."""
    if kind == "TanhRNN":
        module, n = TanhRNN(2, 30, 1, gain=0.9, replicas=(4,), generator=seeded(), dtype=torch.float64), 30
    else:
        module, n = {"GRU": nn.GRU, "LSTM": nn.LSTM}[kind](2, 8, dtype=torch.float64), 8 if kind == "GRU" else 16
        for i, parameter in enumerate(module.parameters()):
            parameter.data.copy_(0.5 * random(*parameter.shape, seed=i))
    step, inputs, start = rnn_step(module), random(260, 4, 1, 2), 0.5 * random(4, 1, n, seed=1)
    found = lyapunov_spectrum(step, start, n_steps=12, inputs=inputs[:12], k=1)
    beside = start + 1e-7 * first_frame(start, 1, None).squeeze(-1)
    gained = apart(step, inputs[:12], start, beside)[-1] - math.log(1e-7)
    torch.testing.assert_close(12 * found.exponents.squeeze(-1), gained, rtol=0, atol=1e-4)
    long = lyapunov_spectrum(step, start, n_steps=200, n_warmup=60, inputs=inputs, k=1).exponents.squeeze(-1)
    assert bool((long < -0.05).all())
    far = apart(step, inputs, start, random(4, 1, n, seed=2))
    assert bool((far[-1] < far[0] - 0.8 * 0.05 * 260).all())
    at = far[:100]  # before the digits end
    slope = (at[99] - at[10]) / 89
    assert bool(((slope - long).abs() < 0.1)[at[99] > -28].all())


def test_a_strong_drive_tames_chaos():
    """One call for four strengths of input: the same network, chaotic when left alone, forgets its start when driven hard."""
    matrix, weights = gaussian(80, 2.2, replicas=(16, 1)), random(80, seed=1)
    strengths = torch.tensor([0.0, 1.0, 2.0, 4.0]).double().view(4, 1)
    step = lambda x, u: torch.tanh((matrix @ x.unsqueeze(-1)).squeeze(-1) + strengths * u * weights)  # noqa: E731

    def jvp(x, tangents, u):
        following = step(x, u)
        return following, (1 - following.square()).unsqueeze(-1) * (matrix @ tangents)

    start = random(80).expand(16, 4, 80)
    found = lyapunov_spectrum(step, start, n_steps=500, n_warmup=150, k=1, inputs=random(650, 1, 1), jvp=jvp).exponents
    exponents = found.squeeze(-1)  # of sixteen networks, at four strengths
    falls = exponents.diff(dim=-1)
    assert exponents[:, 0].mean() > sampling(exponents[:, 0].std().item(), 16)  # chaos, by five standard errors
    assert bool((falls.mean(0) < -5 * falls.std(0) / 16**0.5).all()) and exponents[:, -1].max() < 0


def test_64_gains_in_one_call_equal_a_loop_over_single_networks():
    matrix, gains = gaussian(12, 1.0), torch.linspace(0.4, 2.0, 64).double()
    step, state = tanh_step(gains.view(64, 1, 1) * matrix), random(12).expand(64, 12)
    given = {"n_steps": 40, "n_warmup": 20}
    once, digits = lyapunov_spectrum(step, state, **given), kept(step, state, **given)
    # One product for all rounds otherwise than a product for one. In 60 steps at gain 2 that grows by e^(60 · 0.3) at most.
    other = torch.finfo(torch.float64).eps * math.exp(60 * 0.3)
    for i in range(0, 64, 7):
        alone = lyapunov_spectrum(tanh_step(gains[i] * matrix), state[i], **given)
        torch.testing.assert_close(once.exponents[i], alone.exponents, rtol=0, atol=2 * digits.exponents + other)
        torch.testing.assert_close(once.stderr[i], alone.stderr, rtol=0, atol=2 * digits.stderr + other)
    network = TanhRNN(0, 12, 1, gain=1.0, replicas=(64,), dtype=torch.float64)
    network.recurrent[0].weight.data.copy_(gains.view(64, 1, 1) * matrix)
    ours = lyapunov_spectrum(rnn_step(network), state.unsqueeze(-2), **given)
    torch.testing.assert_close(ours.exponents.squeeze(-2), once.exponents, rtol=0, atol=2 * digits.exponents + other)


def test_inputs_are_taken_in_order_the_warm_up_first():
    seen = []

    def step(x, u):
        seen.append(float(u))
        return x * u

    step.jvp = lambda x, tangents, u: (step(x, u), u * tangents)
    inputs = torch.cat([torch.full((3,), 100.0), torch.full((5,), 2.0)]).double()
    for every in (1, "auto"):
        seen.clear()
        found = lyapunov_spectrum(step, torch.zeros(2).double(), n_steps=5, n_warmup=3, inputs=inputs, qr_every=every)
        assert seen == inputs.tolist() and found.exponents.tolist() == pytest.approx([LOG_2] * 2, abs=1e-14)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("method", ["householder", "cholesky", "elimination"])
def test_the_fixed_point_of_a_contracting_network_is_exact_for_every_k(k, method):
    """At 0 the tangent map is J itself; a normal J with distinct moduli has them as its exponents to the last digits."""
    basis, moduli = torch.linalg.qr(random(5, 5))[0], torch.tensor([0.95, 0.7, 0.5, 0.3, 0.2]).double()
    step = tanh_step(basis @ torch.diag(moduli * torch.tensor([1, -1, 1, 1, -1])) @ basis.mT)
    for state in (torch.zeros(5).double(), 0.3 * random(5)):
        found = lyapunov_spectrum(step, state, n_steps=100, n_warmup=700, k=k, method=method)
        torch.testing.assert_close(found.exponents, moduli.log()[:k], rtol=0, atol=1e-11)
        assert found.stderr.max() < 1e-11


def test_an_input_at_every_step_of_a_module_with_batches():
    module = nn.RNN(3, 6, 2, dtype=torch.float64)
    x, state = random(40, 4, 3), random(4, 12).tanh()
    found = lyapunov_spectrum(rnn_step(module), state, n_steps=30, n_warmup=10, inputs=x)
    states = module(x, torch.stack(state.split(6, -1)))[1]
    torch.testing.assert_close(found.state, torch.cat([*states], -1).detach(), rtol=1e-6, atol=1e-6)
    shared = lyapunov_spectrum(rnn_step(module), state, n_steps=30, n_warmup=10, inputs=x[:, :1])
    each = lyapunov_spectrum(rnn_step(module), state, n_steps=30, n_warmup=10, inputs=x[:, :1].expand(40, 4, 3))
    torch.testing.assert_close(shared.exponents, each.exponents, rtol=0, atol=1e-12)
