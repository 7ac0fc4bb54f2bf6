"""Exponents against exact spectra, scipy's regression, and the bias of few samples as perturbation theory has it."""

import math

import numpy
import pytest
import torch
from scipy import stats

from salnb.representations.covariance_spectrum import covariance_spectrum
from salnb.representations.power_law import PowerLaw, power_law, smoothness_bound
from tests.problems import random
from tests.tolerances import close, rounding, scatter

RANKS = torch.arange(1, 201).double()


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.5, 4.0])
@pytest.mark.parametrize("window", [(1, 8), (11, 100), (11, 200), (193, 200)])
def test_an_exact_power_law(alpha, window, device):
    found = power_law((7 * RANKS**-alpha).to(device), *window)
    # Logs up to 23 are rounded; the slope divides them by the length of the window in log n.
    first, last = window
    error = rounding(torch.float64, last, 23 / math.log(last / first))
    assert abs(float(found.alpha) - alpha) < error and float(found.stderr) < error
    assert float(found.log_amplitude) == pytest.approx(math.log(7), abs=6 * error)
    assert float(found.r2) == pytest.approx(1, abs=rounding(torch.float64, last, (23 / alpha / math.log(last / first)) ** 2))
    assert (found.first, found.last) == window and found.alpha.device == device and found.alpha.dtype == torch.float64


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_slope_error_and_r2_are_those_of_scipy(lead):
    eigenvalues = (random(*lead, 60) * 2).exp().sort(-1, descending=True).values
    found = power_law(eigenvalues, 5, 40)
    for index in numpy.ndindex(lead):
        line = stats.linregress(numpy.log(numpy.arange(5, 41)), eigenvalues[index][4:40].log().numpy())
        expected = torch.tensor([-line.slope, line.stderr, line.rvalue**2, line.intercept]).double()
        mine = torch.stack([found.alpha[index], found.stderr[index], found.r2[index], found.log_amplitude[index]])
        torch.testing.assert_close(mine, expected, **close(torch.float64, 36 * 4, 10))
    assert found.alpha.shape == found.stderr.shape == found.r2.shape == lead


def test_the_line_is_the_fit():
    eigenvalues = torch.stack([RANKS**-1.0, 5 * RANKS**-2.0])
    found = power_law(eigenvalues, 11, 100)
    torch.testing.assert_close(found.line(RANKS), eigenvalues, **close(torch.float64, 1000))
    torch.testing.assert_close(found.line(torch.tensor([3, 4])), eigenvalues[:, 2:4], **close(torch.float64, 1000))
    assert "alpha from 1.0000 to 2.0000 over 2 spectra, ranks 11 to 100" in repr(found)
    assert repr(power_law(eigenvalues[1], 11, 100)).startswith("PowerLaw: alpha 2.0000 ± 0.0000, R² 1.0000, ranks 11 to 100")
    assert isinstance(found, PowerLaw)


def test_a_factor_changes_the_amplitude_alone_and_only_the_window_counts():
    eigenvalues = random(40).abs().sort(descending=True).values + 0.1
    found, larger = power_law(eigenvalues, 4, 30), power_law(8 * eigenvalues, 4, 30)
    for name in ("alpha", "stderr", "r2"):
        torch.testing.assert_close(getattr(found, name), getattr(larger, name), **close(torch.float64, 200))
    changed = torch.cat([1e3 + eigenvalues[:3], eigenvalues[3:30], torch.zeros(10)])
    assert torch.equal(power_law(changed, 4, 30).alpha, found.alpha)


def test_a_flat_spectrum_has_exponent_0_and_no_r2():
    found = power_law(torch.full((20,), 0.1), 1, 20)
    assert abs(float(found.alpha)) < rounding(torch.float64, 20, 3) and bool(found.r2.isnan())


def test_float32_eigenvalues_are_fitted_in_float64():
    found = power_law((RANKS**-1.5).float(), 11, 100)
    assert found.alpha.dtype == torch.float64 and abs(float(found.alpha) - 1.5) < rounding(torch.float32, 1)


def perturbed(alpha: float, units: int, n: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """log λ of Gaussian samples to first order in 1/n, and by how much it is off: E λ̂_i = λ_i (1 + Σ_j λ_j / (λ_i − λ_j) / n)."""
    values = numpy.arange(1, units + 1) ** -alpha
    gaps = values[:, None] - values[None, :]
    numpy.fill_diagonal(gaps, numpy.inf)
    shift = (values[None, :] / gaps).sum(1) / n
    return numpy.log(values) + shift, shift


@pytest.mark.parametrize(
    ("alpha", "units", "n", "replicas", "last"),
    [(3.0, 120, 1000, 64, 60), (3.0, 120, 2000, 32, 60), (1.0, 500, 4000, 4, 100)],
)
def test_few_gaussian_samples_bias_the_exponent_as_perturbation_theory_says(alpha, units, n, replicas, last):
    logs, shift = perturbed(alpha, units, n)
    window = slice(10, last)
    expected = -stats.linregress(numpy.log(numpy.arange(11, last + 1)), logs[window]).slope
    h = random(replicas, n, units) * torch.arange(1, units + 1) ** (-alpha / 2)
    found = power_law(covariance_spectrum(h), 11, last).alpha
    # The next order is the square of the first; at the ends of the window it tilts the line by that over its length in log n.
    further = 6 * (shift[window] ** 2).max() / math.log(last / 11)
    assert abs(float(found.mean()) - expected) < scatter(found) + further


def test_a_window_close_to_the_number_of_samples_is_bent():
    h = random(4, 500, 500) * torch.arange(1, 501) ** -0.5
    spectrum = covariance_spectrum(h)
    inner, outer = power_law(spectrum, 11, 100), power_law(spectrum, 11, 400)
    # Marchenko and Pastur: with as many units as samples the last eigenvalues go to 0, whatever those of the source are.
    assert bool((outer.alpha > 1.3).all()) and bool((inner.alpha < 1.1).all()) and bool((outer.r2 < inner.r2).all())


def test_exponents_of_commuting_factors_add():
    """x with covariance n^(-1) along its axes, seen through W whose singular values fall as n^(-.35) along the same axes: 1.7."""
    units, n = 150, 400
    columns = torch.linalg.qr(torch.cat([torch.ones(n, 1).double(), random(n, units)], 1)).Q[:, 1:]
    axes = torch.linalg.qr(random(units, units, seed=1)).Q
    x = columns * ((n - 1) * RANKS[:units] ** -1.0).sqrt() @ axes.mT
    weight = torch.linalg.qr(random(units, units, seed=2)).Q * RANKS[:units] ** -0.35 @ axes.mT
    for h, alpha in ((x, 1.0), (columns @ axes.mT @ weight.mT, 0.7), (x @ weight.mT, 1.7)):
        found = power_law(covariance_spectrum(h), 11, 100)
        # Rounding moves λ by eps times the geometric mean of λ and λ_1, relative to λ at most 100^(α/2).
        assert abs(float(found.alpha) - alpha) < rounding(torch.float64, n, 100 ** (alpha / 2))
        assert 1 - float(found.r2) < 1e-12


@pytest.mark.parametrize(("d", "bound"), [(1, 3.0), (2, 2.0), (4, 1.5), (8.0, 1.25), (math.inf, 1.0), (numpy.int64(4), 1.5)])
def test_smoothness_bound(d, bound):
    assert smoothness_bound(d) == bound and type(smoothness_bound(d)) is float


def ones(count: int) -> torch.Tensor:
    return torch.ones(count, dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_a_window_beyond_the_rank_is_refused(dtype, mean):
    """60 units of 20 inputs: the other 40 eigenvalues are rounding, in float32 up to 1e-10 of the largest."""
    h = (random(300, 20) + mean).to(dtype) @ random(20, 60, seed=1).to(dtype)
    for spectrum in (covariance_spectrum(h), covariance_spectrum(h.split(50))):
        assert spectrum[19] > 1e-3 * spectrum[0] > spectrum[20]
        power_law(spectrum, 1, 20)
        for first in (11, 30):  # the window may lie beyond it altogether
            with pytest.raises(ValueError, match=f"last: got the window {first}…40, but the spectrum has rank 20.*last <= 20"):
                power_law(spectrum, first, 40)
        with pytest.raises(ValueError, match="but a spectrum has rank 20"):
            power_law(torch.stack([torch.ones(60).double(), spectrum]), 14, 21)


@pytest.mark.parametrize("floor", [None, 0])
def test_fewer_samples_than_units_end_the_spectrum(floor):
    few = covariance_spectrum(random(2, 15, 60))
    power_law(few, 1, 14, floor=floor)
    with pytest.raises(ValueError, match="a spectrum has rank 14"):
        power_law(few, 1, 15, floor=floor)


def test_one_unit_much_larger_than_the_others_is_no_end_of_the_spectrum():
    eigenvalues = torch.cat([torch.tensor([1e6]).double(), RANKS**-1.0])
    assert abs(float(power_law(eigenvalues, 11, 100).alpha) - 1) < 0.1


def test_exact_eigenvalues_below_the_floor_are_fitted_on_request():
    with pytest.raises(ValueError, match="only for eigenvalues that are exact, give floor=0"):
        power_law(RANKS**-8.0, 11, 200)
    assert abs(float(power_law(RANKS**-8.0, 11, 200, floor=0).alpha) - 8) < 1e-10


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: power_law(ones(20), 1, 7), ValueError, r"first, last: got the window 1…7, expected at least 8 ranks"),
        (lambda: power_law(ones(20), 9, 5), ValueError, r"first, last: got the window 9…5"),
        (lambda: power_law(ones(20), 0, 10), ValueError, "first: got 0, expected an integer >= 1"),
        (lambda: power_law(ones(20), 1, 21), ValueError, "last: got 21, expected a rank up to 20"),
        (lambda: power_law(ones(20), 1.0, 10), ValueError, "first: got 1.0, expected an integer"),
        (lambda: power_law(ones(20), 1, None), ValueError, "last: got None, expected an integer"),
        (lambda: power_law(RANKS, 1, 10), ValueError, r"eigenvalues: got a larger one at rank 2 than at rank 1, .*sort"),
        (lambda: power_law(torch.stack([ones(200), RANKS]), 1, 10), ValueError, r"rank 2 than at rank 1 of spectrum \(1,\)"),
        (lambda: power_law(-RANKS, 1, 10), ValueError, "last: got the window 1…10, but the spectrum has rank 0"),
        (lambda: power_law(0 * RANKS, 1, 10), ValueError, "the spectrum has rank 0"),
        (lambda: power_law(ones(20).long(), 1, 10), ValueError, "eigenvalues: got dtype torch.int64"),
        (lambda: power_law(ones(20) * torch.nan, 1, 10), ValueError, "eigenvalues: got 20 of 20 numbers"),
        (lambda: power_law(ones(0), 1, 10), ValueError, r"eigenvalues: got shape \(0,\)"),
        (lambda: power_law(torch.tensor(1.0), 1, 10), ValueError, r"eigenvalues: got shape \(\)"),
        (lambda: power_law(numpy.ones(20), 1, 10), TypeError, "eigenvalues: got numpy.ndarray"),
        (lambda: power_law(ones(20), 1, 10, floor=-1.0), ValueError, "floor: got -1.0"),
        (lambda: power_law(ones(20), 1, 10, floor="0"), ValueError, "floor: got '0'"),
        (lambda: power_law(RANKS**-1.0, 1, 10).line([1, 2]), TypeError, "ranks: got list, expected a tensor"),
        (lambda: power_law(RANKS**-1.0, 1, 10).line(RANKS - 1), ValueError, r"ranks: got shape \(200,\).*above 0"),
        (lambda: smoothness_bound(0), ValueError, "d: got 0, expected a number of dimensions > 0"),
        (lambda: smoothness_bound(math.nan), ValueError, "d: got nan"),
        (lambda: smoothness_bound("1"), ValueError, "d: got '1'"),
        (lambda: smoothness_bound(True), ValueError, "d: got True"),
        (lambda: smoothness_bound(10**400), ValueError, "d: got a number beyond the range of floats, expected"),
        (lambda: power_law(ones(20), 1, 10**5000), ValueError, "last: got a number beyond"),
        (lambda: power_law(ones(20), 1, 10, floor=10**5000), ValueError, "floor: got a number beyond"),
        (lambda: smoothness_bound(torch.tensor(2.0)), ValueError, "d: got tensor"),
    ],
)
def test_bad_input_is_refused_in_words(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
