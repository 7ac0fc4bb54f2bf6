r"""The gradient of finite-time exponents by whatever the step depends on.

The singular value σ_i of a product P has the gradient :math:`\mathrm d \log\sigma_i = u_i^\top\,\mathrm dP\,v_i / \sigma_i`. A QR
run that starts from the frame of the leading right singular vectors v_1 … v_k, held fixed, ends at P V = U Σ, whose triangle is
diagonal: its logarithms along the way add up to log σ_i, and have this gradient. So the run is differentiated, and the frame
is not.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .exponents import same_shape


@torch.no_grad()
def in_place_of_lost(moved: Tensor, lost: Tensor) -> Tensor:
    """Columns orthogonal to those that are not lost, which come first: QR has no derivative where columns are dependent."""
    noise = torch.randn(moved.shape, generator=torch.Generator().manual_seed(0), dtype=moved.dtype).to(moved.device)
    return torch.linalg.qr(torch.where(lost.unsqueeze(-2), noise, moved))[0]


def logs_of_run(
    advance: Callable, state: Tensor, frame: Tensor, drive: Sequence[tuple], lost: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The state and the frame after these steps, and the sums (..., k) of log R_ii, with their graph."""
    total = 0.0
    for given in drive:
        following, moved = advance(state, frame, *given)
        same_shape(state, following)
        if lost is not None:
            moved = torch.where(lost.unsqueeze(-2), in_place_of_lost(moved, lost), moved)
        frame, triangle = torch.linalg.qr(moved)
        total = total + triangle.diagonal(dim1=-2, dim2=-1).abs().double().log()
        state = following
    return state, frame, total


def differentiable_logs(
    advance: Callable, state: Tensor, vectors: Tensor, drive: Sequence[tuple], lost: Tensor, window: int | None
) -> Tensor:
    """log σ_i (..., k) of the product, with the gradient by all that the steps depend on.

    Args:
        vectors: (..., N, k), the leading right singular vectors of the product.
        lost: (..., k), True for trailing directions that the product has lost; other columns take their place, without a graph.
        window: after so many steps neither the state nor the frame hands the gradient on; each window is run again in the
            backward pass, so that the memory is that of one.
    """
    frame, lost = vectors.detach(), lost if bool(lost.any()) else None
    if window is None or window >= len(drive):
        return logs_of_run(advance, state, frame, drive, lost)[2]
    total = 0.0
    for begin in range(0, len(drive), window):
        part = drive[begin : begin + window]
        state, frame, logs = checkpoint(logs_of_run, advance, state, frame, part, lost, use_reentrant=False)
        state, frame, total = state.detach(), frame.detach(), total + logs
    return total
