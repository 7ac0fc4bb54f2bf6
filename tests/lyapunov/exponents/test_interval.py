"""The automatic QR interval: as rare as it may be, repeated where it was too rare, and never at the tail's expense."""

import math
from functools import cache

import pytest
import torch

from salnb import lyapunov_spectrum
from tests.digits import kept
from tests.problems import gaussian, linear_step, random, tanh_step

METHODS = ("householder", "cholesky", "elimination")
BASIS = torch.linalg.qr(random(6, 6))[0]
START = torch.full((6,), 1e-150).double()  # so small that no run of these leaves the range of numbers


def stretching(x, u):
    """A map that stretches along the fixed axes BASIS by the factors that come as its input."""
    return (x @ BASIS * u) @ BASIS.mT


class Watched:
    """An analytic tangent step that remembers which states it was asked about."""

    def __init__(self) -> None:
        self.asked = []

    def __call__(self, x, tangents, u):
        self.asked.append(x.clone())
        return stretching(x, u), BASIS @ (u.unsqueeze(-1) * (BASIS.mT @ tangents))


def factors(*stretches: tuple[int, float, float]) -> torch.Tensor:
    """Inputs (T, 6): so many steps with factors from 10^high down to 10^low."""
    rows = [torch.logspace(high, low, 6).double().expand(n, 6) for n, high, low in stretches]
    return torch.cat(rows)


def run(inputs, jvp=None, *, warmup=60, **given):
    given = {"n_steps": len(inputs) - warmup, "n_warmup": warmup, "inputs": inputs, **given}
    return lyapunov_spectrum(stretching, START, jvp=jvp or Watched(), **given)


def of_stretching(inputs, *, warmup=60, **given) -> float:
    """How far rounding may move the exponents of such a run."""
    step = lambda x, u: stretching(x, u)  # noqa: E731
    step.jvp = Watched()
    given = {"n_steps": len(inputs) - warmup, "n_warmup": warmup, "inputs": inputs, **given}
    return kept(step, START, **given).exponents


@pytest.mark.parametrize("method", METHODS)
def test_a_stretch_that_turns_stiff_is_repeated_and_ends_up_equal(method):
    # Neighboring axes differ by 10^0.06 a step: 300 steps of warm-up align the frame to 10⁻¹⁸, wherever it starts.
    inputs = factors((500, 0.2, -0.1), (100, 2.0, -1.5 if method == "cholesky" else -4.0), (100, 0.2, -0.1))
    watched, once = Watched(), Watched()
    found = run(inputs, watched, warmup=300, qr_every="auto", method=method)
    exact = run(inputs, once, warmup=300, method="householder")
    digits = of_stretching(inputs, warmup=300, qr_every="auto", method=method)
    torch.testing.assert_close(found.exponents, exact.exponents, rtol=0, atol=digits)
    torch.testing.assert_close(found.exponents, inputs[300:].log().mean(0), rtol=0, atol=digits)
    assert digits < 1e-7
    assert torch.equal(found.state, exact.state) and found.n_steps == 400
    # Some steps were done twice, and no state was ever asked about that is not on the one trajectory.
    trajectory = torch.stack(once.asked)
    assert len(once.asked) == 700 < len(watched.asked)
    assert all(bool((trajectory == state).all(-1).any()) for state in watched.asked)
    assert sum(found.growth.spans) == 400 and len(found.history) < 400


# Blocks of 80 steps leave room for 64 without a look; factors of 1e±7 a step then leave the range of float64 on the way.
@pytest.mark.parametrize(("k", "method"), [(1, "householder"), (2, "householder"), (2, "cholesky"), (6, "elimination")])
@pytest.mark.parametrize("sudden", [-7.0, 7.0])
def test_a_sudden_leap_out_of_the_range_of_numbers_is_no_death_and_no_overflow(sudden, k, method):
    inputs = factors((2000, 0.1, -0.1), (100, sudden + 0.1, sudden - 0.1), (600, 0.1, -0.1))
    start, watched = torch.zeros(6).double(), Watched()
    found = lyapunov_spectrum(stretching, start, n_steps=2560, n_warmup=140, k=k, inputs=inputs, qr_every="auto",
                              method=method, jvp=watched)  # fmt: skip
    torch.testing.assert_close(found.exponents, inputs[140:].log().mean(0)[:k], rtol=0, atol=1e-5)
    assert len(watched.asked) < 1.5 * 2700, "found out at once, not by trying every interval in turn"


CALM = factors((1340, 0.01, -0.02))


@pytest.fixture(scope="module")
def calm_at_every_step():
    return run(CALM).exponents, of_stretching(CALM)


@pytest.mark.parametrize("method", METHODS)
def test_calm_systems_are_looked_at_rarely_and_no_step_is_done_twice(method, calm_at_every_step):
    inputs, watched, (exact, known) = CALM, Watched(), calm_at_every_step
    found = run(inputs, watched, qr_every="auto", method=method)
    assert len(watched.asked) == 1340 and len(found.history) < 1280 / 20
    digits = of_stretching(inputs, qr_every="auto", method=method) + known
    torch.testing.assert_close(found.exponents, exact, rtol=0, atol=digits)
    assert digits < 1e-7


@pytest.mark.parametrize("method", ["householder", "elimination"])
def test_a_strongly_stretching_map_is_never_left_alone(method):
    inputs = factors((260, 5.0, -5.0))
    found = run(inputs, qr_every="auto", method=method)
    assert len(found.history) == 200
    digits = of_stretching(inputs, qr_every="auto", method=method)
    torch.testing.assert_close(found.exponents, inputs[0].log(), rtol=0, atol=digits)
    assert digits < 1e-4  # a step spreads them by 10¹⁰: six digits of sixteen are left to the last one


@cache
def chaotic_at_every_step(dtype):
    """A chaotic network, and its run with a look at every step, with what rounding may do to it."""
    matrix, state = gaussian(48, 2.0, seed=2).to(dtype), random(48).to(dtype)
    given = {"n_steps": 300, "method": "householder"}
    step = tanh_step(matrix)
    return matrix, state, lyapunov_spectrum(step, state, **given).exponents, kept(step, state, **given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", METHODS)
def test_auto_keeps_the_tail_of_a_chaotic_network(method, dtype):
    """The sum is the mean log determinant whatever the frame, so it tells at once when the smallest exponents are noise."""
    matrix, state, exact, there = chaotic_at_every_step(dtype)
    step, logs, x = tanh_step(matrix), [], state
    found = lyapunov_spectrum(step, state, n_steps=300, qr_every="auto", method=method)
    for _ in range(300):
        x = step(x)
        logs.append((1 - x.square()).double().log().sum() + torch.linalg.slogdet(matrix.double())[1])
    assert torch.equal(found.state, x)
    here = kept(step, state, n_steps=300, qr_every="auto", method=method)
    # The slopes 1 − x² lose digits where a neuron saturates, the exponents as much as the sum that they are compared with.
    slopes = 48 * torch.finfo(dtype).eps / float((1 - x.square()).min())
    assert found.sum().item() == pytest.approx(float(torch.stack(logs).mean()), abs=here.sum + slopes)
    torch.testing.assert_close(found.exponents, exact, rtol=0, atol=here.exponents + there.exponents)
    assert here.exponents < (1e-5 if dtype == torch.float64 else 0.3)


@pytest.mark.parametrize("method", METHODS)
def test_a_fixed_interval_that_is_too_rare_warns_once_in_words(method):
    step = linear_step(BASIS @ torch.diag(factors((1, 1.0, -4.0))[0]) @ BASIS.mT)
    with pytest.warns(RuntimeWarning, match="qr_every: 8 steps .* digits of torch.float64 .* rounding noise.*'auto'") as seen:
        lyapunov_spectrum(step, torch.zeros(6).double(), n_steps=512, qr_every=8, method=method)
    assert len(seen) == 1 and seen[0].filename == __file__


def test_one_tangent_has_no_tail_to_lose_so_a_rare_look_is_fine():
    step = linear_step(torch.diag(factors((1, 0.5, -4.0))[0]))
    found = lyapunov_spectrum(step, torch.zeros(6).double(), n_steps=640, n_warmup=60, k=1, qr_every=20)
    assert found.exponents.item() == pytest.approx(0.5 * math.log(10), abs=1e-7) and len(found.history) == 32


def test_the_interval_is_the_strictest_of_all_replicas():
    """One stiff system among calm ones sets the pace for all."""
    slow, stiff = torch.logspace(0.01, -0.01, 6).double(), torch.logspace(1, -4, 6).double()
    matrix = BASIS @ torch.diag_embed(torch.stack([slow, stiff, slow])) @ BASIS.mT
    step = tanh_step(matrix)
    step.jvp = lambda x, d: (x, matrix @ d)
    found = lyapunov_spectrum(step, torch.zeros(3, 6).double(), n_steps=300, n_warmup=100, qr_every="auto").exponents
    torch.testing.assert_close(found[1], stiff.log(), rtol=0, atol=1e-6)


def test_with_elimination_the_interval_keeps_the_digits_that_are_promised():
    """1e-9 nats a step of a QR at every step, whose own rounding is a tenth of that; the tail of four networks at g = 2."""
    step, state = tanh_step(gaussian(160, 2.0, replicas=(4,), seed=4)), random(4, 160)
    for _ in range(100):
        state = step(state)
    rare = lyapunov_spectrum(step, state, n_steps=60, history=False, qr_every="auto", method="elimination")
    often = lyapunov_spectrum(step, state, n_steps=60, history=False, qr_every=1, method="householder")
    assert (rare.exponents - often.exponents).abs().max() < 1e-9
