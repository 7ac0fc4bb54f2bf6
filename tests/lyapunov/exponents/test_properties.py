"""Properties of exponents, on systems that hypothesis draws."""

import math
import tempfile
from dataclasses import replace

import pytest
import torch
from hypothesis import configuration, given, settings
from hypothesis import strategies as st

from salnb import lyapunov_spectrum
from tests.digits import kept
from tests.problems import gaussian, linear_step, random, seeded, tanh_step
from tests.tolerances import rounding, scatter

# The same systems in every run, and nothing left beside the code.
configuration.set_hypothesis_home_dir(tempfile.mkdtemp(prefix="hypothesis-"))
DRAWN = settings(max_examples=15, deadline=None, derandomize=True, database=None)
SEEDS, SIZES = st.integers(0, 10**6), st.integers(1, 6)
METHODS, INTERVALS = st.sampled_from(["householder", "cholesky", "elimination"]), st.sampled_from([1, 2, "auto"])
SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)


def triangular(n: int, seed: int, lead: tuple[int, ...] = ()) -> torch.Tensor:
    """Upper triangular, with diagonals from 0.3 to 3 of either sign, in no order."""
    sign = torch.where(random(*lead, n, seed=seed) > 0, 1.0, -1.0)
    diagonal = sign * (1.2 * random(*lead, n, seed=seed + 1).tanh()).exp()
    return torch.diag_embed(diagonal) + torch.triu(random(*lead, n, n, seed=seed + 2), 1)


def orthogonal(n: int, seed: int) -> torch.Tensor:
    return torch.linalg.qr(random(n, n, seed=seed))[0]


def multiply(x, u):
    return (u @ x.unsqueeze(-1)).squeeze(-1)


multiply.jvp = lambda x, tangents, u: (multiply(x, u), u @ tangents)


def driven(matrices, **keywords) -> tuple:
    """A step and a start whose products are these matrices (T, ..., N, N), and the settings that go with them."""
    start = torch.zeros(matrices.shape[1:-1], dtype=matrices.dtype)
    return (multiply, start), {"n_steps": len(matrices), "inputs": matrices, **keywords}


def product(matrices, **keywords):
    """Exponents of the linear system that is driven by these matrices (T, ..., N, N)."""
    system, given = driven(matrices, **keywords)
    return lyapunov_spectrum(*system, **given)


@DRAWN
@given(n=SIZES, seed=SEEDS, lead=SHAPES, method=METHODS, every=INTERVALS)
def test_random_triangular_maps_read_their_diagonals(n, seed, lead, method, every):
    matrix = triangular(n, seed, lead)
    step = lambda x: multiply(x, matrix)  # noqa: E731
    found = lyapunov_spectrum(step, torch.zeros(*lead, n).double(), n_steps=12, method=method, qr_every=every,
                              jvp=lambda x, tangents: (x, matrix @ tangents))  # fmt: skip
    expected = matrix.diagonal(dim1=-2, dim2=-1).abs().log().sort(-1, descending=True)[0]
    # What is zero below the diagonal stays zero, so rounding only touches last digits, of squares of e^(2 · 1.2 · 12) at worst
    # (Cholesky's, over all twelve steps, which "auto" would not risk); two steps and any other method keep far more than these.
    torch.testing.assert_close(found.exponents, expected, rtol=0, atol=1e-9)
    assert found.history.shape[1:] == found.stderr.shape == (*lead, n) and found.tangents.shape == (*lead, n, n)


@DRAWN
@given(n=SIZES, seed=SEEDS, method=METHODS)
def test_products_of_random_triangular_maps_average_their_diagonals(n, seed, method):
    matrices = torch.stack([triangular(n, seed + 3 * t) for t in range(20)])
    expected = matrices.diagonal(dim1=-2, dim2=-1).abs().log().mean(0).sort(descending=True)[0]
    torch.testing.assert_close(product(matrices, method=method, qr_every="auto").exponents, expected, rtol=0, atol=1e-8)


@DRAWN
@given(n=st.integers(1, 5), seed=SEEDS, method=METHODS, every=INTERVALS, k=SIZES)
def test_random_normal_maps_have_the_logs_of_their_moduli(n, seed, method, every, k):
    moduli = 1.5 ** -torch.arange(n, dtype=torch.float64) * 1.3
    basis = orthogonal(n, seed)
    matrix = basis @ torch.diag(moduli * torch.where(random(n, seed=seed) > 0, 1.0, -1.0)) @ basis.mT
    found = lyapunov_spectrum(linear_step(matrix), torch.zeros(n).double(), n_steps=30, n_warmup=120, method=method,
                              qr_every=every, k=min(k, n))  # fmt: skip
    torch.testing.assert_close(found.exponents, moduli.log()[: min(k, n)], rtol=0, atol=1e-9)


@DRAWN
@given(n=SIZES, seed=SEEDS, method=METHODS, every=INTERVALS)
def test_random_orthogonal_maps_have_none(n, seed, method, every):
    step, state = linear_step(orthogonal(n, seed)), torch.zeros(n).double()
    found = lyapunov_spectrum(step, state, n_steps=40, method=method, qr_every=every)
    assert float(found.exponents.abs().max()) < 1e-13


@DRAWN
@given(n=SIZES, seed=SEEDS, method=METHODS, factor=st.floats(1e-3, 1e3))
def test_a_factor_shifts_all_exponents_by_its_log(n, seed, method, factor):
    matrices = random(15, 2, n, n, seed=seed)
    plain, scaled = product(matrices, method=method), product(factor * matrices, method=method)
    (system, given), moved = driven(matrices, method=method), driven(factor * matrices, method=method)
    known = [kept(*system, **given), kept(*moved[0], **moved[1])]
    for of in ("exponents", "stderr"):
        shift = math.log(factor) if of == "exponents" else 0.0
        digits = sum(getattr(each, of) for each in known)
        torch.testing.assert_close(getattr(scaled, of), getattr(plain, of) + shift, rtol=0, atol=digits)


@DRAWN
@given(n=st.integers(2, 8), seed=SEEDS, method=METHODS)
def test_permuting_neurons_and_tangents_alike_changes_nothing(n, seed, method):
    # Below gain 1, where another order of summation does not grow into another trajectory.
    matrix, order = gaussian(n, 0.9, seed=seed), torch.randperm(n, generator=seeded(seed))
    begun = lyapunov_spectrum(tanh_step(matrix), random(n, seed=seed), n_steps=20)
    moved = replace(begun, state=begun.state[order], tangents=begun.tangents[order])
    plain, permuted = (
        lyapunov_spectrum(tanh_step(weights), start.state, n_steps=40, resume=start, method=method)
        for weights, start in ((matrix, begun), (matrix[order][:, order], moved))
    )
    given = {"n_steps": 40, "resume": begun, "method": method}
    digits = 2 * kept(tanh_step(matrix), begun.state, **given).exponents
    torch.testing.assert_close(permuted.exponents, plain.exponents, rtol=0, atol=digits)
    growth = float(torch.linalg.matrix_norm(matrix, 2)) ** 60  # the farthest that an error of the first step could have come
    torch.testing.assert_close(permuted.state, plain.state[order], rtol=0, atol=rounding(torch.float64, n, max(1.0, growth)))


@settings(DRAWN, max_examples=9)
@given(half=st.integers(1, 3), seed=SEEDS, method=METHODS)
def test_symplectic_products_have_exponents_in_pairs(half, seed, method):
    """Shears [[1, S], [0, 1]] and [[1, 0], [S, 1]] with symmetric S keep the symplectic form."""
    shears, one = random(480, 2, half, half, seed=seed), torch.eye(half).double()
    shears, zero = shears + shears.mT, torch.zeros(480, half, half).double()
    up, down = shears[:, 0], shears[:, 1]
    eye = one.expand(480, half, half)
    upper = torch.cat([torch.cat([eye, up], -1), torch.cat([zero, eye], -1)], -2)
    lower = torch.cat([torch.cat([eye, zero], -1), torch.cat([down, eye], -1)], -2)
    system, given = driven(upper @ lower, n_steps=80, n_warmup=400, method=method)  # 400 steps, for the smallest gap to align
    found, digits = lyapunov_spectrum(*system, **given).exponents, kept(*system, **given).exponents
    torch.testing.assert_close(found, -found.flip(-1), rtol=0, atol=2 * digits)
    assert found[0] > 0.1 and digits < 1e-3


@DRAWN
@given(n=st.integers(2, 6), seed=SEEDS, method=METHODS, every=INTERVALS)
def test_the_sum_is_the_mean_log_determinant(n, seed, method, every):
    matrices = orthogonal(n, seed) + 0.3 * random(24, n, n, seed=seed + 1)  # never near singular on average
    found = product(matrices, method=method, qr_every=every)
    (system, given), (_, plain) = driven(matrices, method=method, qr_every=every), driven(matrices)
    here, there = kept(*system, **given), kept(*system, **plain)
    exact = rounding(torch.float64, n, float(torch.linalg.cond(matrices).mean()))
    torch.testing.assert_close(found.sum(), torch.linalg.slogdet(matrices)[1].mean(), rtol=0, atol=here.sum + exact)
    digits = here.exponents + there.exponents
    torch.testing.assert_close(found.exponents, product(matrices).exponents, rtol=0, atol=digits)


@pytest.mark.parametrize("kick", [8.0, 15.0])
def test_the_standard_map_keeps_area_and_has_chirikovs_exponent(kick):
    """Strong kicks: λ = ln(K / 2) but for terms of order 1 / K² (Chirikov 1979)."""

    def step(z):
        angle, momentum = z.unbind(-1)
        momentum = momentum + kick * torch.sin(angle)
        return torch.stack([(angle + momentum) % (2 * math.pi), momentum % (2 * math.pi)], -1)

    start = 2 * math.pi * torch.rand(400, 2, generator=seeded()).double()
    found = lyapunov_spectrum(step, start, n_steps=100, n_warmup=10, history=False)
    # A determinant of 1 is the difference of products as large as the square of the largest slope, 2 + K.
    assert float(found.sum().abs().max()) < rounding(torch.float64, 4, (2 + kick) ** 2)
    first = found.exponents[:, 0]
    assert first.mean().item() == pytest.approx(math.log(kick / 2), abs=scatter(first) + 1 / kick**2)
