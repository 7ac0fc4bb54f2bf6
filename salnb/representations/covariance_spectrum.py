"""The covariance spectrum of a representation, of samples at once or batch by batch, and how many directions it fills."""

from collections.abc import Iterable

import numpy
import torch
from torch import Tensor

from ..common.tensors import check_floats

AT_ONCE = 2**26  # numbers, half a gigabyte in float64; 10,000 samples of 2,000 units are 2e7
EPS = torch.finfo(torch.float64).eps


def covariance_spectrum(h: Tensor | Iterable[Tensor]) -> Tensor:
    r"""Eigenvalues of the covariance of a representation over samples, largest first.

    .. math:: C = \frac{1}{N - 1} \sum_{i=1}^{N} (h_i - \bar h)(h_i - \bar h)^\top, \qquad C u_n = \lambda_n u_n

    They are the squares of the singular values of the centred samples. The matrix C is not formed: small eigenvalues keep digits
    down to about 1e-30 of the largest, where the eigenvalues of C itself would be rounding below 1e-15. Only a tensor of more
    than 2^26 numbers that needs no gradient, and an iterable, go through ``StreamingCovariance``, which forms C.

    Args:
        h: (..., N, H), N samples of H units, of any unit; leading dimensions are replicas. Or an iterable of batches
            (..., B, H), a generator for instance, for more samples than fit into memory; all of the same H and replicas.

    Returns:
        (..., H), descending, float64, in squared units of h; exactly 0 beyond rank N − 1 and where h varies by less than its
        own rounding in float64. Of a tensor it can be differentiated. h computed in float32 has digits of its own: eigenvalues
        below about 1e-14 of the mean square of h are its rounding.

    Raises:
        ValueError: one sample; an integer, empty or one-dimensional tensor; numbers that are not finite or whose squares leave
        the range of float64; batches that do not fit together. TypeError: neither a tensor nor an iterable of tensors.

    Source: arXiv 2405.00679, whose published code centres, divides by N − 1 and does not normalise, in float32.

    Example:
        >>> h = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [2.0, 3.0], [-2.0, 3.0]])
        >>> covariance_spectrum(h)
        tensor([3.3333, 1.3333], dtype=torch.float64)
    """
    if not isinstance(h, Tensor) and isinstance(h, Iterable) and not isinstance(h, numpy.ndarray | str | bytes | dict):
        return _streamed(h).spectrum()
    check_floats("h", h, "(..., N, H)", dims=2)
    n, units = h.shape[-2:]
    _check_samples(n)
    if h.numel() > AT_ONCE and not (h.requires_grad and torch.is_grad_enabled()):
        rows = max(1, AT_ONCE * n // h.numel())
        return _streamed(h.split(rows, dim=-2)).spectrum()
    centred, mean = _centred(h)
    values = torch.linalg.svdvals(_checked(centred)).square() / (n - 1)
    values = torch.nn.functional.pad(values, (0, max(0, units - n)))
    return _cleared(_checked(values), mean, n)


class StreamingCovariance:
    r"""Mean and covariance of samples that come batch by batch, for any number of them.

    .. math:: M \leftarrow M_a + M_b + \frac{n_a n_b}{n_a + n_b}\,\delta\,\delta^\top, \qquad \delta = \bar h_b - \bar h_a

    with M the sum of squares about the mean, n and h̄ of what came before (a) and of the batch (b). Each batch is centred at its
    own mean, so that no large numbers cancel. Memory is that of one (..., H, H) matrix in float64, on the device of the batches.
    No gradient passes through it. Eigenvalues below about H · 2e-16 of the largest are rounding.

    Attributes:
        count: number of samples so far. mean: (..., H), float64; None before the first batch.

    Source: Chan, Golub and LeVeque, The American Statistician 37 (1983), the pairwise update.

    Example:
        >>> h = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [2.0, 3.0], [-2.0, 3.0]])
        >>> StreamingCovariance().update(h[:3]).update(h[3:]).spectrum()
        tensor([3.3333, 1.3333], dtype=torch.float64)
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | None = None
        self._squares: Tensor | None = None

    @torch.no_grad()
    def update(self, h: Tensor) -> "StreamingCovariance":
        """Takes in a batch (..., B, H) of one sample or more and returns itself.

        Raises:
            ValueError: an integer, empty or one-dimensional tensor, numbers that are not finite, or another H, other replicas or
            another device than those of the batches before. TypeError: no tensor.
        """
        check_floats("h", h, "(..., B, H)", dims=2)
        centred, mean = _centred(h)
        return self._join(h.shape[-2], mean, _checked(centred.mT @ centred))

    @torch.no_grad()
    def merge(self, other: "StreamingCovariance") -> "StreamingCovariance":
        """Takes in all that another one has seen, which stays as it is, and returns itself.

        Raises:
            TypeError: not a ``StreamingCovariance``. ValueError: its samples have another H, other replicas or another device.
        """
        if not isinstance(other, StreamingCovariance):
            raise TypeError(f"other: got {type(other).__name__}, expected a StreamingCovariance; give tensors to update()")
        return self._join(other.count, other.mean, other._squares) if other.count else self

    def _join(self, n: int, mean: Tensor, squares: Tensor) -> "StreamingCovariance":
        if self.mean is None:
            self.count, self.mean, self._squares = n, mean.clone(), squares.clone()
            return self
        if mean.shape != self.mean.shape or mean.device != self.mean.device:
            raise ValueError(
                f"h: got {_described(mean)}, expected {_described(self.mean)}, as in the batches before; use a new "
                "StreamingCovariance for another representation"
            )
        total = self.count + n
        delta = mean - self.mean
        outer = delta.unsqueeze(-1) * delta.unsqueeze(-2)
        self._squares = _checked(self._squares + squares + outer * (self.count * n / total))
        self.mean, self.count = self.mean + delta * (n / total), total
        return self

    def covariance(self) -> Tensor:
        """The covariance so far, (..., H, H), float64, in squared units of h.

        Raises:
            ValueError: fewer than two samples so far.
        """
        _check_samples(self.count)
        return self._squares / (self.count - 1)

    def spectrum(self) -> Tensor:
        """Eigenvalues of the covariance so far, (..., H), descending, float64, as of ``covariance_spectrum``.

        Raises:
            ValueError: fewer than two samples so far.
        """
        values = torch.linalg.eigvalsh(self.covariance()).flip(-1).clamp_min(0.0)
        return _cleared(values, self.mean, self.count)

    def __repr__(self) -> str:
        return f"StreamingCovariance: {self.count} samples" + (f" of {_described(self.mean)}" if self.count else "")


def participation_ratio(eigenvalues: Tensor) -> Tensor:
    r"""Participation ratio: how many directions the variance fills, from 1 to the number of eigenvalues.

    .. math:: \mathrm{PR} = \frac{\big(\sum_n \lambda_n\big)^2}{\sum_n \lambda_n^2}

    Args:
        eigenvalues: (..., H), in any order and unit.

    Returns:
        (...,), float64, dimensionless: k if k eigenvalues are equal and the others 0.

    Raises:
        ValueError: negative eigenvalues (below what rounding explains), none above 0, an integer or empty tensor, numbers that
        are not finite. TypeError: no tensor.

    Source: Gao et al., bioRxiv 214262 (2017), of covariances of neurons; in physics much older.

    Example:
        >>> participation_ratio(torch.tensor([[2.0, 2.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]))
        tensor([2., 1.], dtype=torch.float64)
    """
    check_floats("eigenvalues", eigenvalues, "(..., H)")
    largest = eigenvalues.detach().abs().amax(-1, keepdim=True)
    negative = (eigenvalues < -largest * eigenvalues.shape[-1] * torch.finfo(eigenvalues.dtype).eps).any(-1)
    empty = largest.squeeze(-1) == 0
    if bool((negative | empty).any()):
        what = f"{float(eigenvalues.min()):.3g}" if bool(negative.any()) else "only zeros"
        raise ValueError(
            f"eigenvalues: got {what}, expected eigenvalues of a covariance: none negative, and the largest above 0; "
            "a representation that never varies fills no direction"
        )
    # By the largest, because squares of small variances would vanish.
    shares = (eigenvalues.double() / largest.double()).clamp_min(0.0)
    return shares.sum(-1).square() / shares.square().sum(-1)


def _streamed(batches: Iterable[Tensor]) -> StreamingCovariance:
    seen = StreamingCovariance()
    for batch in batches:
        if isinstance(batch, list | tuple) and batch and isinstance(batch[0], Tensor):
            raise TypeError(
                f"h: got a batch that is a {type(batch).__name__}, as a DataLoader of images and labels gives, expected tensors; "
                "give a generator: (x for x, *_ in h)"
            )
        seen.update(batch)
    if not seen.count:
        raise ValueError("h: got an iterable without a batch, expected batches (..., B, H); a generator can be used only once")
    return seen


def _centred(h: Tensor) -> tuple[Tensor, Tensor]:
    """The samples about their mean, and the mean (..., H), in float64."""
    h = h.double()
    mean = h.mean(-2, keepdim=True)
    return h - mean, mean.squeeze(-2)


def _cleared(values: Tensor, mean: Tensor, n: int) -> Tensor:
    """Eigenvalues with 0 beyond rank N − 1, and where the variance is below what the rounding of the mean alone makes."""
    units = values.shape[-1]
    rank = torch.arange(1, units + 1, device=values.device)
    rounding = units * (4 * EPS * mean.detach().abs().amax(-1, keepdim=True)).square()
    return values.masked_fill((rank > n - 1) | (values <= rounding), 0.0)


def _checked(values: Tensor) -> Tensor:
    """The given numbers, if float64 can hold them."""
    if not bool(torch.isfinite(values).all()):
        raise ValueError("h: got numbers whose squares leave the range of float64 (1e308); divide h by its largest entry first")
    return values


def _check_samples(n: int) -> None:
    if n < 2:
        raise ValueError(f"h: got {n or 'no'} sample, expected N >= 2 of them in (..., N, H), which a covariance averages over")


def _described(mean: Tensor) -> str:
    *replicas, units = mean.shape
    return f"{units} units, replicas {tuple(replicas)}, on {mean.device}"
