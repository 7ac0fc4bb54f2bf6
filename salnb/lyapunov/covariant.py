"""Covariant Lyapunov vectors: directions in which a change grows at the rate of one exponent, forward and backward."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.arguments import check_integers
from .differences import Draws
from .exponents import as_drive, lyapunov_spectrum
from .tangents import first_frame, tangent_step_of


@dataclass(frozen=True)
class CovariantVectors:
    """Covariant Lyapunov vectors along a trajectory.

    Attributes:
        states: (n_steps, ..., N), the trajectory. vectors: (n_steps, ..., N, k), of unit length, the direction of the largest
            exponent first; ``vectors[t]`` belongs to ``states[t]``.
        local: (n_steps - 1, ..., k), log growth of each vector from one of these states to the next, in nats per unit time.
    """

    states: Tensor
    vectors: Tensor
    local: Tensor

    def exponents(self) -> Tensor:
        """Mean growth rate (..., k) of each vector over the stretch."""
        return self.local.mean(0)

    def angles(self, first: int = 0, second: int = 1) -> Tensor:
        """Angle in radians (n_steps, ...) between two of the vectors, without regard to sign: near 0 they are tangent."""
        inner = (self.vectors[..., first] * self.vectors[..., second]).sum(-1).abs()
        return inner.clamp_max(1.0).arccos()


@torch.no_grad()
def covariant_vectors(
    step: Callable, state: Tensor, *, n_steps: int, k: int | None = None, n_warmup: int = 100, n_after: int = 100,
    inputs: Tensor | None = None, dt: float = 1.0, jvp: Callable | str | None = None, generator: torch.Generator | None = None,
) -> CovariantVectors:  # fmt: skip
    r"""Directions that the tangent map carries into each other: each grows at its own exponent's rate at every time.

    .. math:: V_t = Q_t C_t, \qquad C_{t-1} \propto R_t^{-1} C_t

    with the frames of the QR method and upper triangular coefficients, which a backward pass finds from any start.

    Args:
        step, state, inputs, dt, jvp, generator: as for ``lyapunov_spectrum``.
        n_steps: states at which vectors are wanted. n_warmup: steps before them, which align the frames; n_after: steps
            after them, which align the coefficients on the way back.
        k: number of leading vectors, default N.

    Returns:
        ``CovariantVectors``.

    Raises:
        ValueError: as ``lyapunov_spectrum``; n_steps below 2; a direction that dies (a singular tangent map has no way back).

    Source: Ginelli et al., Physical Review Letters 99 (2007) 130601.

    Example:
        >>> matrix = torch.tensor([[2.0, 1.0], [0.0, 0.5]], dtype=torch.float64)
        >>> found = covariant_vectors(lambda x: x @ matrix.T, torch.zeros(2, dtype=torch.float64), n_steps=3)
        >>> found.vectors[0].abs()  # the eigenvectors (1, 0) and (2, -3)
        tensor([[1.0000, 0.5547],
                [0.0000, 0.8321]], dtype=torch.float64)
    """
    inputs = as_drive(inputs, state)
    check_integers(n_steps=(n_steps, 2), n_warmup=(n_warmup, 0), n_after=(n_after, 0))
    n_steps, n_warmup, n_after = int(n_steps), int(n_warmup), int(n_after)
    if inputs is not None and len(inputs) != n_warmup + n_steps + n_after:
        expected = n_warmup + n_steps + n_after
        raise ValueError(f"inputs: got {len(inputs)} time steps, expected n_warmup + n_steps + n_after = {expected}")
    # The stretch begins where the warm-up ends. Without a warm-up a run of one step is made, for its checks of the arguments.
    warm = max(n_warmup, 1)
    draws = None if n_warmup or not isinstance(state, Tensor) else Draws(state.device)
    begin = lyapunov_spectrum(step, state, n_steps=warm, k=k, dt=dt, jvp=jvp, generator=generator, history=False,
                              method="householder", inputs=None if inputs is None else inputs[:warm])  # fmt: skip
    step = getattr(step, "frozen", lambda: step)()
    if draws:
        draws.rewind()
    frame = begin.tangents if n_warmup else first_frame(state, begin.tangents.shape[-1], generator)
    state = begin.state if n_warmup else state
    drive = [()] * (n_steps - 1 + n_after) if inputs is None else [(u,) for u in inputs[n_warmup:].unbind(0)]
    advance = tangent_step_of(step, jvp, state, frame, drive)
    states, frames, triangles = [state], [frame], []
    for given in drive[: n_steps - 1 + n_after]:
        state, moved = advance(state, frame, *given)
        frame, triangle = torch.linalg.qr(moved)
        states.append(state)
        frames.append(frame)
        triangles.append(triangle)
    if bool((torch.stack(triangles).diagonal(dim1=-2, dim2=-1) == 0).any()):
        raise ValueError("k: a direction dies on the way (the tangent map is singular), so it has no way back; use a smaller k")
    draw = torch.randn(frame.shape[-1], frame.shape[-1], generator=torch.Generator().manual_seed(0), dtype=frame.dtype)
    coefficients = draw.triu(1) + torch.eye(len(draw), dtype=draw.dtype)
    coefficients = (coefficients / torch.linalg.vector_norm(coefficients, dim=0)).to(frame.device).expand_as(triangles[-1])
    vectors, local = [], []
    for t in reversed(range(len(triangles))):
        if t < n_steps - 1:
            vectors.append(frames[t + 1] @ coefficients)
        coefficients = torch.linalg.solve_triangular(triangles[t], coefficients, upper=True)
        length = torch.linalg.vector_norm(coefficients, dim=-2, keepdim=True)
        coefficients = coefficients / length
        if t < n_steps - 1:
            local.append(-length.squeeze(-2).double().log() / dt)
    vectors.append(frames[0] @ coefficients)
    return CovariantVectors(torch.stack(states[:n_steps]), torch.stack(vectors[::-1]), torch.stack(local[::-1]))
