"""Tangents, small changes along a trajectory: how they start, and how a step moves them."""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from .differences import FINITE_DIFFERENCE, Draws, called, check_tangent_step, difference_tangent_step
from .tracing import recorded

OFTEN = 24  # calls after which a step is recorded: about as much work as a recording
BLOCK = 64  # rows of a triangle that are multiplied together: fewer leave out more zeros, but are products of worse shape


def automatic_tangent_step(step: Callable, record: bool = False) -> Callable:
    """The tangent step of any differentiable step function, by forward-mode differentiation.

    The step gets copies of its arguments, so that it may work in place. State and tangents go through one call, with one draw of
    any noise. What has no forward derivative is differentiated backward, one number of the state after the other.

    Args:
        record: in a long run, play the operations of one call back where that is known to be the same. For one run only: what the
            step reads must not be changed by others meanwhile.

    Raises:
        ValueError: PyTorch can differentiate the step in neither way.
    """
    way, calls, recordings = forward_tangents, Counter(), {}

    def tangent_step(state: Tensor, tangents: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal way
        kind = (state.shape, tangents.shape[-1])
        if kind in recordings:
            return in_dtype(state.dtype, *recordings[kind](state, tangents, *inputs))
        calls[kind] += record
        if calls[kind] == OFTEN and way is forward_tangents:
            play = recorded(forward_tangents, step, state, tangents, inputs)
            if play is not None:
                recordings[kind] = play
        draws = Draws(state.device)
        try:
            following, moved = way(step, state, tangents, inputs)
        except Exception as error:
            draws.rewind()
            called(step, state, inputs)  # what is wrong with the step itself is for the step to say
            draws.rewind()
            try:
                following, moved = backward_tangents(step, state, tangents, inputs)
            except Exception:
                raise ValueError(
                    "step: PyTorch cannot differentiate it; a usual cause is .numpy(), out=, or writing into a tensor that was "
                    "made outside the step. Make new tensors with torch.stack([...], -1), or give "
                    f'jvp="{FINITE_DIFFERENCE}", or an analytic jvp'
                ) from error
            way = backward_tangents
        return in_dtype(state.dtype, following, moved)

    tangent_step.differentiates = step
    return tangent_step


def in_dtype(dtype: torch.dtype, *pair: Tensor) -> tuple[Tensor, Tensor]:
    """State and tangents as the state was: PyTorch promotes tangents where numbers of dimension 0 meet Python's floats."""
    return tuple(tensor if tensor.dtype == dtype else tensor.to(dtype) for tensor in pair)


def forward_tangents(step: Callable, state: Tensor, tangents: Tensor, inputs: tuple) -> tuple[Tensor, Tensor]:
    def own(tensor: Tensor) -> Tensor:  # a copy made inside the transform, so that the step may write on it
        return torch.empty_like(tensor).copy_(tensor) if isinstance(tensor, Tensor) else tensor

    def push(direction: Tensor) -> tuple[Tensor, Tensor]:
        return torch.func.jvp(lambda x: step(x.clone(), *map(own, inputs)), (state,), (direction,))

    if tangents.shape[-1] == 1:
        following, moved = push(tangents.squeeze(-1))
        return following, moved.unsqueeze(-1)
    # out_dims=-1 would spread what does not depend on the tangents, as in a constant step, over all of its dimensions
    following, moved = torch.func.vmap(push, in_dims=-1, out_dims=(None, 0), randomness="same")(tangents)
    return following, moved.movedim(0, -1)


def backward_tangents(step: Callable, state: Tensor, tangents: Tensor, inputs: tuple) -> tuple[Tensor, Tensor]:
    """By the rows of the Jacobian; each serves all systems, which do not depend on each other."""
    with torch.enable_grad():
        start = state.detach().requires_grad_()
        following = step(start.clone(), *(u.clone() if isinstance(u, Tensor) else u for u in inputs)).to(state.dtype)
        if not following.requires_grad:
            return following, torch.zeros_like(tangents)
        rows = [torch.autograd.grad(entries.sum(), start, retain_graph=True, materialize_grads=True)[0]
                for entries in following.unbind(-1)]  # fmt: skip
    return following.detach(), torch.stack(rows, -2) @ tangents


def tangent_step_of(step: Callable, jvp: Callable | str | None, state: Tensor, frame: Tensor, drive: list[tuple]) -> Callable:
    """How a run moves its tangents; one that is not written by hand is tried at the start of the run."""
    if callable(jvp):
        return jvp
    if jvp is not None and jvp != FINITE_DIFFERENCE:
        expected = f'a function (x, tangents[, u]) -> (next x, next tangents), or "{FINITE_DIFFERENCE}"'
        raise ValueError(f"jvp: got {jvp!r}, expected {expected}")
    if not callable(step):
        raise ValueError(f"step: got {step!r}, expected a function from a state to the next")
    own = getattr(step, "jvp", None)
    if jvp is None and own is not None and not hasattr(own, "differentiates"):
        return own
    advance = difference_tangent_step(step) if jvp else automatic_tangent_step(own.differentiates if own else step, record=True)
    check_tangent_step(step, advance, state, frame, drive[0] if drive else (), by_difference=bool(jvp))
    return advance


def first_frame(state: Tensor, k: int, generator: torch.Generator | None) -> Tensor:
    """The identity for a full spectrum (exact on triangular systems), else a random frame, which has a part in every subspace."""
    n = state.shape[-1]
    if k == n and generator is None:
        return torch.eye(n, dtype=state.dtype, device=state.device).expand(*state.shape, n).clone()
    generator = torch.Generator(device="cpu").manual_seed(0) if generator is None else generator
    draw = torch.randn((*state.shape, k), generator=generator, device=generator.device, dtype=state.dtype)
    return torch.linalg.qr(draw.to(state.device))[0]


class Product:
    """Rows times W transposed, (..., k, N) -> (..., k, M), in memory of its own: a result is valid until the call after the next.

    To allocate half a megabyte at every step of a run would take a good part of the time of the arithmetic.
    """

    def __init__(self, weight: Tensor) -> None:
        self.columns = weight.mT.contiguous()  # for few rows a product is up to a third faster in this order
        self._memory: list[Tensor] = []

    def _next(self, shape: torch.Size) -> Tensor:
        if not self._memory or self._memory[0].shape[:-1] != shape[:-1]:
            self._memory = [self.columns.new_empty((*shape[:-1], self.columns.shape[-1])) for _ in range(2)]
        self._memory.reverse()
        return self._memory[0]

    def __call__(self, rows: Tensor) -> Tensor:
        # matmul would first find out the kind of product, which takes long beside a step of a few microseconds
        return (torch.mm if rows.ndim == 2 else torch.matmul)(rows, self.columns, out=self._next(rows.shape))

    def triangular(self, upper: Tensor, order: Tensor) -> Tensor:
        """The same for rows that are upper triangular once their columns are put in this order, with a third less arithmetic."""
        columns, moved = self.columns.index_select(0, order), self._next(upper.shape)
        for begin in range(0, len(upper), BLOCK):
            torch.mm(upper[begin : begin + BLOCK, begin:], columns[begin:], out=moved[begin : begin + BLOCK])
        return moved


def single_tangents(columns: Tensor, gains: Tensor | None = None, read: Callable[..., Tensor] | None = None) -> Callable:
    r"""Many steps at once of h' = tanh(g (W h + θ)) with one tangent per system: ``many(state, tangents, n_steps)``.

    For a few neurons or systems a step takes less time than the code around it. So this loop does nothing but steps, in memory
    of its own. The states are to the last bit those of single steps: state and tangent share one product
    only where a trial has shown that this makes no difference, which depends on the processor and the number of rows.

    Args:
        columns: (..., N, N), W transposed, one for each replica. gains: (..., 1), g of every system, if they differ.
        read: ``read(h, out=…)`` gives W h + θ for h (..., B, N); without it there is no θ.
    """
    times_slope = torch.ops.aten.tanh_backward.grad_input  # v · (1 - h²) in one go
    shared: dict[int, bool] = {}
    push, free = torch.mm if columns.ndim == 2 else torch.matmul, read is None
    read = read or (lambda state, out: push(state, columns, out=out))

    def many(state: Tensor, tangents: Tensor, n_steps: int) -> tuple[Tensor, Tensor]:
        given = [tensor.reshape(*columns.shape[:-2], -1, columns.shape[-1]) for tensor in (state, tangents)]
        g = None if gains is None else gains.expand(*state.shape[:-1], 1).reshape(-1, 1).repeat(2, 1)
        pairs = [torch.stack(given), torch.stack(given)]  # in turn: a product cannot be written over what it reads
        memory = [(pair.flatten(0, 1), *pair.unbind(0)) for pair in pairs]
        count = given[0].shape[-2]
        if count not in shared:
            shared[count] = free and torch.equal(push(memory[0][0], columns)[:count], push(given[0], columns))
        for t in range(n_steps):
            (rows, x, v), (products, following, moved) = memory[t % 2], memory[(t + 1) % 2]
            if shared[count]:
                push(rows, columns, out=products)
            else:
                _ = read(x, out=following), push(v, columns, out=moved)
            if g is not None:
                products.mul_(g)
            following.tanh_()
            times_slope(moved, following, grad_input=moved)
        _, x, v = memory[n_steps % 2]
        return x.view(state.shape), v.view(tangents.shape)

    return many
