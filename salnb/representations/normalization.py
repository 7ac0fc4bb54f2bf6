"""Each input divided by its own Lp norm, as Krotov–Hopfield learning wants its inputs."""

import torch
from torch import Tensor

from ..common.arguments import as_float, shown
from ..common.tensors import check_floats


def lp_normalize(x: Tensor, p: float = 3.0) -> Tensor:
    r"""Each row divided by its own Lp norm.

    .. math:: \hat x_i = \frac{x_i}{\lVert x \rVert_p}, \qquad \lVert x \rVert_p = \Big(\sum_i |x_i|^p\Big)^{1/p}

    Args:
        x: (..., D), of any unit. p: a number >= 1, also ``float("inf")``; 3 in the source, where the weights have the same norm.

    Returns:
        (..., D), dimensionless, every row of Lp norm 1; it can be differentiated. The check of x waits once for x's device.

    Raises:
        ValueError: a row of zeros, which has no direction; numbers that are not finite; an integer or empty tensor; p < 1.
        TypeError: x is no tensor.

    Source: the authors' code of arXiv 2405.00679, which divides every image by its own L3 norm without a mean being subtracted.

    Example:
        >>> lp_normalize(torch.tensor([[3.0, 4.0], [0.0, -2.0]]), p=2)
        tensor([[ 0.6000,  0.8000],
                [ 0.0000, -1.0000]])
    """
    check_floats("x", x, "(..., D)", finite=False)
    if not as_float(p) >= 1:
        raise ValueError(f"p: got {shown(p)}, expected a number >= 1; below 1 there is no norm")
    # Powers of large or small numbers leave the range of the dtype; those of numbers up to 1 do not. The result does not depend
    # on this scale, so that no gradient needs to pass through it.
    scale = x.detach().abs().amax(-1, keepdim=True)
    _check_scale(x, scale)
    scaled = x / scale
    # In half precision a sum over many entries would overflow, and large powers of small ones vanish.
    wide = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(scaled, ord=float(p), dim=-1, keepdim=True, dtype=wide)
    return (scaled / norm).to(x.dtype)


def _check_scale(x: Tensor, scale: Tensor) -> None:
    """Checks the largest size of each row; below the dtype's smallest normal number, rows do not survive a division."""
    tiny = torch.finfo(x.dtype).tiny
    bad = ~(torch.isfinite(scale) & (scale >= tiny)).squeeze(-1)
    if not bool(bad.any()):
        return
    check_floats("x", x, "(..., D)")
    place = f" (the first: row {tuple(bad.nonzero()[0].tolist())})" if bad.ndim else ""
    raise ValueError(
        f"x: got {int(bad.sum())} of {bad.numel()} rows of zeros{place}, or of numbers below {tiny:.1e}; expected rows with a "
        "direction, which have a norm to be divided by; leave such rows out, as by x[x.abs().amax(-1) > 0]"
    )
