"""Circle and torus: their spectra by the formula, their slopes by automatic differentiation, and where these stay finite."""

import math
from functools import partial

import numpy
import pytest
import torch

from salnb.representations.covariance_spectrum import covariance_spectrum
from salnb.representations.manifolds import circle_responses, torus_responses, wave_vectors
from salnb.representations.power_law import power_law, smoothness_bound
from tests.problems import seeded
from tests.tolerances import close, rounding


def angles(*shape: int, seed: int = 0, device="cpu", dtype=torch.float64) -> torch.Tensor:
    return (2 * math.pi * torch.rand(shape, generator=seeded(seed), dtype=torch.float64)).to(device, dtype)


def mean_square_slope(responses, theta: torch.Tensor) -> float:
    """E ‖∂h/∂θ‖² over these stimuli, summed over the angles, by forward-mode derivatives."""
    total = 0.0
    for axis in torch.eye(theta.shape[-1]).double() if theta.ndim > 1 else torch.ones(1).double():
        _, slope = torch.func.jvp(responses, (theta,), (axis.expand_as(theta),))
        total += float(slope.square().sum(-1).mean())
    return total


def test_the_circle_is_its_formula(device):
    theta = angles(2, 7, device=device)
    h = circle_responses(theta, 6, 1.4)
    for k in (1, 2, 3):
        torch.testing.assert_close(h[..., 2 * k - 2], k**-0.7 * (k * theta).cos(), **close(torch.float64, 20))
        torch.testing.assert_close(h[..., 2 * k - 1], k**-0.7 * (k * theta).sin(), **close(torch.float64, 20))
    assert h.shape == (2, 7, 6) and h.device == theta.device and h.dtype == theta.dtype


def test_the_torus_is_its_formula(device):
    theta = angles(3, 5, 2, device=device)
    h = torus_responses(theta, 8, 1.25)
    for m, (a, b) in enumerate([(0, 1), (1, 0), (1, -1), (1, 1)]):
        phase, amplitude = a * theta[..., 0] + b * theta[..., 1], (a * a + b * b) ** (-1.25 / 2)
        torch.testing.assert_close(h[..., 2 * m], amplitude * phase.cos(), **close(torch.float64, 20, 10))
        torch.testing.assert_close(h[..., 2 * m + 1], amplitude * phase.sin(), **close(torch.float64, 20, 10))


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 7, 60])
def test_wave_vectors_are_the_shortest_one_of_each_pair(d, count):
    found = [tuple(k) for k in wave_vectors(count, d).tolist()]
    lengths = [sum(c * c for c in k) for k in found]
    assert len(set(found)) == count and lengths == sorted(lengths) and (0,) * d not in found
    assert not {tuple(-c for c in k) for k in found} & set(found)
    # All that are shorter than the last are there: half of the integer points inside the ball, without its middle.
    reach = math.isqrt(lengths[-1])
    grid = torch.cartesian_prod(*[torch.arange(-reach, reach + 1)] * d).reshape(-1, d).square().sum(-1)
    assert int(((grid > 0) & (grid < lengths[-1])).sum()) == 2 * sum(length < lengths[-1] for length in lengths)


@pytest.mark.parametrize("alpha", [2.0, 2.5, 3.5])
def test_the_spectrum_of_the_circle(alpha):
    h = circle_responses(401, 400, alpha)
    expected = 0.5 * (torch.arange(400) // 2 + 1).double() ** -alpha
    error = rounding(torch.float64, 401) * 2 * (expected * expected[0]).sqrt()
    spectrum = covariance_spectrum(h)
    assert bool(((spectrum - expected * 401 / 400).abs() < error).all())
    # Ranks n − 1 and n share the wave n/2. Through the middle of these steps runs
    # (n + ½)^(−α), whose local exponent is α n / (n + ½).
    for last in (100, 400):
        assert alpha * (1 - 1 / 22) < float(power_law(spectrum, 11, last).alpha) < alpha * (1 + 1 / 22)


@pytest.mark.parametrize(("alpha", "d", "n", "units"), [(1.5, 2, 31, 600), (2.5, 2, 31, 600), (1.5, 3, 9, 400)])
def test_the_spectrum_of_the_torus(alpha, d, n, units):
    h = torus_responses(n, units, alpha, d=d)
    assert h.shape == (n**d, units)
    length = wave_vectors(units // 2, d).double().norm(dim=-1).repeat_interleave(2)
    expected = 0.5 * length ** (-alpha * d) * n**d / (n**d - 1)
    error = rounding(torch.float64, n**d) * 2 * (expected * expected[0]).sqrt()
    spectrum = covariance_spectrum(h)
    assert bool(((spectrum - expected).abs() < error).all())
    if d == 2:
        # n = π r² waves have |k| <= r, but for the points along the edge, some 2 sqrt(π n): α is off by that share at the ends.
        edge = alpha * 2 * math.sqrt(math.pi / 11) / math.log(500 / 11)
        assert abs(float(power_law(spectrum, 11, 500).alpha) - alpha) < edge / 2


@pytest.mark.parametrize("alpha", [2.0, 2.5, 3.5])
def test_the_slope_of_the_circle_grows_without_bound_below_the_smoothness_bound(alpha):
    slopes = []
    for waves in (250, 500, 1000):
        found = mean_square_slope(partial(circle_responses, units=2 * waves, alpha=alpha), angles(40))
        expected = float((torch.arange(1, waves + 1).double() ** (2 - alpha)).sum())  # the same at every θ, as cos² + sin² = 1
        assert found == pytest.approx(expected, rel=rounding(torch.float64, waves * 2 * math.pi))
        slopes.append(found)
    growth = slopes[2] / slopes[1]
    if alpha < smoothness_bound(1):
        # The sum is its integral, K^(3 − α) / (3 − α), but for a number below 1.5.
        assert abs(growth / 2 ** (3 - alpha) - 1) < 1.5 * (3 - alpha) / 500 ** (3 - alpha)
    else:  # what is missing is at most the integral of the rest
        limit = torch.special.zeta(torch.tensor(alpha - 2.0).double(), torch.tensor(1.0).double())
        assert 0 < float(limit) - slopes[2] < 1000 ** (3 - alpha) / (alpha - 3) and growth < 1.03


def test_the_slope_of_the_torus_doubles_or_stays():
    """Waves up to a length of 6, 12, 24: α 1.5 is below the bound of 2, α 2.5 above it."""
    found = {}
    for alpha in (1.5, 2.5):
        found[alpha] = []
        for radius in (6, 12, 24):
            grid = torch.cartesian_prod(*[torch.arange(-radius, radius + 1)] * 2).double().norm(dim=-1)
            inside = grid[(grid > 0) & (grid <= radius)]  # both of each pair ±k
            slope = mean_square_slope(partial(torus_responses, units=len(inside), alpha=alpha), angles(5, 2))
            expected = float((inside ** (2 - 2 * alpha)).sum()) / 2
            assert slope == pytest.approx(expected, rel=rounding(torch.float64, len(inside) * 2 * math.pi * radius))
            found[alpha].append(slope)
    rough, smooth = found[1.5], found[2.5]
    # Half of the plane: the sum over |k| <= K of |k|^(−1) is π K, but for the points along the edge, 1 in K of them.
    assert all(abs(b / a - 2) < 2 / 6 for a, b in zip(rough, rough[1:], strict=False))
    limit = 9.0336216831 / 2  # 4 ζ(3/2) β(3/2): the sum of |k|^(−3) over all integer points, halved; the rest is π / K
    for radius, slope in zip((6, 12, 24), smooth, strict=True):
        assert abs(limit - slope - math.pi / radius) < 1 / radius
    assert [round(slope, 1) for slope in smooth] == [4.0, 4.3, 4.4]


def test_one_angle_is_the_circle():
    theta = angles(9)
    torch.testing.assert_close(torus_responses(theta.unsqueeze(-1), 10, 2.0), circle_responses(theta, 10, 2.0), rtol=0, atol=0)
    assert torch.equal(torus_responses(11, 10, 2.0, d=1), circle_responses(11, 10, 2.0))


def test_dtype_and_device_come_from_the_angles(device):
    for dtype in (torch.float32, torch.float64):
        found = circle_responses(angles(5, device=device, dtype=dtype), 4, 2)
        assert found.dtype == dtype and found.device == device
    assert circle_responses(9, 4, 2).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_fast_waves_are_right_in_narrow_dtypes(dtype, device):
    theta, torus = angles(40, device=device, dtype=dtype), angles(40, 2, device=device, dtype=dtype)
    for found, exact in (
        (circle_responses(theta, 200, 2.0), circle_responses(theta.double(), 200, 2.0)),
        (torus_responses(torus, 200, 1.0), torus_responses(torus.double(), 200, 1.0)),
    ):
        assert found.dtype == dtype
        limits = torch.finfo(dtype)  # rounding, of normal numbers and of those below them
        torch.testing.assert_close(found.double(), exact, rtol=limits.eps / 2, atol=limits.tiny * limits.eps)


def test_the_number_of_angles_of_a_torus_is_that_of_the_tensor_or_2():
    theta = angles(5, 3)
    assert torch.equal(torus_responses(theta, 8, 1.0), torus_responses(theta, 8, 1.0, d=3))
    assert torch.equal(torus_responses(7, 8, 1.0), torus_responses(7, 8, 1.0, d=2))


T = torch.zeros(3, 2)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: circle_responses(T, 3, 1.0), ValueError, "units: got 3, expected an even number"),
        (lambda: circle_responses(T, 0, 1.0), ValueError, "units: got 0, expected an integer >= 2"),
        (lambda: circle_responses(T, 4.0, 1.0), ValueError, "units: got 4.0"),
        (lambda: circle_responses(T, 4, math.nan), ValueError, "alpha: got nan, expected a finite number"),
        (lambda: circle_responses(T, 4, 1e6), ValueError, "alpha: got 1000000.0, which takes amplitudes of 4 units"),
        (lambda: circle_responses(T, 4, -1e6), ValueError, "alpha: got -1000000.0, which takes"),
        (lambda: torus_responses(T, 400, 100.0), ValueError, "out of the range of torch.float32"),
        (lambda: circle_responses(T, 4, "2"), ValueError, "alpha: got '2'"),
        (lambda: circle_responses(T.long(), 4, 1.0), ValueError, "angles: got dtype torch.int64"),
        (lambda: circle_responses(torch.tensor(1.0), 4, 1.0), ValueError, r"angles: got shape \(\)"),
        (lambda: circle_responses(T / 0, 4, 1.0), ValueError, "angles: got 6 of 6 numbers"),
        (lambda: circle_responses(10, 10, 1.0), ValueError, "angles: got 10 along each dimension, expected more than 10"),
        (lambda: circle_responses(-3, 10, 1.0), ValueError, "angles: got -3"),
        (lambda: circle_responses(10.0, 4, 1.0), TypeError, "angles: got float, expected a tensor in radians, or an integer"),
        (lambda: circle_responses(numpy.ones(5), 4, 1.0), TypeError, "angles: got ndarray"),
        (lambda: circle_responses(10**9, 4, 1.0), ValueError, r"angles: got 1000000000, which makes 1000000000\^1 stimuli"),
        (lambda: torus_responses(1000, 4, 1.0, d=6), ValueError, "angles: got 1000, which makes"),
        (lambda: torus_responses(torch.zeros(3), 4, 1.0), ValueError, r"angles: got shape \(3,\), expected \(\.\.\., N, d\)"),
        (lambda: torus_responses(torch.zeros(3, 7), 4, 1.0), ValueError, r"angles: got shape \(3, 7\).*d <= 6"),
        (lambda: torus_responses(5, 4, 1.0, d=7), ValueError, "d: got 7, expected at most 6"),
        (lambda: torus_responses(5, 4, 1.0, d=0), ValueError, "d: got 0, expected an integer >= 1"),
        (lambda: torus_responses(True, 4, 1.0), TypeError, "angles: got bool"),
        (lambda: torus_responses(T, 8, 1.0, d=3), ValueError, r"d: got 3, but angles have shape \(3, 2\).*expected 2, or no d"),
        (lambda: torus_responses(T, 8, 1.0, d="x"), ValueError, "d: got 'x', expected an integer"),
        (lambda: torus_responses(T, 8, 1.0, d=10**5000), ValueError, "d: got a number beyond"),
        (lambda: torus_responses(5, 8, 1.0, d=10**5000), ValueError, "d: got a number beyond"),
        (lambda: circle_responses(-(10**5001), 8, 1.0), ValueError, "angles: got a number beyond"),
        (lambda: torus_responses(10**5000, 8, 1.0), ValueError, "angles: got a number beyond"),
        (lambda: circle_responses(T, 10**20, 1.0), ValueError, "units: got 100000000000000000000, expected at most 1e.07"),
        (lambda: circle_responses(T, 4, 10**400), ValueError, "alpha: got a number beyond the range of floats"),
        (lambda: torus_responses(T, 4, -(10**400)), ValueError, "alpha: got a number beyond"),
    ],
)
def test_bad_input_is_refused_in_words(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
