"""How many directions a weight matrix uses: its effective rank and its stable rank, and the matrix of a convolution."""

import torch
from torch import Tensor

from ..common.tensors import check_floats


def computable(weight: Tensor) -> Tensor:
    """The same numbers in a dtype that has a singular value decomposition: half precision becomes float32."""
    return weight.float() if weight.dtype in (torch.float16, torch.bfloat16) else weight


def relative_singular_values(weight: Tensor) -> Tensor:
    """Singular values (..., R), R = min(m, n), in units of the largest entry, so that none of them can overflow."""
    weight = computable(weight)
    largest = weight.detach().abs().amax((-2, -1), keepdim=True)
    return torch.linalg.svdvals(weight / torch.where(largest > 0, largest, 1.0))


def effective_rank_of(values: Tensor, normalized: bool = True) -> Tensor:
    """The effective rank (...) of a matrix with these singular values (..., R)."""
    total = values.sum(-1, keepdim=True)
    shares = values / torch.where(total == 0, 1.0, total)
    rank = torch.where(total[..., 0] == 0, 0.0, torch.special.entr(shares).sum(-1).exp())
    return rank / values.shape[-1] if normalized else rank


def stable_rank_of(values: Tensor) -> Tensor:
    """The stable rank (...) of a matrix with these singular values (..., R), the largest first."""
    first = values[..., :1]
    return (values / torch.where(first == 0, 1.0, first)).square().sum(-1)


def effective_rank(weight: Tensor, *, normalized: bool = True) -> Tensor:
    r"""Effective rank: the number of equal singular values that would have the same entropy, by default as a share of all.

    .. math:: \operatorname{er}(W) = e^{H} / \min(m, n), \qquad H = -\sum_i p_i \ln p_i, \qquad p_i = s_i / \sum_j s_j

    It is 1 if all singular values are equal, k / min(m, n) if k of them are equal and the others 0, and does not change with
    the scale of W or by rotations. A square matrix of independent Gaussian numbers has 0.805 (the quarter-circle law).

    Args:
        weight: (..., m, n); leading dimensions are replicas. For a convolution see ``matricize``.
        normalized: divide by min(m, n); else the number of directions, from 1 to min(m, n).

    Returns:
        (...,), in float32 for weights of half precision; 0 for a matrix of zeros, which has no direction.

    Raises:
        TypeError: no tensor. ValueError: no matrix, an empty one, another dtype, numbers that are not finite.

    Source: Roy and Vetterli, EUSIPCO 2007, with singular values, not their squares; the published code of arXiv 2408.11804
    computes this, though its equation 1 divides H itself.

    Example:
        >>> effective_rank(torch.diag(torch.tensor([3.0, 3.0, 0.0, 0.0])))
        tensor(0.5000)
    """
    check_floats("weight", weight, "(..., m, n)", dims=2)
    if not isinstance(normalized, bool):
        raise ValueError(f"normalized: got {normalized!r}, expected True or False")
    return effective_rank_of(relative_singular_values(weight), normalized)


def stable_rank(weight: Tensor) -> Tensor:
    r"""Stable rank: the squared Frobenius norm over the squared largest singular value.

    .. math:: \operatorname{sr}(W) = \lVert W\rVert_F^2 \,/\, \lVert W\rVert_2^2 = \sum_i s_i^2 / s_1^2

    Args:
        weight: (..., m, n); leading dimensions are replicas.

    Returns:
        (...,), from 1 to min(m, n), in float32 for weights of half precision; 0 for a matrix of zeros.

    Raises:
        TypeError, ValueError: as ``effective_rank``.

    Source: Rudelson and Vershynin, Journal of the ACM 54 (2007).

    Example:
        >>> stable_rank(torch.diag(torch.tensor([2.0, 1.0, 1.0])))
        tensor(1.5000)
    """
    check_floats("weight", weight, "(..., m, n)", dims=2)
    return stable_rank_of(relative_singular_values(weight))


def matricize(weight: Tensor, *, transposed: bool = False) -> Tensor:
    r"""A layer's weight as the matrix whose singular values are looked at: one row for each output channel.

    .. math:: (o, i, k_1, \dots) \to (o,\; i \cdot k_1 \cdots), \quad
              \text{transposed: } (i, o, k_1, \dots) \to (o,\; i \cdot k_1 \cdots)

    Args:
        weight: (out, in, kernel, ...) of a convolution, (out, in) of a linear layer, which stays as it is.
        transposed: the first two dimensions are (in, out), as those of a transposed convolution; they are exchanged first. With
            groups the second one holds the outputs of a group.

    Returns:
        (out, in · kernel), a view where that is possible.

    Raises:
        TypeError: no tensor, ``transposed`` neither True nor False. ValueError: fewer than two dimensions, another dtype.

    Source: arXiv 2408.11804, appendices A.1 and A.2.

    Example:
        >>> matricize(torch.zeros(8, 3, 5, 5)).shape, matricize(torch.zeros(8, 3, 5, 5), transposed=True).shape
        (torch.Size([8, 75]), torch.Size([3, 200]))
    """
    check_floats("weight", weight, "(out, in, *kernel)", dims=2, finite=False)
    if not isinstance(transposed, bool):
        raise TypeError(f"transposed: got {transposed!r}, expected True or False")
    return (weight.transpose(0, 1) if transposed else weight).flatten(1)
