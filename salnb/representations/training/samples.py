"""Checks of the samples that a training takes: to fit, to select on, to judge by."""

import torch
from torch import Tensor

from ...common.arguments import as_shape, check_integers
from ...common.tensors import check_floats
from .recipe import Recipe

Samples = tuple[Tensor, Tensor]


def replicas_of(x: Tensor, replicas: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """The leading dimensions of all replicas, from x or, if x is shared, as given."""
    check_floats("x", x, "(n, D) or (..., n, D)", dims=2)
    if replicas is None:
        return tuple(x.shape[:-2])
    lead = as_shape("replicas", replicas)
    if x.ndim > 2 and tuple(x.shape[:-2]) != lead:
        raise ValueError(f"replicas: got {lead}, but x has the leading dimensions {tuple(x.shape[:-2])}; leave replicas out")
    return lead


def check_pair(name: str, samples: object) -> None:
    """Checks that an argument is a pair, of samples and labels."""
    if not isinstance(samples, tuple) or len(samples) != 2:
        raise TypeError(f"{name}: got {type(samples).__name__}, expected a pair (x, y) of tensors")


def check_samples(
    name: str, label: str, x: Tensor, y: Tensor, lead: tuple[int, ...], classes: int | None, like: Tensor | None = None
) -> int:  # fmt: skip
    """Checks samples and labels; returns the number of classes."""
    check_floats(name, x, "(n, D) or (..., n, D)", dims=2)
    if like is not None and (x.shape[-1] != like.shape[-1] or x.dtype != like.dtype or x.device != like.device):
        raise ValueError(
            f"{name}: got width {x.shape[-1]}, {x.dtype} on {x.device}, expected those of x: {like.shape[-1]}, {like.dtype} on "
            f"{like.device}"
        )
    if not isinstance(y, Tensor):
        raise TypeError(f"{label}: got {type(y).__name__}, expected a tensor of integer labels; convert with torch.as_tensor")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise ValueError(f"{label}: got dtype {y.dtype}, expected integer labels; convert with .long()")
    if y.shape not in ((x.shape[-2],), x.shape[:-1]) or tuple(x.shape[:-2]) not in ((), lead):
        raise ValueError(
            f"{label}: got shape {tuple(y.shape)} for {name} of shape {tuple(x.shape)}, expected (n,) or (..., n) with the "
            f"replicas {lead}"
        )
    if y.device != x.device:
        raise ValueError(f"{label}: got device {y.device}, expected that of {name}, {x.device}")
    if classes is not None:
        check_integers(classes=(classes, 2))
    low, high = int(y.min()), int(y.max())
    if low < 0 or (classes is not None and high >= classes):
        raise ValueError(f"{label}: got labels from {low} to {high}, expected 0 to {'C' if classes is None else classes} - 1")
    return max(2, high + 1) if classes is None else classes


def strengths_of(recipe: Recipe, strength: float | Tensor | None, lead: tuple[int, ...], x: Tensor) -> Tensor:
    """The factor of the penalty, (...,) for every replica."""
    if strength is not None and recipe.penalty is None:
        raise ValueError(f"strength: got {strength!r}, but this model has no penalty; expected None")
    if strength is not None and not isinstance(strength, (int, float, Tensor)):
        raise TypeError(f"strength: got {type(strength).__name__}, expected a number or a tensor with one for each replica")
    value = torch.as_tensor(recipe.strength if strength is None else strength, dtype=x.dtype, device=x.device)
    try:
        factor = value.expand(lead)
    except RuntimeError as error:
        raise ValueError(f"strength: got shape {tuple(value.shape)}, which does not broadcast to the replicas {lead}") from error
    if not bool((torch.isfinite(factor) & (factor >= 0)).all()):
        raise ValueError(f"strength: got {strength!r}, expected finite numbers >= 0")
    return factor.clone()
