"""Directions that die: minus infinity for exactly as many as the tangent map has lost, and the others untouched."""

import itertools
import math

import pytest
import torch

from salnb import lyapunov_spectrum
from tests.problems import gaussian, linear_step, random, tanh_step
from tests.tolerances import rounding

METHODS, INTERVALS = ("householder", "cholesky", "elimination"), (1, 2, "auto")
CROSSED = list(itertools.product(METHODS, INTERVALS))
DTYPES = [torch.float32, torch.float64]


def of_rank(n: int, rank: int, dtype, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """W = A C (A + D)ᵀ without a row or column of zeros, and the log volume that a step gives to the directions that live.

    A is orthonormal, C 0.9 times a rotation and D small, so that no direction that lives is much slower than another: what a draw
    could make it, float32 would have to look after at every step.
    """
    a, core = torch.linalg.qr(random(n, rank, seed=seed))[0], torch.linalg.qr(random(rank, rank, seed=seed + 1))[0]
    b = (a + 0.3 * random(n, rank, seed=seed + 2) / n**0.5) @ (0.9 * core.mT)
    return (a @ b.mT).to(dtype), torch.linalg.slogdet(b.mT @ a)[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_warmup", [0, 60])
@pytest.mark.parametrize(("method", "every"), list(itertools.product(METHODS, (1, "auto"))))
def test_a_map_of_low_rank_kills_exactly_the_missing_directions(method, every, n_warmup, dtype):
    matrix, log_volume = of_rank(20, 6, dtype)
    given = {"n_steps": 300, "n_warmup": n_warmup, "qr_every": every, "method": method}
    found = lyapunov_spectrum(linear_step(matrix), torch.zeros(20, dtype=dtype), **given)
    assert found.exponents.isneginf().sum() == 14 and found.exponents[6:].isneginf().all()
    # The first step takes the first six axes into the plane that lives, every further one multiplies the volume in it.
    first = torch.linalg.qr(matrix[:, :6].double())[1].diagonal().abs().log().sum()
    expected = log_volume if n_warmup else (first + 299 * log_volume) / 300
    digits = rounding(dtype, 20, 10 if method == "cholesky" else 1)
    assert found.exponents[:6].sum().item() == pytest.approx(expected.item(), abs=6 * digits)
    assert not found.history.isnan().any() and torch.isfinite(found.tangents).all()
    assert every == 1 or len(found.history) < 200, "what is dead needs no further looking after"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_low_rank_at_once_in_batches_and_from_the_first_step(method, dtype):
    matrix = torch.stack([of_rank(30, 3, dtype, seed)[0] for seed in (0, 10, 20)])
    step = tanh_step(matrix)
    found = lyapunov_spectrum(step, 0.1 * random(3, 30).to(dtype), n_steps=8, method=method)
    assert found.exponents.isneginf().sum(-1).tolist() == [27] * 3
    leading = lyapunov_spectrum(step, 0.1 * random(3, 30).to(dtype), n_steps=8, method=method, k=5)
    assert leading.exponents.isneginf().sum(-1).tolist() == [2] * 3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("method", "every"), CROSSED)
def test_saturated_units_are_rows_of_zeros(method, every, dtype, device):
    alive = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0], dtype=dtype, device=device)
    matrix = alive.unsqueeze(-1) * gaussian(6, 1.0, device=device).to(dtype)
    given = {"n_steps": 200, "n_warmup": 40, "qr_every": every, "method": method}
    found = lyapunov_spectrum(linear_step(matrix), torch.zeros(6, dtype=dtype, device=device), **given)
    assert found.exponents[4:].tolist() == [-math.inf] * 2 and torch.isfinite(found.exponents[:4]).all()
    rest = torch.linalg.slogdet(matrix[alive > 0][:, alive > 0].double())[1].item()
    digits = rounding(dtype, 6, float(torch.linalg.cond(matrix[alive > 0][:, alive > 0].double())) ** 2)
    assert found.exponents[:4].sum().item() == pytest.approx(rest, abs=digits)
    assert found.stderr[4:].isnan().all() and not found.history.isnan().any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("method", "every"), CROSSED)
@pytest.mark.parametrize("k", [1, 3])
def test_a_map_to_one_point_kills_all(k, method, every, dtype):
    for step in (lambda x: 0 * x + 1, tanh_step(torch.zeros(3, 3, dtype=dtype))):
        found = lyapunov_spectrum(step, torch.ones(3, dtype=dtype), n_steps=40, k=k, method=method, qr_every=every)
        assert found.exponents.tolist() == [-math.inf] * k and torch.isfinite(found.tangents).all()
        assert not found.history.isnan().any()


def test_what_is_read_off_a_spectrum_with_dead_directions():
    matrix = torch.diag(torch.tensor([2.0, 0.25, 0.0]).double())
    found = lyapunov_spectrum(linear_step(matrix), torch.zeros(2, 3).double(), n_steps=40)
    torch.testing.assert_close(found.kaplan_yorke_dimension(), torch.full((2,), 1.5, dtype=torch.float64))
    torch.testing.assert_close(found.entropy_rate(), torch.full((2,), math.log(2), dtype=torch.float64))
    assert found.sum().tolist() == [-math.inf] * 2 and found.local()[..., 2].isneginf().all()
    assert found.mean()[0].tolist() == pytest.approx([math.log(2), -math.log(4), -math.inf])


@pytest.mark.parametrize("method", METHODS)
def test_a_unit_that_saturates_only_once_is_dead_for_good(method):
    inputs = torch.tensor([0.9, 0.8, 0.7], dtype=torch.float64).repeat(80, 1)
    inputs[50, 1] = 0.0
    for every in (1, "auto"):
        found = lyapunov_spectrum(lambda x, u: x * u, torch.ones(3).double(), n_steps=80, inputs=inputs, method=method,
                                  qr_every=every, jvp=lambda x, d, u: (x * u, u.unsqueeze(-1) * d))  # fmt: skip
        assert found.exponents.tolist() == pytest.approx([math.log(0.9), math.log(0.7), -math.inf], abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_no_live_direction_is_taken_for_dead_however_steep_its_fall(method):
    """Factors down to 1e-30 a step are far below the digits of float64, but on axes of their own no rounding touches them."""
    diagonal = torch.tensor([1.0, 1e-5, 1e-12]).double()
    found = lyapunov_spectrum(linear_step(torch.diag(diagonal)), torch.zeros(3).double(), n_steps=60, method=method)
    torch.testing.assert_close(found.exponents, diagonal.log(), rtol=0, atol=1e-9)
