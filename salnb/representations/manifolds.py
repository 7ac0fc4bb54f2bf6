r"""Responses to a circle and to a torus of stimuli, whose covariance spectrum and smoothness are known exactly.

A stimulus is a point θ on the torus of d angles (d = 1: a circle). The units are waves over it, in pairs of cosine and sine, and
their amplitude falls with the wave number. Over all θ different waves are uncorrelated: the eigenvalues of the covariance are the
squared amplitudes halved, each twice. About |k|^d waves are slower than |k|, so that amplitudes |k|^(−α d / 2) make λ_n ∝ n^(−α).
"""

import itertools
import math
from numbers import Integral

import torch
from torch import Tensor

from ..common.arguments import as_float, check_integers, shown
from ..common.tensors import check_floats

MOST_DIMENSIONS = 6
MOST_UNITS = 10**7
MOST_NUMBERS = 10**9  # eight gigabytes


def circle_responses(angles: Tensor | int, units: int, alpha: float) -> Tensor:
    r"""Responses to stimuli on a circle whose covariance eigenvalues fall with the exponent α, each of them twice.

    .. math:: h_{2k-1}(\theta) = k^{-\alpha/2} \cos k\theta, \qquad h_{2k}(\theta) = k^{-\alpha/2} \sin k\theta

    .. math:: \lambda_{2k-1} = \lambda_{2k} = \tfrac12 k^{-\alpha}, \qquad
        \mathrm E\,\Big\lVert \frac{dh}{d\theta} \Big\rVert^2 = \sum_{k=1}^{\text{units}/2} k^{2-\alpha}

    The sum stays finite for ever more units if and only if α > 3, which is ``smoothness_bound(1)``.

    Args:
        angles: (..., N), in radians; or the number N of equally spaced angles, which must exceed the number of units: the sample
            covariance is then exactly that of the whole circle, but for the factor N / (N − 1).
        units: an even number. alpha: α, any finite number.

    Returns:
        (..., N, units), dimensionless, in the dtype and on the device of the angles; float64 on the CPU for a number of angles.
        Computed in float64 and then rounded, so that also in half precision the error is that of rounding the responses.

    Raises:
        ValueError: an odd or too small number of units, too few angles, α not finite or amplitudes out of the dtype's range,
        an integer or empty tensor of angles.
        TypeError: angles are neither a tensor nor an integer.

    Source: the circle as the worked case of the smoothness theory of Stringer et al., Nature 571 (2019).

    Example:
        >>> h = circle_responses(8, units=4, alpha=2.0)
        >>> 2 * h.square().mean(0)
        tensor([1.0000, 1.0000, 0.2500, 0.2500], dtype=torch.float64)
    """
    _check(units, alpha)
    if not isinstance(angles, Tensor):
        return torus_responses(angles, units, alpha, d=1)
    check_floats("angles", angles, "(..., N)")
    return _waves(angles.unsqueeze(-1), units, alpha)


def torus_responses(angles: Tensor | int, units: int, alpha: float, *, d: int | None = None) -> Tensor:
    r"""Responses to stimuli on a torus of d angles whose covariance eigenvalues fall with the exponent α.

    .. math:: h_{2m-1}(\theta) = |k_m|^{-\alpha d / 2} \cos k_m \cdot \theta, \qquad
        h_{2m}(\theta) = |k_m|^{-\alpha d / 2} \sin k_m \cdot \theta

    .. math:: \lambda_{2m-1} = \lambda_{2m} = \tfrac12 |k_m|^{-\alpha d}, \qquad
        \mathrm E\,\lVert \nabla_\theta h \rVert^2 = \sum_m |k_m|^{2 - \alpha d}

    k_1, k_2, … are the wave vectors with integer components, one of each pair ±k, by their length. With all waves up to length K
    the mean square grows as K^(2 + d − α d), that is without bound if α < 1 + 2/d, which is ``smoothness_bound(d)``.

    Args:
        angles: (..., N, d), in radians; or the number n of equally spaced angles along each dimension, N = n^d, which must exceed
            twice the largest component of a wave vector: the sample covariance is then that of the whole torus times N / (N − 1).
        units: an even number. alpha: α, any finite number. d: number of angles, 1 to 6; by default that
            of a tensor of angles, which a given d must equal, and 2 for a number of angles.

    Returns:
        (..., N, units), dimensionless, in the dtype and on the device of the angles; float64 on the CPU for a number of angles.

    Raises:
        ValueError: as ``circle_responses``, and d out of range.
        TypeError: angles are neither a tensor nor an integer.

    Source: the torus as a case of the smoothness theory of Stringer et al., Nature 571 (2019).

    Example:
        >>> h = torus_responses(4, units=8, alpha=1.0)  # wave vectors (0, 1), (1, 0), (1, -1), (1, 1)
        >>> 2 * h.square().mean(0)[::2]
        tensor([1.0000, 1.0000, 0.5000, 0.5000], dtype=torch.float64)
    """
    _check(units, alpha)
    if isinstance(angles, Tensor):
        check_floats("angles", angles, "(..., N, d)", dims=2)
        if d is not None:
            check_integers(d=(d, 1))
            if d != angles.shape[-1]:
                raise ValueError(
                    f"d: got {shown(d)}, but angles have shape {tuple(angles.shape)}, (..., N, d); expected "
                    f"{angles.shape[-1]}, or no d, which a tensor of angles does not need"
                )
        if angles.shape[-1] > MOST_DIMENSIONS:
            raise ValueError(f"angles: got shape {tuple(angles.shape)}, expected (..., N, d) with d <= {MOST_DIMENSIONS}")
        return _waves(angles, units, alpha)
    d = 2 if d is None else d
    check_integers(d=(d, 1))
    if d > MOST_DIMENSIONS:
        raise ValueError(f"d: got {shown(d)}, expected at most {MOST_DIMENSIONS} dimensions")
    if isinstance(angles, bool) or not isinstance(angles, Integral):
        raise TypeError(f"angles: got {type(angles).__name__}, expected a tensor in radians, or an integer number of angles")
    if angles**d * units > MOST_NUMBERS:
        raise ValueError(
            f"angles: got {shown(angles)}, which makes {shown(angles)}^{d} stimuli of {units} units, expected at most "
            f"{MOST_NUMBERS:.0e} numbers in all; take fewer angles, or draw a tensor of them"
        )
    largest = int(wave_vectors(units // 2, d).abs().max())
    if angles <= 2 * largest:
        raise ValueError(
            f"angles: got {shown(angles)} along each dimension, expected more than {2 * largest}: at fewer equal spacings some "
            f"waves of {units} units look alike; take more angles, fewer units, or a tensor of angles"
        )
    one = torch.arange(angles, dtype=torch.float64, device="cpu") * (2 * math.pi / angles)
    return _waves(torch.cartesian_prod(*[one] * d).reshape(-1, d), units, alpha)


def wave_vectors(count: int, d: int) -> Tensor:
    """The first wave vectors of a torus (count, d), int64, by length: integers, one of each pair ±k, without 0.

    Example:
        >>> wave_vectors(4, 2).tolist()
        [[0, 1], [1, 0], [1, -1], [1, 1]]
    """
    radius = 0
    found: list[tuple[int, ...]] = []
    while len(found) < count:
        radius = max(radius + 1, int(radius * 1.3))
        # One of ±k: the one whose first component that is not 0 is positive, which is the one that is larger as a tuple.
        box = itertools.product(range(-radius, radius + 1), repeat=d)
        found = [k for k in box if k > (0,) * d and sum(c * c for c in k) <= radius * radius]
    return torch.tensor(sorted(found, key=lambda k: (sum(c * c for c in k), k))[:count], device="cpu")


def _waves(angles: Tensor, units: int, alpha: float) -> Tensor:
    vectors = wave_vectors(units // 2, angles.shape[-1]).to(angles.device)
    length = vectors.double().square().sum(-1).sqrt()
    amplitude = length ** (-float(alpha) * angles.shape[-1] / 2)
    limits = torch.finfo(angles.dtype)
    if not limits.tiny <= float(amplitude[-1]) <= limits.max:
        raise ValueError(f"alpha: got {alpha}, which takes amplitudes of {units} units out of the range of {angles.dtype}")
    phase = angles.double() @ vectors.double().mT  # rounded to the dtype, a phase of many radians would be off by some radians
    return torch.stack([amplitude * phase.cos(), amplitude * phase.sin()], -1).flatten(-2).to(angles.dtype)


def _check(units: int, alpha: float) -> None:
    check_integers(units=(units, 2))
    if units % 2:
        raise ValueError(f"units: got {units}, expected an even number: a cosine and a sine for every wave")
    if units > MOST_UNITS:
        raise ValueError(f"units: got {shown(units)}, expected at most {MOST_UNITS:.0e}")
    if not math.isfinite(as_float(alpha)):
        raise ValueError(f"alpha: got {shown(alpha)}, expected a finite number")
