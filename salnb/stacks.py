"""Which layers one batched product serves, and how many samples at a time."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from .adjustment import Part, Piece, Stack, flat_calls
from .recompute import Observation
from .watch import WatchedLayer

# Numbers per tensor in between: on a processor they shall fit its cache; a GPU wants everything in one launch.
AT_ONCE = {"cpu": 2**16}


def pieces_of(calls: Sequence[Observation], at_once: float) -> list[Piece]:
    """The samples of one layer in portions of about ``at_once`` numbers: short calls together, long ones cut."""
    portions, room = [], 0.0
    for inputs, pre in calls:
        size, samples = pre.numel(), pre.shape[-2]
        rows = samples if size <= at_once else max(1, int(at_once * samples / size))
        for part in [(inputs, pre)] if rows == samples else zip(inputs.split(rows, -2), pre.split(rows, -2), strict=True):
            if room < (size := part[1].numel()):
                portions.append([[]])
                room = at_once
            portions[-1][0].append(part)
            room -= size
    return portions


def stack_layers(
    layers: Sequence[WatchedLayer],
    observations: Sequence[Sequence[Observation]],
    groups: Sequence[Mapping[str, object]],
    averages: Sequence[Tensor | None],
) -> Iterator[tuple[list[int], Stack]]:
    """Groups layers that can be computed in one batched product; yields their indices and the stack."""
    samples = [flat_calls(layer, calls) for layer, calls in zip(layers, observations, strict=True)]
    alike: dict[tuple, list[int]] = {}
    for i, (layer, group, calls) in enumerate(zip(layers, groups, samples, strict=True)):
        weight, (inputs, pre) = layer.weight, calls[0]
        key = (i if len(calls) > 1 else None, weight.shape, inputs.shape, pre.shape, weight.dtype, weight.device,
               layer.activation, layer.mask is None, averages[i] is None, group["rule"], group["average"])  # fmt: skip
        alike.setdefault(key, []).append(i)
    for same in alike.values():
        first, group, pre = layers[same[0]], groups[same[0]], samples[same[0]][0][1]
        at_once = AT_ONCE.get(first.weight.device.type, float("inf"))
        side_by_side = int(min(len(same), max(1, at_once // max(first.weight.numel(), pre.numel()))))
        few = [same[start : start + side_by_side] for start in range(0, len(same), side_by_side)]
        numbers = first.weight.new_tensor([[groups[i][name] for i in same] for name in ("lr", "target", "decay")])
        lr, target, decay = numbers.view(3, -1, *[1] * (first.weight.ndim - 1)).unbind(0)
        yield same, Stack(
            parts=[part_of([layers[i] for i in members], [samples[i] for i in members], at_once) for members in few],
            old=None if averages[same[0]] is None else torch.stack([averages[i] for i in same]),
            lr=lr,
            target=target,
            decay=decay,
            rule=group["rule"],
            average=group["average"],
        )


def part_of(layers: Sequence[WatchedLayer], samples: Sequence[Sequence[Observation]], at_once: float) -> Part:
    weight = torch.stack([layer.weight.detach() for layer in layers])
    mask = None if layers[0].mask is None else torch.stack([layer.mask for layer in layers])
    pieces = pieces_of(samples[0], at_once) if len(layers) == 1 else [samples]
    return Part(weight if mask is None else weight * mask, mask, pieces, layers[0].activation)


def add_changes(layers: Sequence[WatchedLayer], by_weight: Tensor, by_bias: Tensor) -> None:
    """Moves weights and biases in place, all in one call: a Python loop over 300 layers costs more than the additions."""
    pairs = [(layer.weight, change) for layer, change in zip(layers, by_weight.unbind(0), strict=True)]
    pairs += [(a.bias, change) for a, change in zip(layers, by_bias.unbind(0), strict=True) if a.bias is not None]
    torch._foreach_add_(*map(list, zip(*pairs, strict=True)))
