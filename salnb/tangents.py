"""Small changes along a trajectory: how they are carried forward, kept orthonormal and begun."""

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
    """The identity for a full spectrum (exact on triangular systems), else a random frame, which no subspace can trap."""
    n = state.shape[-1]
    if k == n and generator is None:
        return torch.eye(n, dtype=state.dtype, device=state.device).expand(*state.shape, n).clone()
    generator = torch.Generator(device="cpu").manual_seed(0) if generator is None else generator
    draw = torch.randn((*state.shape, k), generator=generator, device=generator.device, dtype=state.dtype)
    return torch.linalg.qr(draw.to(state.device))[0]


class Product:
    """Rows times W transposed, (..., k, N) -> (..., k, M), in memory of its own: a result lasts until the call after the next.

    Asking for half a megabyte anew at every step of a run costs a good part of the arithmetic.
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
        # a step of a few microseconds: matmul would first look what kind of product this is
        return (torch.mm if rows.ndim == 2 else torch.matmul)(rows, self.columns, out=self._next(rows.shape))

    def triangular(self, upper: Tensor, order: Tensor) -> Tensor:
        """The same of rows that are upper triangular once their columns are put in this order: a third less arithmetic."""
        columns, moved = self.columns.index_select(0, order), self._next(upper.shape)
        for begin in range(0, len(upper), BLOCK):
            torch.mm(upper[begin : begin + BLOCK, begin:], columns[begin:], out=moved[begin : begin + BLOCK])
        return moved
