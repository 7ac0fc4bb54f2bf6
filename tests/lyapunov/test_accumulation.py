"""The standard error is honest: over many runs, the distance to the exact exponent comes out at one standard error."""

import math

import pytest
import torch

from salnb import lyapunov_spectrum
from salnb.lyapunov.accumulation import Growth
from tests.problems import cat_map, logistic, random, seeded
from tests.tolerances import sampling, spread

BLOCKS = 32  # of a run, from whose scatter its error is taken


def z_scores(spectrum, exact) -> torch.Tensor:
    return (spectrum.exponents - torch.as_tensor(exact, dtype=torch.float64)) / spectrum.stderr


def assert_honest(z: torch.Tensor, freedom: int = BLOCKS - 1, beyond: float = 1.0) -> None:
    """Student's t of so many degrees of freedom, system by system: mean 0 and its own width, each within five standard errors.

    ``beyond``: by how much the width may exceed that for a reason that the test names.
    """
    n, width, kurtosis = len(z), math.sqrt(freedom / (freedom - 2)), 3 + 6 / (freedom - 4)
    share = spread(n, kurtosis) / 2
    assert bool((z.std(0) > width * (1 - share)).all()) and bool((z.std(0) < width * (1 + share) * beyond).all())
    assert bool((z.mean(0).abs() < sampling(width * beyond, n)).all())


def driven(inputs, n_warmup=0, **given):
    """Products of the matrices (T, R, N, N), or of the factors (T, R, 1), that come as inputs."""
    if inputs.shape[-1] == 1:
        jvp = lambda x, d, u: (x, u.unsqueeze(-1) * d)  # noqa: E731
    else:
        jvp = lambda x, d, u: (x, u @ d)  # noqa: E731
    start = torch.zeros(inputs.shape[1:3] if inputs.shape[-1] > 1 else inputs.shape[1:], dtype=torch.float64)
    return lyapunov_spectrum(None, start, n_steps=len(inputs) - n_warmup, n_warmup=n_warmup, inputs=inputs, jvp=jvp,
                             history=False, **given)  # fmt: skip


def skewed_tent(x):
    """Maps both [0, p] and [p, 1] onto [0, 1]: the two slopes come as independent throws of a coin of bias p = 0.3."""
    return torch.where(x < 0.3, x / 0.3, (1 - x) / 0.7)


def slopes(x, tangents):
    return skewed_tent(x), torch.where(x < 0.3, 1 / 0.3, -1 / 0.7).double().unsqueeze(-1) * tangents


def test_z_scores_of_a_chaotic_map_with_independent_slopes():
    start, exact = torch.rand(600, 1, generator=seeded()).double(), -(0.3 * math.log(0.3) + 0.7 * math.log(0.7))
    z = z_scores(lyapunov_spectrum(skewed_tent, start, n_steps=960, n_warmup=20, jvp=slopes, history=False), exact)
    assert_honest(z)


def test_z_scores_of_gaussian_matrix_products():
    """Newman 1986: for entries N(0, 1), exponent i is ½ (ln 2 + ψ((N − i + 1) / 2)), i = 1 … N."""
    n = 3
    exact = 0.5 * (math.log(2) + torch.special.digamma(torch.arange(n, 0, -1).double() / 2))
    found = driven(random(340, 300, n, n), n_warmup=20)
    assert_honest(z_scores(found, exact))
    mean, error = found.mean()
    assert bool(((mean - exact).abs() < 5 * error).all()) and error.max() < 0.005


def autoregressive(n_steps: int, runs: int, memory: float) -> torch.Tensor:
    """Log factors (T, R, 1) of mean 0.1 and variance 1, whose correlation falls by e every ``memory`` steps."""
    kept = math.exp(-1 / memory)
    noise, value, rows = random(n_steps, runs, 1) * math.sqrt(1 - kept**2), random(runs, 1, seed=1), []
    for shock in noise:
        value = kept * value + shock
        rows.append(0.1 + value)
    return torch.stack(rows)


def test_z_scores_where_growth_wanders_slowly():
    """Blocks of 62 steps of a process with a memory of 30 are correlated: σ/√n alone would claim too much."""
    found = driven(autoregressive(2000, 400, 30.0).exp())
    z = z_scores(found, 0.1)
    blocks = torch.stack(found.growth.blocks) / found.growth.blocks[0].new_tensor(found.growth.lengths).view(-1, 1, 1)
    naive = (found.exponents - 0.1) / (blocks.std(0) / len(blocks) ** 0.5)
    # Only neighboring blocks are asked how they are correlated: of those farther apart, exp(−62/30) of it is left out.
    assert_honest(z, beyond=1 + math.exp(-62 / 30))
    # The share that the correlation adds is the same runs' own, so it hardly scatters: 1.3 for this memory.
    assert naive.std() > 1.15 * z.std()
    assert_honest(z_scores(driven(autoregressive(2000, 400, 1.0).exp()), 0.1))


def test_where_the_growth_averages_out_faster_than_noise_the_error_stays_on_the_safe_side():
    start = torch.rand(300, 1, generator=seeded()).double()
    found = lyapunov_spectrum(logistic(4.0), start, n_steps=640, n_warmup=20, history=False)
    assert z_scores(found, math.log(2)).std() < 1 - spread(300) / 2, "the error claimed is larger than what is found, not smaller"
    steady = lyapunov_spectrum(cat_map, torch.tensor([0.2, 0.7]).double(), n_steps=320, n_warmup=50)
    assert steady.stderr.max() < 1e-13  # every step has the same factor: what is left is rounding


def test_the_error_between_replicas_is_honest_too():
    inputs = autoregressive(300, 2000, 3.0).exp()
    found = driven(inputs.view(300, 200, 10, 1))
    mean, error = found.mean(dim=1)
    assert mean.shape == error.shape == (200, 1)
    z = (mean - 0.1) / error
    assert_honest(z, freedom=9)
    everything = found.mean()
    torch.testing.assert_close(everything[0], found.exponents.mean((0, 1)))
    torch.testing.assert_close(everything[1], found.exponents.flatten(0, 1).std(0) / 2000**0.5)
    torch.testing.assert_close(found.mean((0, -2))[0], everything[0])


@pytest.mark.parametrize("dim", [(), -1, 2, (0, 2)])
def test_no_scatter_between_replicas_is_an_error_in_words(dim):
    with pytest.raises(ValueError, match=r"dim: got .* for exponents \(4, 3, 1\), expected replica dimensions with at least 2"):
        driven(torch.ones(8, 4, 3, 1).double()).mean(dim)
    with pytest.raises(ValueError, match="for a single run use .exponents and .stderr"):
        driven(torch.ones(8, 1, 1).double()).mean()


def books(blocks, lengths, dt=1.0) -> Growth:
    rows = [torch.tensor([[value]], dtype=torch.float64) for value in blocks]
    growth = Growth.empty(dt)
    for row, n in zip(rows, lengths, strict=True):
        growth = growth.extended(row, [n], history=True)
    return growth


def test_the_formula_with_the_correlation_of_neighbors():
    values = [1.0, 1.5, 2.0, 2.5, 2.0, 1.5, 1.0, 0.5, 1.0, 1.5]
    growth, series = books(values, [5] * 10, dt=0.1), torch.tensor(values).double() / 0.5
    deviation = series - series.mean()
    rho = (deviation[1:] * deviation[:-1]).sum() / deviation.square().sum() + 0.1
    expected = series.std() / 10**0.5 * ((1 + rho) / (1 - rho)).sqrt()
    torch.testing.assert_close(growth.stderr(), expected.view(1))
    torch.testing.assert_close(growth.rates(), series.mean().view(1))
    short = books(values[:7], [5] * 7)  # too few blocks to know their correlation
    torch.testing.assert_close(short.stderr(), torch.tensor([torch.tensor(values[:7]).double().std() / 5 / 7**0.5]).double())
    alternating = books([1.0, 2.0] * 6, [1] * 12)  # a negative correlation is not believed
    torch.testing.assert_close(alternating.stderr(), (torch.tensor([1.0, 2.0] * 6).double().std() / 12**0.5).view(1))
    assert books([1.0], [3]).stderr().isnan().all()


def test_z_scores_after_a_short_run_and_a_long_one():
    """Blocks of 4 and of 60 steps: the long ones know the mean far better, so they must not count alike."""
    factors = random(128 + 1920, 400, 1).exp()
    short = driven(factors[:128])
    z = z_scores(driven(factors[128:], resume=short), 0.0)
    assert_honest(z)
