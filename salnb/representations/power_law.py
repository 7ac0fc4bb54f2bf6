"""The power law of a spectrum: its exponent, how well a straight line fits, and the exponent that smoothness asks for."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.arguments import as_float, check_integers, shown
from ..common.tensors import check_floats

CLIFF, SMALL = 1e-3, 1e-8  # a fall by this from one rank to the next, to so little of the largest, is where rounding begins
FEWEST = 8  # points in a window: fewer say nothing about a straight line and its error


@dataclass(frozen=True, repr=False)
class PowerLaw:
    """The straight line through a window of a spectrum, in logarithms.

    Attributes:
        alpha: (...,), the exponent α of λ_n ∝ n^(−α). stderr: (...,), the standard error of α by the scatter about the line.
        r2: (...,), share of the variance of log λ that the line explains; NaN where all eigenvalues are equal.
        log_amplitude: (...,), the line's log λ at rank 1. first, last: the window, ranks from 1, both included.
    """

    alpha: Tensor
    stderr: Tensor
    r2: Tensor
    log_amplitude: Tensor
    first: int
    last: int

    def line(self, ranks: Tensor) -> Tensor:
        """The fitted eigenvalues (..., K) at the given ranks (K,), float64.

        Raises:
            TypeError: ranks are no tensor. ValueError: not one dimension, or a rank that is not above 0.
        """
        if not isinstance(ranks, Tensor):
            raise TypeError(f"ranks: got {type(ranks).__name__}, expected a tensor (K,), such as torch.arange(1, 101)")
        if ranks.ndim != 1 or ranks.is_complex() or not bool((ranks > 0).all()):
            raise ValueError(f"ranks: got shape {tuple(ranks.shape)}, {ranks.dtype}, expected (K,), all ranks above 0")
        logs = ranks.to(self.alpha).log()
        return (self.log_amplitude.unsqueeze(-1) - self.alpha.unsqueeze(-1) * logs).exp()

    def __repr__(self) -> str:
        window = f"ranks {self.first} to {self.last}"
        if self.alpha.ndim == 0:
            return f"PowerLaw: alpha {self.alpha:.4f} ± {self.stderr:.4f}, R² {self.r2:.4f}, {window}"
        low, high = float(self.alpha.min()), float(self.alpha.max())
        return f"PowerLaw: alpha from {low:.4f} to {high:.4f} over {self.alpha.numel()} spectra, {window}"


def power_law(eigenvalues: Tensor, first: int, last: int, *, floor: float | None = None) -> PowerLaw:
    r"""Exponent of a spectrum: the least squares slope of log λ on log n over a window of ranks.

    .. math:: \log \lambda_n = c - \alpha \log n + \text{residual}, \qquad n = \text{first}, \dots, \text{last}

    Args:
        eigenvalues: (..., H), descending, all of the spectrum, of any unit; leading dimensions are replicas.
        first, last: ranks from 1, both included, at least 8 of them; 11 and 100 or 500 in the source.
        floor: eigenvalues of at most this share of the largest are rounding and must not be in the window. By default H · eps of
            their dtype, where a numerical rank usually ends, and also whatever comes after a fall of three decades from one rank
            to the next, to less than 1e-8 of the largest: so a representation that was computed in float32 ends at the number of
            its inputs. 0 for eigenvalues that are exact to the last, such as a formula's.

    Returns:
        a ``PowerLaw`` with ``alpha``, ``stderr``, ``r2`` and ``log_amplitude``, each (...,), float64. ``stderr`` takes the
        residuals as independent; those of neighboring eigenvalues are not, so the scatter over replicas is the honest error.

    Raises:
        ValueError: a window of fewer than 8 ranks, outside of the spectrum or beyond its rank; eigenvalues that are not
        descending or not finite; an integer or empty tensor. TypeError: no tensor.

    Source: arXiv 2405.00679, windows 11…500 (images) and 11…100 (noise); Stringer et al., Nature 571 (2019), 11…500.

    Example:
        >>> ranks = torch.arange(1, 101, dtype=torch.float64)
        >>> power_law(3 * ranks**-1.5, 11, 100).alpha
        tensor(1.5000, dtype=torch.float64)
    """
    check_floats("eigenvalues", eigenvalues, "(..., H), descending")
    check_integers(first=(first, 1), last=(last, 1))
    count = eigenvalues.shape[-1]
    if last > count:
        raise ValueError(f"last: got {shown(last)}, expected a rank up to {count}, the number of eigenvalues")
    if last - first + 1 < FEWEST:
        raise ValueError(f"first, last: got the window {first}…{last}, expected at least {FEWEST} ranks (both ends are included)")
    values = eigenvalues.double()
    _check_order(values)
    share = count * torch.finfo(eigenvalues.dtype).eps if floor is None else _checked_floor(floor)
    _check_window(values, first, last, floor, share)
    logs = values[..., first - 1 : last].log()
    ranks = torch.arange(first, last + 1, dtype=logs.dtype, device=logs.device).log()
    return PowerLaw(*_straight_line(ranks, logs), first, last)


def _straight_line(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """−slope, its standard error, R² and the intercept of the least squares line through (x, y), over the last dimension."""
    middle, height = x.mean(), y.mean(-1, keepdim=True)
    across, up = x - middle, y - height
    spread, total = across.square().sum(), up.square().sum(-1)
    slope = (across * up).sum(-1) / spread
    residual = (up - slope.unsqueeze(-1) * across).square().sum(-1)
    stderr = (residual / (len(x) - 2) / spread).sqrt()
    # A spectrum without any slope leaves nothing to explain, but the rounding of its mean.
    nothing = total <= len(x) * (4 * torch.finfo(y.dtype).eps * (1 + height.squeeze(-1).abs())).square()
    r2 = torch.where(nothing, torch.nan, 1 - residual / total.masked_fill(nothing, 1.0))
    return -slope, stderr, r2, height.squeeze(-1) - slope * middle


def _check_order(values: Tensor) -> None:
    rising = values[..., 1:] > values[..., :-1]
    if bool(rising.any()):
        place = tuple(rising.nonzero()[0].tolist())
        rank = place[-1] + 1
        of = f" of spectrum {place[:-1]}" if place[:-1] else ""
        raise ValueError(
            f"eigenvalues: got a larger one at rank {rank + 1} than at rank {rank}{of}, expected them descending; sort them with "
            ".sort(-1, descending=True).values"
        )


def _checked_floor(floor: float) -> float:
    if not 0 <= as_float(floor) < 1:
        raise ValueError(f"floor: got {shown(floor)}, expected a share of the largest eigenvalue in [0, 1), or None")
    return float(floor)


def _check_window(values: Tensor, first: int, last: int, floor: float | None, share: float) -> None:
    """Checks that no spectrum ends before the window does."""
    largest = values[..., :1]
    present = (values > share * largest) & (values > 0)
    if floor is None:  # rounding in float32 lies higher, but the last eigenvalue that is none lies far above it
        here, following = values[..., :-1], values[..., 1:]
        edge = (following < CLIFF * here) & (following < SMALL * largest)
        present[..., 1:] &= edge.cumsum(-1) == 0
    rank = int(present.sum(-1).min())
    if rank < last:
        raise ValueError(
            f"last: got the window {first}…{last}, but {'a' if values.ndim > 1 else 'the'} spectrum has rank {rank}: "
            f"beyond it they are 0, negative, at most {share:.1e} of the largest or far below the others, which is rounding; "
            f"expected last <= {rank}; only for eigenvalues that are exact, give floor=0"
        )


def smoothness_bound(d: float) -> float:
    r"""The exponent that a smooth representation of d-dimensional inputs must exceed.

    .. math:: \alpha > 1 + \frac{2}{d}

    A slower decay leaves so much variance in fine detail that the derivative of the response by the input has no finite mean
    square. It is a statement on the limit n → ∞: a finite window can agree with it or not, but proves nothing.

    Args:
        d: dimension of the ensemble of inputs, a number > 0; also infinity.

    Returns:
        the bound on α, dimensionless.

    Raises:
        ValueError: d is not a number above 0.

    Source: Stringer et al., Nature 571 (2019), *High-dimensional geometry of population responses in visual cortex*.

    Example:
        >>> [smoothness_bound(d) for d in (1, 4, 8)]
        [3.0, 1.5, 1.25]
        >>> ranks = torch.arange(1, 101, dtype=torch.float64)
        >>> bool(power_law(ranks**-2.0, 11, 100).alpha > smoothness_bound(4))
        True
    """
    if not as_float(d) > 0:
        raise ValueError(f"d: got {shown(d)}, expected a number of dimensions > 0")
    return 1 + 2 / float(d)
