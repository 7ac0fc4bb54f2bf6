"""Tangents, small changes along a trajectory: how they start, and how a step moves them."""

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 64  # rows of a triangle that are multiplied together: fewer leave out more zeros, but are products of worse shape


def automatic_tangent_step(step: Callable) -> Callable:
    """The tangent step of any differentiable step function, by forward-mode differentiation."""

    def tangent_step(state: Tensor, tangents: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        def push(direction: Tensor) -> tuple[Tensor, Tensor]:
            return torch.func.jvp(lambda x: step(x, *inputs), (state,), (direction,))

        if tangents.shape[-1] == 1:
            following, moved = push(tangents.squeeze(-1))
            return following, moved.unsqueeze(-1)
        return torch.func.vmap(push, in_dims=-1, out_dims=(None, -1))(tangents)

    return tangent_step


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
