"""Finite differences of a step: as tangents of a step that PyTorch cannot differentiate, and as the check of those it can.

A step is called on copies, so that it may work in place, and always with the same random numbers: PyTorch's generator is taken
back before every call but the first, so that all calls for one step see one draw, and the next step sees another.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

FINITE_DIFFERENCE = "finite-difference"
ATTEMPTS = 4  # points at which a step may show that its derivative is right: a kink or a jump next to one is not next to all


class Draws:
    """Where PyTorch's generator stands now, and the way back there."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.here = device, torch.get_rng_state()
        self.there = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def rewind(self) -> None:
        torch.set_rng_state(self.here)
        if self.there is not None:
            torch.cuda.set_rng_state(self.there, self.device)


def called(step: Callable, state: Tensor, inputs: tuple) -> Tensor:
    """``step(state, *inputs)`` on copies, in memory of its own and in the state's dtype."""
    following = step(state.clone(), *(u.clone() if isinstance(u, Tensor) else u for u in inputs))
    if not isinstance(following, Tensor):
        kind = type(following).__name__
        raise ValueError(f"step: gives {kind} back, expected a tensor of the state's shape {tuple(state.shape)}")
    if following.shape != state.shape:
        raise ValueError(f"step: got state shape {tuple(following.shape)} back from {tuple(state.shape)}, expected no change")
    if (following.is_floating_point() and following.dtype != state.dtype) or following.is_complex():
        raise ValueError(
            f"step: gives {following.dtype} back from a state of {state.dtype}, expected no change; start from "
            f"state.to({following.dtype}), or give the constants and torch.tensor(...) inside the step dtype=x.dtype"
        )
    return following.detach().to(state.dtype, copy=True)


def typical(state: Tensor, following: Tensor) -> Tensor:
    """The size (..., 1) of the numbers that a step works on: the largest entry before or after it; 1 where both are 0."""
    largest = torch.maximum(state.abs(), following.abs()).amax(-1, keepdim=True)
    return torch.where(largest > 0, largest.clamp_min(torch.finfo(state.dtype).tiny ** 0.5), 1.0)


def reach(dtype: torch.dtype) -> float:
    """Half the distance of a central difference, in units of the state's size: the cube root of eps.

    What rounding adds, eps / reach, and what the third derivative adds, reach², are then of one size, eps^(2/3).
    """
    return torch.finfo(dtype).eps ** (1 / 3)


def difference_tangent_step(step: Callable) -> Callable:
    r"""The tangent step of any function by central differences, for one that PyTorch does not see through.

    .. math:: J v \approx \frac{f(x + h v) - f(x - h v)}{2 h},
        \qquad h\, |v|_\infty = \varepsilon^{1/3} \max(|x|_\infty, |f(x)|_\infty)

    It costs 1 + 2 k calls of the step. A tangent is right to about eps^(2/3) of its size, 4e-11 in float64 and 2e-5 in float32,
    where the state's entries are of one size and the step is smooth over h. Next to a jump, as of a remainder, the difference on
    the side without the jump counts alone.
    """

    def tangent_step(state: Tensor, tangents: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        draws = Draws(state.device)
        following = called(step, state, inputs)
        size, moved = typical(state, following), []
        distance = reach(state.dtype) * size
        for direction in tangents.unbind(-1):
            largest = direction.abs().amax(-1, keepdim=True)
            h = distance / torch.where(largest > 0, largest, 1.0)
            ends = []
            for sign in (1, -1):
                draws.rewind()
                ends.append(called(step, state + sign * h * direction, inputs))
            ahead, behind = ends[0] - following, following - ends[1]
            far, near = (side.abs().amax(-1, keepdim=True) for side in (ahead, behind))
            jumps = torch.maximum(far, near) > torch.maximum(100 * torch.minimum(far, near), reach(state.dtype) ** 0.5 * size)
            smooth = torch.where(far < near, ahead, behind) / h
            moved.append(torch.where(jumps, smooth, (ends[0] - ends[1]) / (2 * h)))
        return following, torch.stack(moved, -1)

    tangent_step.differentiates = step
    return tangent_step


def check_tangent_step(
    step: Callable, advance: Callable, state: Tensor, frame: Tensor, inputs: tuple, by_difference: bool
) -> None:  # fmt: skip
    """Compares a tangent step with a finite difference along one combination of the first tangents, at the start of a run.

    With ``by_difference`` the tangents are differences themselves, and it is their two distances that must agree.

    Raises:
        ValueError: the step's answer changes from call to call; the derivative is not that of the step.
    """
    draws = Draws(state.device)
    try:
        following = called(step, state, inputs)
        draws.rewind()
        again = called(step, state, inputs)
        size = typical(state, following)
        # Sums in an order of their own, as on a GPU, move the last digits; a clock or other noise moves more.
        changed = (again - following).abs() > 1e3 * torch.finfo(state.dtype).eps * size
        if bool(changed.any()):
            raise ValueError(
                "step: gives two answers for one state, so it keeps something from call to call (a clock, a memory) or draws "
                "noise from a generator other than PyTorch's own; draw or compute it before the run and pass it as inputs=, one "
                "entry a step"
            )
        generator = torch.Generator().manual_seed(1)
        weights = torch.randn(frame.shape[-1], generator=generator, dtype=torch.float64).to(frame)
        direction = frame @ weights
        largest = direction.abs().amax(-1, keepdim=True)
        direction = direction / torch.where(largest > 0, largest, 1.0)
        wrong, right, point = changed.any(-1).int(), changed.any(-1), state  # so far none is either
        shown = torch.zeros_like(wrong, dtype=torch.float64)
        for _ in range(ATTEMPTS):
            verdict = _verdict(step, advance, point, direction, size, inputs, draws, by_difference)
            if verdict is not None:
                known, close, astray = verdict
                wrong, right = wrong + (known & ~close), right | (known & close)
                shown = torch.where(known & ~close, astray, shown)
                if bool(right.all()):
                    return
            # Farther away than a difference reaches, and nearer than the system changes its nature.
            noise = torch.randn(state.shape, generator=generator, dtype=torch.float64).to(state)
            point = state + reach(state.dtype) ** 0.5 * size * noise
    finally:
        draws.rewind()
    wrong = (wrong > 1) & ~right  # once may be a bend narrower than the difference
    if not bool(wrong.any()):
        return
    astray = f"{float(shown[wrong][0]):.2g} times its size"
    if by_difference:
        raise ValueError(
            f"step: finite differences over two distances disagree by {astray}, so the step does not keep the digits of "
            f"{state.dtype}; look for float32 numbers, rounding or a tolerance inside it"
        )
    raise ValueError(
        "step: its derivative by PyTorch is not that of the function: along the first tangents it is off from a finite "
        f"difference by {astray}. The way from the state to the result is cut, as by torch.tensor([...]), float(), .item(), "
        ".data or .detach(), or a backward pass is not the function's own. Build the result with torch.stack([...], -1), or "
        f'give jvp="{FINITE_DIFFERENCE}", or an analytic jvp'
    )


def _verdict(step, advance, state, direction, size, inputs, draws, by_difference) -> tuple[Tensor, Tensor, Tensor] | None:
    """For which systems (...) a difference tells here, whether the tangent is close to it, and how far off, in units of its size.

    Two distances h and 2 h tell what a difference is worth: by how much they disagree, and how the function bends,
    |f(x + h) - 2 f(x) + f(x - h)| / h, which at a kink is twice the error. Where they leave less than a half of it, as at a kink,
    a jump or an extremum, it tells nothing. None where the step refuses a point so near to the start.
    """
    h, values = reach(state.dtype) * size, []
    try:
        for factor in (0, 1, -1, 2, -2):
            draws.rewind()
            values.append(called(step, state + factor * h * direction, inputs).double())
    except Exception:
        return None
    (middle, ahead, behind, farther, backward), h = values, h.double()
    length = partial(torch.linalg.vector_norm, dim=-1)
    near, far = (ahead - behind) / (2 * h), (farther - backward) / (4 * h)
    apart, found = length(near - far), length(near)
    rounding = 32 * torch.finfo(state.dtype).eps / reach(state.dtype) * state.shape[-1] ** 0.5
    if by_difference:  # in float32 a kink within h is too common, and there are no fewer digits inside the step
        double = torch.full_like(apart, state.dtype == torch.float64, dtype=torch.bool)
        return torch.isfinite(apart) & double, apart <= rounding + reach(state.dtype) * found, apart / found
    draws.rewind()
    claimed = advance(state, direction.unsqueeze(-1), *inputs)[1].squeeze(-1).double()
    bend = length((ahead - 2 * middle + behind) / h) + length((farther - 2 * middle + backward) / (2 * h))
    doubt, error = 4 * (bend + apart), length(claimed - near)
    known = (doubt <= 0.5 * torch.maximum(found, length(claimed)) + rounding) & (apart <= 0.25 * found + rounding)
    return known, error <= doubt + rounding, error / found
