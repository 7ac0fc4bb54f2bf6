"""The three data sets of the comparison, a split of its own for every replica: samples to fit, to select on, to judge by.

Every image is an Lp-normalized row, as in the authors' code (p = 3). What chooses a setting never judges it.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..images.natural_images import STRIPE, natural_patches
from ..normalization import lp_normalize


class Samples(NamedTuple):
    r"""Images (\*replicas, n, D) and labels (\*replicas, n)."""

    images: Tensor
    labels: Tensor


class Split(NamedTuple):
    """Samples to fit, to select settings on and to judge by, the number of classes and the ranks of the power-law window."""

    fit: Samples
    select: Samples
    judge: Samples
    classes: int
    window: tuple[int, int]


SETS = ("digits", "patches", "mnist1d")
WINDOWS = {"digits": (4, 30), "patches": (11, 100), "mnist1d": (3, 20)}  # 1-based ranks, below the rank of the inputs
SIZES = {"digits": (1000, 297, 500), "patches": (4000, 500, 1000), "mnist1d": (3000, 500, 500)}  # to fit, to select, to judge


def split_of(name: str, replicas: int, generator: torch.Generator, *, centre: bool = True) -> Split:
    """Draws the split of every replica.

    Args:
        name: "digits" (scikit-learn's 8 × 8 pixels), "patches" (16 × 16 × 3 cut from scikit-learn's two photographs, six classes:
            which photograph, and which third of its height; fitted, selected and judged on different stripes of it) or
            "mnist1d" (a generated set of its own for every replica, 40 numbers per sample; needs the package ``mnist1d``).
        replicas: number of splits. generator: on the CPU.
        centre: subtract the mean of the samples to fit before normalizing; each patch's channel means are removed before that.

    Returns:
        a ``Split`` in float32.

    Raises:
        ValueError: an unknown name. ImportError: the package that holds the images is missing.
    """
    if name not in SETS:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(SETS)}")
    draw = {"digits": _digits, "patches": _patches, "mnist1d": _mnist1d}[name]
    drawn = [draw(generator, SIZES[name], centre) for _ in range(replicas)]
    parts = [Samples(*(torch.stack(values) for values in zip(*part, strict=True))) for part in zip(*drawn, strict=True)]
    means = parts[0].images.mean(-2, keepdim=True) if centre else 0.0
    fit, select, judge = (Samples(lp_normalize(part.images - means), part.labels) for part in parts)
    return Split(fit, select, judge, 6 if name == "patches" else 10, WINDOWS[name])


Parts = tuple[tuple[Tensor, Tensor], ...]


def _cut(images: Tensor, labels: Tensor, sizes: tuple[int, ...], generator: torch.Generator) -> Parts:
    """The samples in random order, cut into parts of these sizes."""
    order = torch.randperm(len(labels), generator=generator)[: sum(sizes)]
    return tuple(zip(images[order].split(sizes), labels[order].split(sizes), strict=True))


def _digits(generator: torch.Generator, sizes: tuple[int, ...], centre: bool) -> Parts:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return _cut(torch.as_tensor(images / 16, dtype=torch.float32), torch.as_tensor(labels), sizes, generator)


def _patches(generator: torch.Generator, sizes: tuple[int, ...], centre: bool) -> Parts:
    """To fit: even stripes of both photographs. Of the odd ones, every second to select on, the others to judge by."""
    to_fit, *others = sizes
    images, labels = natural_patches(to_fit, centre=centre, labels=True, stripes="train", generator=generator)
    many = 4 * sum(others)  # two of five stripes are for one of the parts: far more than enough of either
    held, classes, places = natural_patches(
        many, centre=centre, labels=True, stripes="test", positions=True, generator=generator)  # fmt: skip
    second = (places[:, 2] // STRIPE) % 4 == 3
    chosen = [part.nonzero().squeeze(-1)[:size] for part, size in zip((second, ~second), others, strict=True)]
    return ((images, labels), *((held[rows], classes[rows]) for rows in chosen))


def _mnist1d(generator: torch.Generator, sizes: tuple[int, ...], centre: bool) -> Parts:
    from mnist1d.data import get_dataset_args, make_dataset

    settings = get_dataset_args()
    settings.num_samples, settings.seed = sum(sizes), int(torch.randint(2**31 - 1, (), generator=generator))
    before = np.random.get_state()  # the package seeds NumPy's global generator
    try:
        made = make_dataset(settings)
    finally:
        np.random.set_state(before)
    images, labels = np.concatenate([made["x"], made["x_test"]]), np.concatenate([made["y"], made["y_test"]])
    return _cut(torch.as_tensor(images, dtype=torch.float32), torch.as_tensor(labels, dtype=torch.int64), sizes, generator)
