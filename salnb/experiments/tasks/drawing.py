"""The shapes that every task returns, and random integers on the generator's device."""

import torch
from torch import Tensor

Replicas = tuple[int, ...]
Batch = tuple[Tensor, Tensor]


def draw_integers(shape: tuple[int, ...], high: int, generator: torch.Generator | None) -> Tensor:
    """Uniformly random integers from 0 to ``high`` - 1."""
    return torch.randint(high, shape, generator=generator, device=generator.device if generator is not None else None)
