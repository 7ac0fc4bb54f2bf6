"""Tasks without time: parity of a few bits, two moons, a disc inside a ring."""

import math

import torch
from torch import Tensor

from ...common.arguments import check_integers
from .drawing import Batch, Replicas, draw_integers


def parity(n: int, generator: torch.Generator | None = None, *, bits: int = 3, replicas: Replicas = ()) -> Batch:
    r"""Whether the number of positive inputs is odd: inputs (\*replicas, n, bits) of ±1, targets (\*replicas, n).

    Example:
        >>> inputs, targets = parity(4, bits=3)
        >>> bool(((inputs > 0).sum(-1) % 2 == targets).all())
        True
    """
    check_integers(n=(n, 1), bits=(bits, 1))
    drawn = draw_integers((*replicas, n, bits), 2, generator)
    return 2.0 * drawn - 1.0, drawn.sum(-1) % 2


def _uniform(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device if generator is not None else None)


def _noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device)


def two_moons(n: int, generator: torch.Generator | None = None, *, noise: float = 0.1, replicas: Replicas = ()) -> Batch:
    r"""Two interleaved half circles in the plane: inputs (\*replicas, n, 2) of about unit size, targets (\*replicas, n).

    Example:
        >>> inputs, targets = two_moons(100)
        >>> inputs.shape
        torch.Size([100, 2])
    """
    check_integers(n=(n, 1))
    label = draw_integers((*replicas, n), 2, generator)
    angle = math.pi * (_uniform((*replicas, n), generator) + label)
    points = torch.stack([angle.cos() + label - 0.5, angle.sin() + 0.5 * label - 0.25], -1)
    return points + noise * _noise(points, generator), label


def disc_and_ring(n: int, generator: torch.Generator | None = None, *, noise: float = 0.05, replicas: Replicas = ()) -> Batch:
    r"""Points of a disc (radius 0.6), class 0, and of a ring around it (radius 1 to 1.4), class 1.

    Returns:
        inputs (\*replicas, n, 2), targets (\*replicas, n), 1 for the ring.

    Example:
        >>> inputs, targets = disc_and_ring(100, noise=0.0)
        >>> bool(((inputs.norm(dim=-1) > 0.8) == (targets == 1)).all())
        True
    """
    check_integers(n=(n, 1))
    label, share = draw_integers((*replicas, n), 2, generator), _uniform((*replicas, n), generator)
    # The square root makes the points uniform by area.
    radius = torch.where(label == 1, (1 + 0.96 * share).sqrt(), 0.6 * share.sqrt())
    angle = 2 * math.pi * _uniform((*replicas, n), generator)
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
    return points + noise * _noise(points, generator), label
