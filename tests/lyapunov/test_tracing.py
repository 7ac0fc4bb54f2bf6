"""A recorded step gives the same bits as the step, and what might not is not recorded."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from salnb import lyapunov_spectrum, rk4_step, rnn_step
from salnb.lyapunov import tangents
from salnb.lyapunov.tangents import forward_tangents
from salnb.lyapunov.tracing import LARGE, identical, recorded
from tests.problems import random, seeded

D = torch.float64
WEIGHT = 0.9 * random(3, 3)


def lorenz(s):
    x, y, z = s.unbind(-1)
    return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)


def entry_by_entry(x):
    for i in range(3):
        x[..., i] = x[..., i] * 0.5 + x[..., i - 1].sin()
    return x


def masked_writing(x):
    following = 2 * x
    following[..., 1:] -= following[..., :-1].clamp(0, 1)
    return torch.where(following > 1, following - 1, following)


def implicit(x):
    return torch.linalg.solve(torch.eye(3, dtype=x.dtype) + 0.1 * torch.diag_embed(x.tanh()), x)


class WithParameters:
    def __init__(self):
        self.gain, self.layers = 0.7, nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 3)).double()

    def __call__(self, x):
        return self.gain * self.layers(x)


RECORDED = {
    "Lorenz": rk4_step(lorenz, 0.01),
    "entry by entry, in place": entry_by_entry,
    "slices, in place": masked_writing,
    "solve": implicit,
    "a module": WithParameters(),
    "a product": lambda x: torch.tanh(x @ WEIGHT),
    "unchanged": lambda x: x,
    "turned": lambda x: x.flip(-1),
    "a threshold": torch.sign,
    "noise": lambda x: 0.5 * x + 0.1 * torch.randn_like(x) * x.cos(),
    "two draws, and one for nothing": lambda x: x + 0.1 * (torch.rand_like(x) - torch.rand_like(x)) + 0 * len(torch.rand(2)),
    "dropout": lambda x: nn.functional.dropout(x, 0.5, training=True),
    "sorted": lambda x: x.sort(-1)[0].cumsum(-1),
    "Fourier": lambda x: torch.fft.irfft(0.5 * torch.fft.rfft(x), n=3),
    "one entry": lambda x: torch.cat(x.split([3], -1)) * x[..., :1],
}


@pytest.mark.parametrize("shape", [(3,), (4, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, D])
@pytest.mark.parametrize("name", RECORDED)
@torch.no_grad()
def test_the_playback_gives_the_same_bits_and_moves_the_generator_as_far(name, dtype, shape):
    step = RECORDED[name]
    if dtype == torch.float32 and name in ("a module", "a product"):
        pytest.skip("its weights are in float64")
    state, frame = random(*shape, dtype=dtype), random(*shape, 2, dtype=dtype)
    kept = state.clone()
    play = recorded(forward_tangents, step, state, frame, ())
    assert play is not None and torch.equal(state, kept)
    for _ in range(3):
        state, frame, found = 3 * random(*shape, dtype=dtype), random(*shape, 2, dtype=dtype), []
        for way in (play, lambda x, v: forward_tangents(step, x, v, ())):
            torch.manual_seed(1)
            found.append((*way(state, frame), torch.rand(1)))
        assert identical(*found)
        assert not any(torch._C._is_alias_of(result, given) for result in found[0] for given in (state, frame, WEIGHT))


class Counting(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def test_a_step_of_lorenz_is_three_times_as_many_operations_with_its_tangents():
    """Speed in a form that does not depend on the machine: for a small system the number of operations is the time."""
    step, state, frame = RECORDED["Lorenz"], random(3), torch.eye(3, dtype=D)
    play, counts = recorded(forward_tangents, step, state, frame, ()), []
    for way in (lambda: step(state), lambda: play(state, frame), lambda: forward_tangents(step, state, frame, ())):
        with Counting() as mode:
            way()
        counts.append(mode.count)
    assert counts[0] < counts[1] < 3 * counts[0] < counts[2]


def remembering():
    seen = []

    def step(x):
        seen.append(1)
        return torch.tanh(x) if len(seen) < 60 else 0 * x

    return step


NOT_RECORDED = {
    "decides": lambda x: 2 * x if x.sum() > 0 else x,
    "reads a number": lambda x: x * x[0].item(),
    "reads a list": lambda x: x * x.tolist()[0],
    "decides by a list": lambda x: 2 * x if x.tolist()[0] > 0 else x,
    "compares": lambda x: 2 * x if torch.equal(x, x) else x,
    "prints": lambda x: x * len(f"{x}"),
    "counts": lambda x: x * len(x.nonzero()),
    "picks by a mask": lambda x: x * x[x > -9].sum(),
    "remembers": remembering(),
}


@pytest.mark.parametrize("name", NOT_RECORDED)
@torch.no_grad()
def test_what_decides_by_numbers_or_remembers_is_not_recorded(name):
    assert recorded(forward_tangents, NOT_RECORDED[name], torch.ones(3, dtype=D), torch.eye(3, dtype=D), ()) is None


@torch.no_grad()
def test_large_frames_are_not_recorded():
    state, frame = torch.ones(LARGE, dtype=D), torch.ones(LARGE, 2, dtype=D)
    assert recorded(forward_tangents, torch.tanh, state, frame, ()) is None


# --- within a run -------------------------------------------------------------------------------------------------------
def both(monkeypatch, step, state, **given):
    """A run with a recording from the start, and one without any."""
    found = []
    for often in (2, 10**9):
        monkeypatch.setattr(tangents, "OFTEN", often)
        torch.manual_seed(0)
        found.append(lyapunov_spectrum(step, state, **given))
    return found


@pytest.mark.parametrize("given", [{}, {"k": 1}, {"qr_every": "auto"}, {"k": 2, "qr_every": 4, "history": False}])
@pytest.mark.parametrize("name", ["Lorenz", "entry by entry, in place", "noise", "a module"])
def test_a_run_is_the_same_with_and_without(monkeypatch, name, given):
    states = random(2, 3)
    one, other = both(monkeypatch, RECORDED[name], states, n_steps=30, n_warmup=10, **given)
    assert identical((one.exponents, one.state, one.tangents), (other.exponents, other.state, other.tangents))


def test_with_inputs_and_promoted_numbers(monkeypatch):
    def step(x, u):
        return torch.stack([0.9 * x[0] + u[0].sin(), x[0] * u[1] + 0.5 * x[1]])

    state, inputs = random(2, dtype=torch.float32), random(40, 2, dtype=torch.float32)
    one, other = both(monkeypatch, step, state, n_steps=40, inputs=inputs)
    assert one.tangents.dtype == torch.float32
    assert identical((one.exponents, one.state), (other.exponents, other.state))


def test_a_step_that_counts_its_calls_goes_on_counting():
    """After 200 calls it forgets all: it must do so in a run that would have recorded it long before."""

    def forgetting():
        calls = [0]

        def step(x):
            calls[0] += 1
            return 1.1 * x.sin() if calls[0] < 200 else 0.0 * x

        return step

    found = lyapunov_spectrum(forgetting(), torch.ones(1, dtype=D), n_steps=300)
    assert found.exponents.item() == -torch.inf


def test_a_module_that_is_trained_between_two_runs():
    module = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Tanh()).double()
    step, start = rnn_step(module), random(3)
    for scale in (1.0, 3.0):
        with torch.no_grad():
            module[1].weight.mul_(scale)
        found = lyapunov_spectrum(step, start, n_steps=60, k=2)
        expected = lyapunov_spectrum(lambda x: module(x), start, n_steps=60, k=2, jvp=analytic(module))
        torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=1e-9)


def analytic(module):
    def jvp(x, v):
        return module(x), torch.func.jacrev(module)(x) @ v

    return jvp


def test_an_error_of_the_step_in_the_midst_of_a_run_is_its_own():
    def step(x):
        if bool(x.abs().max() > 100):
            raise RuntimeError("out of the box")
        return 1.2 * x

    with pytest.raises(RuntimeError, match="out of the box"):
        lyapunov_spectrum(step, torch.rand(3, generator=seeded(), dtype=D), n_steps=100)
