"""Which layers one batched product serves, and how many samples at a time."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from .adjustment import Piece, Stack, flat_calls
from .memory import joined, write
from .recompute import Observation
from .watch import WatchedLayer

# Numbers per tensor in between: on a processor they shall fit its cache, where they are many of one layer; several layers
# go together until what their calls of PyTorch cost no longer shows. A GPU wants everything in one launch.
AT_ONCE = {"cpu": 2**16}
TOGETHER = {"cpu": 2**22}


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
    """Groups layers that can be computed in one batched product; yields their indices and the stack.

    One stack after the other, so that what one has needed is still in the processor's cache when the next one asks for memory.
    """
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
        together = TOGETHER.get(first.weight.device.type, float("inf"))
        count = int(min(len(same), max(1, together // max(first.weight.numel(), pre.numel()))))
        numbers = first.weight.new_tensor([[groups[i][name] for i in same] for name in ("lr", "target", "decay")])
        numbers = numbers.view(3, -1, *[1] * (first.weight.ndim - 1))
        for start in range(0, len(same), count):
            members = same[start : start + count]
            lr, target, decay = numbers[:, start : start + count].unbind(0)
            mask = None if first.mask is None else torch.stack([layers[i].mask for i in members])
            yield members, Stack(
                weight=joined([layers[i].weight for i in members]),
                mask=mask,
                pieces=pieces_of(samples[members[0]], at_once) if len(members) == 1 else [[samples[i] for i in members]],
                activation=first.activation,
                old=None if averages[members[0]] is None else joined([averages[i] for i in members]),
                lr=lr,
                target=target,
                decay=decay,
                rule=group["rule"],
                average=group["average"],
            )


def put_back(layers: Sequence[WatchedLayer], weight: Tensor, by_bias: Tensor) -> None:
    """Weights as they are now and biases with their changes, all in one call: a Python loop costs more than the numbers."""
    write([layer.weight for layer in layers], weight)
    if rows := [i for i, layer in enumerate(layers) if layer.bias is not None]:
        biases = [layers[i].bias for i in rows]
        write(biases, joined(biases).add_(by_bias if len(rows) == len(layers) else by_bias[rows]))
