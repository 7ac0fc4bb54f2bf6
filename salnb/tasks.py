"""The problems that networks are trained on: a generator in, tensors out, no data from anywhere."""

import math
from functools import cache

import torch
from torch import Tensor

from .sequences import Batch, Replicas, check_counts, draw_integers, lagged_parity, lagged_xor, temporal_order

__all__ = ["TASKS", "digits", "disc_and_ring", "lagged_parity", "lagged_xor", "parity", "temporal_order", "two_moons"]


def parity(n: int, generator: torch.Generator | None = None, *, bits: int = 3, replicas: Replicas = ()) -> Batch:
    r"""Is the number of positive inputs odd? inputs (\*replicas, n, bits) of ±1, targets (\*replicas, n).

    Example:
        >>> inputs, targets = parity(4, bits=3)
        >>> bool(((inputs > 0).sum(-1) % 2 == targets).all())
        True
    """
    check_counts(n, bits=(bits, 1))
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
    check_counts(n)
    label = draw_integers((*replicas, n), 2, generator)
    angle = math.pi * (_uniform((*replicas, n), generator) + label)
    points = torch.stack([angle.cos() + label - 0.5, angle.sin() + 0.5 * label - 0.25], -1)
    return points + noise * _noise(points, generator), label


def disc_and_ring(n: int, generator: torch.Generator | None = None, *, noise: float = 0.05, replicas: Replicas = ()) -> Batch:
    r"""An inner disc (radius 0.6) against a ring around it (1 to 1.4).

    Returns:
        inputs (\*replicas, n, 2), targets (\*replicas, n), 1 for the ring.

    Example:
        >>> inputs, targets = disc_and_ring(100, noise=0.0)
        >>> bool(((inputs.norm(dim=-1) > 0.8) == (targets == 1)).all())
        True
    """
    check_counts(n)
    label, share = draw_integers((*replicas, n), 2, generator), _uniform((*replicas, n), generator)
    # The square root makes the points uniform by area.
    radius = torch.where(label == 1, (1 + 0.96 * share).sqrt(), 0.6 * share.sqrt())
    angle = 2 * math.pi * _uniform((*replicas, n), generator)
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
    return points + noise * _noise(points, generator), label


@cache
def _all_digits() -> Batch:
    """All images and labels, read once: a training run draws from them thousands of times."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = torch.as_tensor(images, dtype=torch.float32)
    return (pixels - pixels[:1500].mean()) / pixels[:1500].std(), torch.as_tensor(labels)


def digits(n: int, generator: torch.Generator | None = None, *, split: str = "train", replicas: Replicas = ()) -> Batch:
    r"""Handwritten digits of 8 × 8 pixels that come with scikit-learn, drawn with replacement.

    Args:
        split: "train" (the first 1,500 images) or "test" (the other 297).

    Returns:
        inputs (\*replicas, n, 64), pixels scaled to mean 0 and variance 1 over the training images, targets (\*replicas, n), 0…9.

    Raises:
        ValueError: an unknown split. ImportError: scikit-learn is not installed.

    Source: scikit-learn's ``load_digits``, from Alpaydin and Kaynak, UCI 1998.
    """
    check_counts(n)
    if split not in ("train", "test"):
        raise ValueError(f"split: got {split!r}, expected 'train' or 'test'")
    pixels, labels = _all_digits()
    part = slice(0, 1500) if split == "train" else slice(1500, None)
    pixels, labels = pixels[part], labels[part]
    chosen = draw_integers((*replicas, n), len(labels), generator)
    return pixels.to(chosen.device)[chosen], labels.to(chosen.device)[chosen]


TASKS = {
    "xor": lagged_xor,
    "lagged_parity": lagged_parity,
    "temporal_order": temporal_order,
    "parity": parity,
    "two_moons": two_moons,
    "disc_and_ring": disc_and_ring,
    "digits": digits,
}
