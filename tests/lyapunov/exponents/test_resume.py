"""Going on from a spectrum, local exponents, and log-sensitivity of the same run."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from salnb import TanhRNN, log_sensitivity, lyapunov_spectrum, neuron_sensitivity, rnn_step
from tests.digits import kept
from tests.problems import gaussian, random, seeded, sequential, tanh_step, unrolled_rnn

METHODS = ("householder", "cholesky", "elimination")


@pytest.mark.parametrize("every", [1, "auto"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("driven", [False, True])
def test_two_halves_are_one_run(driven, method, every):
    rnn = TanhRNN(2, 10, 1, gain=1.6, generator=seeded(), dtype=torch.float64)
    step, state, inputs = rnn_step(rnn), random(2, 10), random(230, 2, 2) if driven else None
    given = {"method": method, "qr_every": every, "dt": 0.5}
    part = lambda a, b: {"inputs": None if inputs is None else inputs[a:b], "sensitivity": True, **given}  # noqa: E731
    whole = lyapunov_spectrum(step, state, n_steps=192, n_warmup=30, **part(0, 222))
    first = lyapunov_spectrum(step, state, n_steps=96, n_warmup=30, **part(0, 126))
    second = lyapunov_spectrum(step, state, n_steps=96, resume=first, **part(126, 222))
    assert torch.equal(second.state, whole.state) and second.n_steps == 192 and second.dt == 0.5
    digits = 2 * kept(step, state, n_steps=192, n_warmup=30, inputs=inputs if inputs is None else inputs[:222], **given).exponents
    assert digits < 1e-3
    torch.testing.assert_close(second.exponents, whole.exponents, rtol=0, atol=digits)
    torch.testing.assert_close(second.log_sensitivity(), whole.log_sensitivity())
    torch.testing.assert_close(second.history[-1], second.exponents)
    torch.testing.assert_close(second.history[: len(first.history)].sort(-1)[0], first.history.sort(-1)[0])
    # 32 + 32 blocks of three steps, where the whole run had 32 of six
    assert len(second.growth.blocks) == 64 and sum(second.growth.lengths) == 192
    assert bool((second.stderr < 1.5 * whole.stderr).all()) and bool((second.stderr > whole.stderr / 1.8).all())
    torch.testing.assert_close(first.n_steps, 96)


def test_going_on_without_a_history_leaves_none_rather_than_one_with_a_gap():
    step, state = tanh_step(gaussian(5, 1.5)), random(5)
    first = lyapunov_spectrum(step, state, n_steps=40)
    quiet = lyapunov_spectrum(step, state, n_steps=40, resume=first, history=False)
    assert quiet.history is None and quiet.n_steps == 80
    for before in (quiet, lyapunov_spectrum(step, state, n_steps=40, history=False)):
        assert lyapunov_spectrum(step, state, n_steps=40, resume=before).history is None
    with pytest.raises(ValueError, match="history: this run kept none; call lyapunov_spectrum with history=True"):
        quiet.local()


def test_going_on_keeps_k_the_time_per_step_and_may_change_the_method():
    step, state = tanh_step(gaussian(9, 1.6)), random(9)
    first = lyapunov_spectrum(step, state, n_steps=60, k=4, dt=0.1, n_warmup=40)
    second = lyapunov_spectrum(step, torch.zeros(9), n_steps=60, resume=first, method="elimination", qr_every="auto")
    whole = lyapunov_spectrum(step, state, n_steps=120, k=4, dt=0.1, n_warmup=40)
    assert second.exponents.shape == (4,) and second.dt == 0.1
    given = {"n_steps": 120, "k": 4, "dt": 0.1, "n_warmup": 40}
    digits = kept(step, state, **given).exponents + kept(step, state, method="elimination", qr_every="auto", **given).exponents
    torch.testing.assert_close(second.exponents, whole.exponents, rtol=0, atol=digits)
    waited = lyapunov_spectrum(step, state, n_steps=60, n_warmup=25, resume=first)
    assert waited.n_steps == 120 and not torch.equal(waited.state, second.state)


def test_local_exponents_are_the_log_factors_of_their_steps():
    inputs = torch.stack([torch.tensor([0.5, 2.0]), torch.tensor([0.25, 1.0]), torch.tensor([0.125, 4.0])]).double()
    found = lyapunov_spectrum(lambda x, u: x * u, torch.zeros(2).double(), n_steps=3, inputs=inputs, dt=2.0)
    torch.testing.assert_close(found.local(), inputs.flip(-1).log() / 2)
    uneven = lyapunov_spectrum(tanh_step(gaussian(4, 1.5)), random(4), n_steps=75, qr_every=2)
    spans = torch.tensor(uneven.growth.spans).double()
    assert set(uneven.growth.spans) == {1, 2} and len(uneven.local()) == len(spans)
    mean = (uneven.local() * spans.unsqueeze(-1)).sum(0) / 75
    torch.testing.assert_close(mean, uneven.exponents)


def by_hand(weights, inputs, pre, function="tanh") -> torch.Tensor:
    """0.5 log E[s²] of one layer over steps, samples counted apart: (B,)."""
    return log_sensitivity(neuron_sensitivity(weights, pre, function), dim=(0, -1))


@pytest.mark.parametrize("kind", ["flat", "ring", "RNN tanh", "RNN relu"])
def test_log_sensitivity_is_that_of_the_same_steps(kind):
    x = random(70, 3, 2)
    if kind.startswith("RNN"):
        module = nn.RNN(2, 6, 2, nonlinearity=kind[4:], dtype=torch.float64)
        for i, parameter in enumerate(module.parameters()):
            parameter.data.copy_(0.4 * random(*parameter.shape, seed=i))
        weights, start = [module.weight_hh_l0.detach(), module.weight_hh_l1.detach()], random(3, 12).tanh()
        pre = [u for _, u in unrolled_rnn(module, x, start.split(6, -1))]
    else:
        sizes = 6 if kind == "flat" else (6, 8, 6)
        module = TanhRNN(2, sizes, 1, gain=1.5, connectivity=0.7, generator=seeded(), dtype=torch.float64)
        weights, start = [layer.connected_weight().detach() for layer in module.recurrent], random(3, 6)
        pre, hidden = [[] for _ in weights], start
        for u in x:
            for i, (layer, weight) in enumerate(zip(module.recurrent, weights, strict=True)):
                drive = module.input.weight @ u.mT if i == 0 else torch.zeros(1, 1).double()
                pre[i].append((hidden @ weight.mT + layer.bias + drive.mT).detach())
                hidden = pre[i][-1].tanh()
    found = lyapunov_spectrum(rnn_step(module), start, n_steps=50, n_warmup=20, inputs=x, sensitivity=True, k=2)
    expected = [by_hand(w, None, torch.stack(tuple(u))[20:], kind[4:] or "tanh") if kind.startswith("RNN")
                else by_hand(w, None, torch.stack(tuple(u))[20:]) for w, u in zip(weights, pre, strict=True)]  # fmt: skip
    torch.testing.assert_close(found.log_sensitivity(), torch.stack(expected))


def test_log_sensitivity_of_a_sequential_map_and_of_repeated_stretches():
    module, state = sequential(5, 7, 5, activation=nn.GELU, dtype=torch.float64).append(nn.Tanh()), random(4, 5)
    seen, x = [[], []], state
    for _ in range(40):
        for i in (0, 1):
            u = module[2 * i](x)
            seen[i].append(u.detach())
            x = module[2 * i + 1](u).detach()
    names = ("gelu", "tanh")
    expected = torch.stack([by_hand(module[2 * i].weight.detach(), None, torch.stack(seen[i]), names[i]) for i in (0, 1)])
    for every in (1, "auto"):
        found = lyapunov_spectrum(rnn_step(module), state, n_steps=40, sensitivity=True, qr_every=every)
        torch.testing.assert_close(found.log_sensitivity(), expected)


def test_log_sensitivity_counts_only_the_steps_that_measured_it():
    rnn = TanhRNN(0, 6, 1, gain=1.4, generator=seeded(), dtype=torch.float64)
    step, state = rnn_step(rnn), random(1, 6)
    first = lyapunov_spectrum(step, state, n_steps=30, sensitivity=True)
    later = lyapunov_spectrum(step, state, n_steps=30, resume=first)
    torch.testing.assert_close(later.log_sensitivity(), first.log_sensitivity())
    unmeasured = lyapunov_spectrum(step, state, n_steps=30)
    late = lyapunov_spectrum(step, state, n_steps=30, resume=unmeasured, sensitivity=True)
    direct = lyapunov_spectrum(step, unmeasured.state, n_steps=30, sensitivity=True)
    torch.testing.assert_close(late.log_sensitivity(), direct.log_sensitivity())


@pytest.mark.parametrize("module", [nn.GRU(1, 4), nn.LSTM(1, 2), nn.GRUCell(1, 4), nn.Sequential(nn.Linear(4, 4))])
def test_no_sensitivity_is_an_error_in_words(module):
    with pytest.raises(ValueError, match="sensitivity: this step has no `mean_square_sensitivity`; that of a gated cell is not"):
        lyapunov_spectrum(rnn_step(module), torch.zeros(4), n_steps=2, sensitivity=True)
    found = lyapunov_spectrum(rnn_step(module), torch.zeros(4), n_steps=2)
    with pytest.raises(ValueError, match="sensitivity: this run did not measure it.*sensitivity=True"):
        found.log_sensitivity()
    with pytest.raises(ValueError, match="history"):
        replace(found, growth=None).local()
    assert math.isfinite(found.exponents[0])
