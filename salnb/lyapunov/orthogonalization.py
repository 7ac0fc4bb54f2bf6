"""The QR step of Benettin's method, and cheaper factorizations that may take its place: they take the growth out of tangents.

Each of them writes the tangents A (..., N, k) as frame times upper triangle, A = F R, and hands back F and |diag R|. Over a
run the triangles multiply to a triangle, so that the logs of their diagonals add up. If the first and the last frame are
orthonormal, the sums are those of one QR decomposition of the whole product, whatever was used in between.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Reduction = Callable[[Tensor], tuple[Tensor, Tensor]]

# What rounding may do to the slowest direction, per step: the mean over reductions of eps times the ratio between the most and
# the least growing one (squared for the Cholesky factor, which is that of AᵀA). The true error came out about a hundredth of
# this estimate for elimination and a tenth for Householder, on random tanh networks of 64 and 256 units against 80-bit numbers,
# but in rare networks a few times the estimate. So elimination is given a tenth of the 1e-9 that is promised: over 60 steps
# of 390 networks (64 to 256 units, g = 1.5 and 2) it was off by 2e-12 in the median and 2e-10 at worst. Beyond that no method
# helps: at g = 3 two roundings of a Householder QR at every step lie up to 4e-8 apart themselves.
TOLERANCE = {
    "elimination": {torch.float64: 1e-10, torch.float32: 1e-4},
    "householder": {torch.float64: 1e-9, torch.float32: 1e-5},
    "cholesky": {torch.float64: 1e-5, torch.float32: 1e-3},
}


PROBES = 16  # random signs that tell how well a Cholesky factor is known: a mean of so many squares is rarely off by four
NOISE = 0.03  # nats a step: where two roundings of a step lie farther apart in a direction, nothing is said of its growth


def length(tangents: Tensor) -> tuple[Tensor, Tensor]:
    """One tangent: divided by its length. A tangent of length 0 has no direction left and stays 0."""
    size = torch.linalg.vector_norm(tangents, dim=-2, keepdim=True)
    return tangents / torch.where(size > 0, size, 1.0), size.squeeze(-2)


def householder(tangents: Tensor) -> tuple[Tensor, Tensor]:
    """QR by reflections: an orthonormal frame, whatever the tangents."""
    frame, triangle = torch.linalg.qr(tangents)
    # z neurons of slope 0 are z rows of zeros: only N − z directions live on, and QR finds rounding noise in the rest.
    diagonal = triangle.diagonal(dim1=-2, dim2=-1).abs()
    rows = (tangents != 0).any(-1)
    if rows.device.type == "cpu" and bool(rows.all()):  # elsewhere to look would mean to wait
        return frame, diagonal
    rank = diagonal.argsort(-1, descending=True).argsort(-1)
    return frame, diagonal.masked_fill(rank >= rows.sum(-1, keepdim=True), 0.0)


def signs(k: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """PROBES columns (k, PROBES) of random signs, always the same ones."""
    drawn = torch.randint(0, 2, (k, PROBES), generator=torch.Generator().manual_seed(k))
    return (2 * drawn - 1).to(dtype).to(device)


def by_gram(tangents: Tensor, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    r"""Frame and diagonal from the Cholesky factor Rᵀ of AᵀA, and which systems (...) have them to about ``tolerance``.

    The product of two columns i and j is known to eps ‖aᵢ‖ ‖aⱼ‖. The true triangle is S R with SᵀS = 1 + R⁻ᵀ E R⁻¹, where E is
    that error, so its j-th pivot is known, to first order and for errors of all signs, to about

    .. math:: \mathrm{eps} \sum_i \|a_i\|^2 \, (R^{-1})_{ij}^2.

    Where that is large the pivot is rounding noise, whether it came out positive or not. The sum is estimated by a few random
    signs z, as the mean of the squares of R⁻ᵀ (‖aᵢ‖ zᵢ): the inverse itself would cost more than the rest. Squares that leave
    the range of the numbers, at either end, tell nothing either.
    """
    k, numbers = tangents.shape[-1], torch.finfo(tangents.dtype)
    gram = tangents.mT @ tangents
    squares = gram.diagonal(dim1=-2, dim2=-1)
    factor, failed = torch.linalg.cholesky_ex(gram)
    probes = squares.sqrt().unsqueeze(-1) * signs(k, tangents.dtype, tangents.device)
    solved = torch.linalg.solve_triangular(factor, torch.cat([tangents.mT, probes], -1), upper=False)
    error = numbers.eps * solved[..., -PROBES:].square().mean(-1)
    in_range = (squares > numbers.tiny / numbers.eps) & torch.isfinite(squares)
    known = (failed == 0) & ((error < tolerance) & in_range).all(-1)
    return solved[..., :-PROBES].mT, factor.diagonal(dim1=-2, dim2=-1), known


def cholesky(tangents: Tensor) -> tuple[Tensor, Tensor]:
    """QR by the Cholesky factor of AᵀA: products instead of reflections, several times as fast; Householder where it is noise."""
    frame, diagonal, known = by_gram(tangents, TOLERANCE["cholesky"].get(tangents.dtype, 1e-3))
    if not bool(known.all()):
        finite = torch.isfinite(tangents).flatten(-2).all(-1)
        if bool((finite & ~known).any()):
            return householder(tangents)
        diagonal = diagonal.masked_fill(~finite.unsqueeze(-1), torch.nan)  # what is lost leaves the others as they are
    return frame, diagonal


class Elimination:
    """Gaussian elimination with row exchanges, A = P L U: a sixth of a QR's time, and a frame P L with no entry above 1.

    Works in memory of its own, because asking for half a megabyte anew costs as much as the arithmetic. A frame that it has
    handed out is therefore overwritten by the next call. One of a single system carries ``factors``, Lᵀ and the place of each
    row of L in the frame, for a tangent step that can leave out the zeros.
    """

    def __init__(self) -> None:
        self._packed = self._frame = None

    def __call__(self, tangents: Tensor) -> tuple[Tensor, Tensor]:
        n, k = tangents.shape[-2:]
        if self._packed is None or self._packed.shape != tangents.shape:
            self._packed = torch.empty_like(tangents.mT, memory_format=torch.contiguous_format).mT  # columns, as LAPACK wants
            self._frame = torch.empty_like(tangents, memory_format=torch.contiguous_format).view(-1, k)
            self._pivots = torch.empty((*tangents.shape[:-2], k), dtype=torch.int32, device=tangents.device)
            self._failed = torch.empty(tangents.shape[:-2], dtype=torch.int32, device=tangents.device)
            self._places = torch.arange(n, dtype=tangents.dtype, device=tangents.device)
            self._starts = n * torch.arange(tangents[..., 0, 0].numel(), device=tangents.device).view(*tangents.shape[:-2], 1)
        torch.linalg.lu_factor_ex(tangents, out=(self._packed, self._pivots, self._failed))
        diagonal = self._packed.diagonal(dim1=-2, dim2=-1).abs()
        exchange = torch.lu_unpack(self._packed, self._pivots, unpack_data=False)[0]
        # P as an index, so that its product with L is a gather: row i of P L is row source[i] of L.
        source = (exchange @ self._places).long() + self._starts
        # The packed factors are stored by columns: their transpose is what a processor reads in order.
        self._packed.mT.triu_(1).diagonal(dim1=-2, dim2=-1).fill_(1.0)
        lower = self._packed if self._packed.ndim == 2 else self._packed.reshape(-1, k)
        torch.index_select(lower, 0, source.flatten(), out=self._frame)
        frame = self._frame.view(tangents.shape)
        if len(self._frame) == n:
            frame.factors = self._packed.mT.reshape(k, n), (self._places @ exchange).long().flatten()
        return frame, diagonal


def reduction(method: str, k: int) -> Reduction:
    """The factorization of k tangents by its name."""
    return length if k == 1 else {"householder": householder, "cholesky": cholesky}.get(method) or Elimination()


def stretch(frame: Tensor) -> Tensor:
    """Log |diag R| (..., k) of the QR decomposition of a well-conditioned frame, such as elimination leaves; R alone."""
    _, diagonal, known = by_gram(frame, TOLERANCE["elimination"].get(frame.dtype, 1e-4))
    if not bool(known.all()):
        diagonal = torch.where(known.unsqueeze(-1), diagonal, householder(frame)[1])
    return diagonal.double().log()


def lost(tangents: Tensor, diagonal: Tensor) -> Tensor:
    """Which directions (..., k) may be nothing but rounding noise, because they depend linearly on those before them."""
    noise = 8 * tangents.shape[-2] ** 0.5 * torch.finfo(tangents.dtype).eps
    return diagonal <= noise * tangents.abs().amax(-2)


def disagreement(tangents: Tensor, others: Tensor) -> Tensor:
    """How far (..., k) the log growth of two frames that differ by rounding alone lies apart: about 1 where all is noise."""
    here, there = (householder(moved)[1].double().log() for moved in (tangents, others))
    return (here - there).abs().nan_to_num(0.0, posinf=torch.inf)  # −∞ − (−∞): both exactly dead


def rounding_damage(logs: Tensor, steps: int, dead: Tensor, eps: float, power: int) -> tuple[float, float]:
    """Log of the rounding error in the slowest direction, per step, and how much every further step would add to it.

    For a single tangent it is the size of its largest log growth. ``logs`` (n, ..., k): log growth at n reductions, ``steps``
    apart. ``dead``: the directions that are known to have died. ``eps``: log of the numbers' precision. ``power``: 2 if the
    reduction squares the spread.
    """
    if not bool((torch.isfinite(logs) | dead).all()):
        return math.inf, 0.0
    dead = dead.expand_as(logs)
    if logs.shape[-1] == 1:
        largest = float(logs.masked_fill(dead, 0.0).abs().max().nan_to_num(0.0))
        return largest, largest / steps
    highest = logs.masked_fill(dead, -torch.inf).amax(-1)
    lowest = logs.masked_fill(dead, torch.inf).amin(-1)
    spread = power * (highest - lowest).clamp_min(0.0).nan_to_num(0.0)
    of_all = spread.logsumexp(0) - math.log(len(logs) * steps) + eps
    return float(of_all.max()), float(spread.mean(0).max()) / steps
