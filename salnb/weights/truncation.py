"""A matrix with only some of its singular directions: does the strong half carry the function?"""

import math

import torch
from torch import Tensor

from ..common.arguments import as_float, one_of
from ..common.tensors import check_floats
from .rank import computable


def truncate_svd(weight: Tensor, *, fraction: float = 0.5, keep: str = "top") -> Tensor:
    r"""The matrix with its strongest, or its weakest, singular directions alone.

    .. math:: W_k = \sum_{i \le k} s_i u_i v_i^\top, \qquad k = \lfloor \text{fraction} \cdot \min(m, n) + \tfrac12 \rfloor \ge 1

    Of all matrices of rank k the top one is the nearest to W, in the Frobenius norm and in the spectral norm (Eckart and Young).

    Args:
        weight: (..., m, n); leading dimensions are replicas. fraction: share of the directions that are kept, in (0, 1].
        keep: "top" or "bottom".

    Returns:
        (..., m, n), in the weight's dtype; with ``fraction=1`` the weight itself, up to rounding.

    Raises:
        TypeError: no tensor. ValueError: no matrix, numbers that are not finite, another fraction or word.

    Source: arXiv 2408.11804, section 4.2; Eckart and Young, Psychometrika 1 (1936).

    Example:
        >>> weight = torch.diag(torch.tensor([4.0, 2.0]))
        >>> truncate_svd(weight).diagonal(), truncate_svd(weight, keep="bottom").diagonal()
        (tensor([4., 0.]), tensor([0., 2.]))
    """
    check_floats("weight", weight, "(..., m, n)", dims=2)
    one_of("keep", keep, ("top", "bottom"))
    share = as_float(fraction)
    if not 0 < share <= 1:
        raise ValueError(f"fraction: got {fraction!r}, expected a share of the directions in (0, 1]")
    left, values, right = torch.linalg.svd(computable(weight), full_matrices=False)
    n = values.shape[-1]
    k = max(1, math.floor(share * n + 0.5))
    kept = slice(0, k) if keep == "top" else slice(n - k, n)
    return ((left[..., kept] * values[..., None, kept]) @ right[..., kept, :]).to(weight.dtype)
