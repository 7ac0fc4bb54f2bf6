"""The task of recognizing handwritten digits, 8 × 8 pixels, which come with scikit-learn."""

from functools import cache

import torch

from ...common.arguments import check_integers
from .drawing import Batch, Replicas, draw_integers


@cache
def all_digits() -> Batch:
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
    check_integers(n=(n, 1))
    if split not in ("train", "test"):
        raise ValueError(f"split: got {split!r}, expected 'train' or 'test'")
    pixels, labels = all_digits()
    part = slice(0, 1500) if split == "train" else slice(1500, None)
    pixels, labels = pixels[part], labels[part]
    chosen = draw_integers((*replicas, n), len(labels), generator)
    return pixels.to(chosen.device)[chosen], labels.to(chosen.device)[chosen]
