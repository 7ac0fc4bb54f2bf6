"""Comparing the singular vectors of two matrices: of neighboring layers, or of one layer at two times."""

import warnings

import torch
from torch import Tensor

from ..common.arguments import check_integers
from ..common.tensors import check_floats
from .rank import computable


def check_pair(names: tuple[str, str], first: Tensor, second: Tensor, shapes: tuple[str, str], k: int) -> None:
    """Checks two matrices (..., m, n) that belong together, and the number of vectors that is to be compared."""
    for name, value, shape in zip(names, (first, second), shapes, strict=True):
        check_floats(name, value, shape, dims=2)
    check_integers(k=(k, 1))
    if first.device != second.device:
        raise ValueError(f"{names[1]}: got a tensor on {second.device}, expected one on {first.device} as {names[0]}; use .to()")
    try:
        torch.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    except RuntimeError:
        lead = tuple(first.shape[:-2])
        raise ValueError(f"{names[1]}: got replicas {tuple(second.shape[:-2])}, expected {lead} as {names[0]}, or none") from None


def singular_vectors(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Left vectors (..., m, R), singular values (..., R) and right vectors (..., n, R), the largest first."""
    left, values, right = torch.linalg.svd(computable(weight), full_matrices=False)
    return left, values, right.mH


def gaps(values: Tensor, complete: bool) -> Tensor:
    """Whether each singular value (..., R) is larger than the next by more than rounding makes of equal ones.

    The last one is followed by 0, unless the vectors are as many as there are dimensions (``complete``), so that no other
    direction is left to be mixed up with.
    """
    n = values.shape[-1]
    rounding = 10 * max(n, 10) * torch.finfo(values.dtype).eps * values[..., :1]
    following = torch.cat([values[..., 1:], torch.full_like(values[..., :1], -torch.inf if complete else 0.0)], -1)
    return values - following > rounding


def each_is_determined(values: Tensor, complete: bool, k: int) -> Tensor:
    """Whether each of the first k vectors is, up to its sign: singular values that are equal have vectors in any directions."""
    apart = gaps(values, complete)
    return apart[..., :k].all(-1)


def or_undetermined(found: Tensor, determined: Tensor, what: str) -> Tensor:
    """NaN, and a warning, where the vectors are not determined by the matrices."""
    determined = determined.expand_as(found)
    if not bool(determined.all()):
        count = f" in {int((~determined).sum())} of {determined.numel()} replicas" if found.ndim else ""
        warnings.warn(f"{what}{count}, so that they are not determined by the matrix: NaN; use a smaller k", RuntimeWarning,
                      stacklevel=3)  # fmt: skip
    return torch.where(determined, found, torch.nan)


EQUAL = "among the first k singular values some are equal or 0 up to rounding, and their vectors could lie in any direction"


def aligned(left: Tensor, values: Tensor, right: Tensor, next_values: Tensor, inputs: int, k: int) -> tuple[Tensor, Tensor]:
    """Alignment (...) of left vectors (..., h, R) with the right ones (..., h, R') of a matrix with so many inputs, and whether
    the vectors are determined."""
    k, dtype = min(k, values.shape[-1], next_values.shape[-1]), torch.promote_types(left.dtype, right.dtype)
    found = (left[..., :k].to(dtype) * right[..., :k].to(dtype)).sum(-2).abs().mean(-1)
    first = each_is_determined(values, left.shape[-2] == values.shape[-1], k)
    return found, first & each_is_determined(next_values, inputs == next_values.shape[-1], k)


def layer_alignment(first: Tensor, second: Tensor, *, k: int = 10) -> Tensor:
    r"""Alignment of neighboring layers: whether the strongest outputs of one are the strongest inputs of the next.

    .. math:: \frac1k \sum_{j \le k} |\langle u_j(W_1),\, v_j(W_2)\rangle|, \qquad W = \sum_j s_j u_j v_j^\top

    1 for factors that share a basis in the same order; about √(2 / (π h)) for independent ones.

    Args:
        first: (..., h, i), the weight of a layer. second: (..., o, h), that of the layer which reads its h outputs.
        k: how many leading pairs; at most as many as both matrices have.

    Returns:
        (...,). NaN, with a RuntimeWarning, where singular values among the first k are equal up to rounding.

    Raises:
        TypeError: no tensors. ValueError: shapes that do not fit, numbers that are not finite, k below 1.

    Source: arXiv 2408.11804, equations 3 and 4.

    Example:
        >>> first, second = torch.diag(torch.tensor([3.0, 2.0, 1.0])), torch.diag(torch.tensor([5.0, 1.0, 0.5]))
        >>> layer_alignment(first, second, k=3), layer_alignment(first, second.roll(1, 1), k=3)
        (tensor(1.), tensor(0.))
    """
    check_pair(("first", "second"), first, second, ("(..., h, i)", "(..., o, h)"), k)
    if first.shape[-2] != second.shape[-1]:
        raise ValueError(f"second: got shape {tuple(second.shape)} after first {tuple(first.shape)}, expected (..., o, h) with "
                         f"h = {first.shape[-2]}, the outputs of first; is the order of the two exchanged?")  # fmt: skip
    left, values, _ = singular_vectors(first)
    _, next_values, right = singular_vectors(second)
    found, determined = aligned(left, values, right, next_values, second.shape[-1], k)
    return or_undetermined(found, determined, EQUAL)


def singular_vector_agreement(a: Tensor, b: Tensor, *, k: int = 10) -> Tensor:
    r"""Singular-vector agreement: whether two matrices have the same strongest directions, in the same order.

    .. math:: \frac1k \sum_{j \le k} |\langle u_j(A), u_j(B)\rangle \, \langle v_j(A), v_j(B)\rangle|

    1 for equal matrices; about 2 / (π √(m n)) for independent ones. Two vectors whose singular values are nearly equal turn into
    each other for next to nothing, and the agreement falls; ``subspace_overlap`` does not.

    Args:
        a, b: (..., m, n) each. k: how many leading vectors; at most min(m, n) are compared.

    Returns:
        (...,). NaN, with a RuntimeWarning, where singular values among the first k are equal up to rounding.

    Raises:
        TypeError: no tensors. ValueError: two shapes, numbers that are not finite, k below 1.

    Source: arXiv 2408.11804, equation 5.

    Example:
        >>> a = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
        >>> singular_vector_agreement(a, -2 * a, k=3), singular_vector_agreement(a, a.flip(0), k=3)
        (tensor(1.), tensor(0.3333))
    """
    check_pair(("a", "b"), a, b, ("(..., m, n)",) * 2, k)
    if a.shape[-2:] != b.shape[-2:]:
        raise ValueError(f"b: got shape {tuple(b.shape)}, expected (..., {a.shape[-2]}, {a.shape[-1]}) as a")
    (left, values, right), (left_b, values_b, right_b) = singular_vectors(a), singular_vectors(b)
    k, dtype = min(k, values.shape[-1]), torch.promote_types(left.dtype, left_b.dtype)
    same_left, same_right = ((x[..., :k].to(dtype) * y[..., :k].to(dtype)).sum(-2) for x, y in ((left, left_b), (right, right_b)))
    square = a.shape[-2] == a.shape[-1]
    determined = each_is_determined(values, square, k) & each_is_determined(values_b, square, k)
    return or_undetermined((same_left * same_right).abs().mean(-1), determined, EQUAL)


def subspace_overlap(a: Tensor, b: Tensor, *, k: int = 10) -> Tensor:
    r"""Overlap of two spaces of strongest outputs, whatever the order and mixture of vectors inside them.

    .. math:: \frac1k \lVert U_k(A)^\top U_k(B)\rVert_F^2 \in [k / m,\, 1] \text{ for independent to equal spaces}

    Args:
        a: (..., m, n). b: (..., m, n'). k: dimension of the spaces, at most min(m, n, n') is used.

    Returns:
        (...,). 1 for the same space, about k / m for independent ones, 0 for spaces at right angles. NaN, with a RuntimeWarning,
        where the k-th singular value equals the next up to rounding, so that the space is not determined.

    Raises:
        TypeError: no tensors. ValueError: another number of rows, numbers that are not finite, k below 1.

    Source: the mean squared cosine of the principal angles (Golub and Van Loan, Matrix Computations, section 6.4.3).

    Example:
        >>> a = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
        >>> subspace_overlap(a, a.flip(0), k=1), subspace_overlap(a, a[[1, 0, 2]], k=2)
        (tensor(0.), tensor(1.))
    """
    check_pair(("a", "b"), a, b, ("(..., m, n)", "(..., m, n')"), k)
    if a.shape[-2] != b.shape[-2]:
        raise ValueError(f"b: got shape {tuple(b.shape)}, expected {a.shape[-2]} rows as a")
    (left, values, _), (left_b, values_b, _) = singular_vectors(a), singular_vectors(b)
    k, dtype = min(k, values.shape[-1], values_b.shape[-1]), torch.promote_types(left.dtype, left_b.dtype)
    overlap = (left[..., :k].to(dtype).mH @ left_b[..., :k].to(dtype)).square().sum((-2, -1)) / k
    determined = [gaps(s, a.shape[-2] == s.shape[-1])[..., k - 1] for s in (values, values_b)]
    return or_undetermined(overlap, determined[0] & determined[1], "the k-th singular value equals the next up to rounding, and "
                           "the space of the first k vectors could be another")  # fmt: skip
