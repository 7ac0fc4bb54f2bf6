"""What a SAL step needs of any number of passes: sums over their samples. Memory does not grow with the number of passes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ...sensitivity.formulas import absolute_slope_and_derivative
from ..hooks import Observation
from ..layers import WatchedLayer

HALVES = (torch.bfloat16, torch.float16)


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type in which sums and averages are kept: float32 for the half types, whose 8 or 11 bits lose small changes."""
    return torch.float32 if dtype in HALVES else dtype


def flat_calls(layer: WatchedLayer, calls: Sequence[Observation]) -> Sequence[Observation]:
    r"""Each call's inputs (\*replicas, S, M) and pre-activations (\*replicas, S, N), time steps being further samples."""
    dimensions = layer.weight.ndim
    for x, u in calls:
        if u.ndim != dimensions or x.shape != u.shape and x.shape[:-1] != u.shape[:-1]:
            break
    else:
        return calls
    *replicas, _, m = layer.weight.shape

    def flat(tensor: Tensor) -> Tensor:
        lead = tensor.ndim - len(replicas) - 2  # time dimensions in front of the replicas
        if replicas and lead > 0:
            tensor = tensor.movedim(tuple(range(lead)), tuple(range(-lead - 2, -2)))
        return tensor.reshape(*replicas, -1, tensor.shape[-1])

    return [(flat(x.expand(*u.shape[:-1], m)), flat(u)) for x, u in calls]


@dataclass
class Sums:
    """Sums over samples for one layer; stacked for several layers, each with a leading dimension more."""

    count: Tensor  # (..., 1), how many samples
    slope: Tensor  # (..., N), of |f'|
    square: Tensor  # (..., N), of f'^2
    by_weight: Tensor  # (..., N, M), of sgn(f') f'' x
    by_bias: Tensor  # (..., N), of sgn(f') f''

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(*(getattr(self, part.name) + getattr(other, part.name) for part in fields(Sums)))

    def tensors(self) -> list[Tensor]:
        return [getattr(self, part.name) for part in fields(Sums)]

    def finite(self) -> bool:
        return all(bool(torch.isfinite(tensor).all()) for tensor in self.tensors())


def stacked(sums: Sequence[Sums]) -> Sums:
    """The sums of L layers of one shape as (L, ...)."""
    return Sums(*(torch.stack([getattr(one, part.name) for one in sums]) for part in fields(Sums)))


def no_sums(layer: WatchedLayer) -> Sums:
    """The sums over no samples."""
    weight = layer.rows
    zeros = weight.new_zeros(weight.shape, dtype=working_dtype(weight.dtype))
    rows = zeros[..., 0]
    return Sums(zeros[..., 0, :1] if weight.shape[-1] else rows[..., :1], rows, rows.clone(), zeros, rows.clone())


@torch.no_grad()
def sums_of(layer: WatchedLayer, calls: Sequence[Observation], masks: Sequence[Tensor | None] | None = None) -> Sums:
    r"""The sums over all samples and time steps of these calls; ``masks`` (\*replicas, S) are True where a sample counts."""
    total, dtype = no_sums(layer), working_dtype(layer.weight.dtype)
    for (x, u), mask in zip(flat_calls(layer, calls), masks or [None] * len(calls), strict=True):
        x, u = x.to(dtype), u.to(dtype)
        slope, derivative_of = absolute_slope_and_derivative(layer.activation, u)
        derivative = derivative_of()
        if mask is None:
            count = torch.full_like(total.count, u.shape[-2])
        else:
            # Samples that do not count may hold anything, also NaN: they are replaced, not multiplied by 0.
            keep = mask.unsqueeze(-1)
            slope, derivative, x = (torch.where(keep, tensor, 0.0) for tensor in (slope, derivative, x))
            count = keep.sum(-2).to(dtype).expand_as(total.count)
        by_weight = derivative.mT @ x
        by_weight = by_weight if layer.mask is None else by_weight * layer.mask
        total = total + Sums(count, slope.sum(-2), slope.square().sum(-2), by_weight, derivative.sum(-2))
    return total


def samples_of(layer: WatchedLayer, calls: Sequence[Observation]) -> Observation:
    r"""All samples and time steps a layer saw: inputs (\*replicas, S, M) and pre-activations (\*replicas, S, N)."""
    dtype = working_dtype(layer.weight.dtype)
    return tuple(torch.cat(parts, -2).to(dtype) for parts in zip(*flat_calls(layer, calls), strict=True))


def non_finite(observations: Sequence[Sequence[Observation]]) -> int | None:
    """The index of the first layer whose pre-activations are not all finite, or None.

    A sum is NaN or infinite if one of its terms is. It may also overflow; so only where it is not finite, each number is asked.
    """
    where = [(i, u) for i, calls in enumerate(observations) for _, u in calls if u.numel()]
    alike: dict[tuple, list[tuple[int, Tensor, Tensor]]] = {}
    for i, u in where:
        alike.setdefault((u.device, u.dtype), []).append((i, u, u.sum(dtype=working_dtype(u.dtype))))
    suspects = []
    for found in alike.values():
        finite = torch.stack([total for _, _, total in found]).isfinite().tolist()
        suspects += [(i, u) for (i, u, _), ok in zip(found, finite, strict=True) if not ok]
    return min((i for i, u in suspects if not bool(u.isfinite().all())), default=None)
