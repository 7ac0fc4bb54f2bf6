"""The data of the measurements, drawn for every replica: two sets of images, and addition modulo a prime number."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...common.arguments import as_float, check_sizes, one_of


class Samples(NamedTuple):
    """Inputs (R, n, D) and labels (R, n)."""

    inputs: Tensor
    labels: Tensor


class Split(NamedTuple):
    """Samples to fit and to test on, ten classes."""

    fit: Samples
    test: Samples


SETS = {"digits": (1437, 360), "mnist1d": (3000, 1000)}  # samples to fit and to test on


def split_of(name: str, replicas: int, generator: torch.Generator, *, permuted: bool = False) -> Split:
    """Draws a split for every replica; each input has mean 0 and variance 1 over the samples to fit and all its places together.

    Args:
        name: "digits" (scikit-learn's 8 × 8 pixels) or "mnist1d" (40 numbers per sample, generated anew for every replica; needs
            the package ``mnist1d``).
        replicas: R. generator: on the CPU. permuted: the labels to fit are permuted, so that there is nothing to learn but them.

    Raises:
        ValueError: an unknown name. ImportError: the package that holds or makes the samples is missing.
    """
    one_of("name", name, tuple(SETS))
    check_sizes(replicas=replicas)
    draw = _digits if name == "digits" else _mnist1d
    drawn = [draw(generator) for _ in range(replicas)]
    inputs, labels = (torch.stack(part) for part in zip(*drawn, strict=True))
    n_fit, n_test = SETS[name]
    order = torch.rand(labels.shape, generator=generator).argsort(-1)[:, : n_fit + n_test]
    inputs, labels = inputs.gather(1, order.unsqueeze(-1).expand(-1, -1, inputs.shape[-1])), labels.gather(1, order)
    fit = inputs[:, :n_fit]
    inputs = (inputs - fit.mean((1, 2), keepdim=True)) / fit.std((1, 2), keepdim=True)
    own = labels[:, :n_fit]
    if permuted:
        own = own.gather(1, torch.rand(own.shape, generator=generator).argsort(-1))
    return Split(Samples(inputs[:, :n_fit], own), Samples(inputs[:, n_fit:], labels[:, n_fit:]))


def _digits(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return torch.as_tensor(images, dtype=torch.float32), torch.as_tensor(labels)


def _mnist1d(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    from mnist1d.data import get_dataset_args, make_dataset

    settings = get_dataset_args()
    settings.num_samples = sum(SETS["mnist1d"])
    settings.seed = int(torch.randint(2**31 - 1, (), generator=generator))
    before = np.random.get_state()  # noqa: NPY002 (the package draws from NumPy's global generator, which stays as it was)
    try:
        made = make_dataset(settings)
    finally:
        np.random.set_state(before)  # noqa: NPY002
    inputs = np.concatenate([made["x"], made["x_test"]])
    labels = np.concatenate([made["y"], made["y_test"]])
    return torch.as_tensor(inputs, dtype=torch.float32), torch.as_tensor(labels)


class Addition(NamedTuple):
    """Pairs (R, n, 2) and their sums modulo p (R, n): to fit, and those to test on whose mirror image is not to fit either."""

    fit: Samples
    test: Samples
    p: int


def addition(p: int, share: float, replicas: int, generator: torch.Generator) -> Addition:
    """All pairs a, b below p, of which a share is to fit; the answer is (a + b) mod p.

    A network that adds embeddings gives the same answer for (a, b) and (b, a), so that a pair whose mirror image was fitted tests
    nothing. Such pairs are left out, and every replica tests on as many pairs as the one that has fewest.

    Raises:
        ValueError: p below 2, a share outside (0, 1), one that leaves nothing to test.
    """
    check_sizes(p=p, replicas=replicas)
    fraction = as_float(share)
    n_fit = round(fraction * p * p) if 0 < fraction < 1 else 0
    if p < 2 or not 0 < n_fit < p * p:
        raise ValueError(f"share: got {share!r} of {p * p} pairs, expected a share in (0, 1) that leaves some to fit and to test")
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    order = torch.rand((replicas, p * p), generator=generator).argsort(-1)
    fitted = torch.zeros((replicas, p * p), dtype=torch.bool).scatter(1, order[:, :n_fit], True)
    mirrored = fitted.view(replicas, p, p).mT.reshape(replicas, -1)
    free = ~fitted & ~mirrored
    count = int(free.sum(-1).min())
    if count == 0:
        raise ValueError(f"share: got {share!r}, which leaves no pair to test whose mirror image is not fitted; use less")
    test = (torch.rand(free.shape, generator=generator) * free).argsort(-1, descending=True)[:, :count]
    fit, test = pairs[order[:, :n_fit]], pairs[test]
    return Addition(Samples(fit, fit.sum(-1) % p), Samples(test, test.sum(-1) % p), p)
