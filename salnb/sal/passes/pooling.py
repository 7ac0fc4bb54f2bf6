"""Adding up a pass, for every kind of layer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..hooks import Observation
from ..layers import WatchedLayer
from ..rows.keeping import Kept, limited
from ..rows.module_maps import ModuleMap
from .convolutions import convolution_sums, places_last
from .sums import Sums, samples_of, sums_of, working_dtype


def kept_inputs(layer: WatchedLayer, calls: Sequence[Observation], masks: Sequence[Tensor | None] | None = None) -> Kept:
    """The inputs of a layer by rows: copies, since the user may change them before the step."""
    found: dict[tuple, list[tuple[Tensor, Tensor | None]]] = {}
    for (x, _), mask in zip(calls, masks or [None] * len(calls), strict=True):
        if isinstance(layer.row_map, ModuleMap):
            mask = None if mask is None else mask.view(len(x), -1)
        elif layer.is_convolution:
            x = x if x.ndim == layer.weight.ndim else x.unsqueeze(0)
            mask = None if mask is None else mask.view(len(x), -1)
        else:
            x = x.reshape(-1, x.shape[-1])
        found.setdefault((x.shape[1:], x.dtype, mask is None), []).append((x.detach(), mask))
    with torch.inference_mode(False):  # else a step in inference mode would find tensors that autograd does not take
        portions = tuple((torch.cat([x for x, _ in alike]), None if whole else torch.cat([mask for _, mask in alike]))
                         for (*_, whole), alike in found.items())  # fmt: skip
    return limited(Kept(portions, sum(len(x) for x, _ in portions)))


def pooled(layer: WatchedLayer, calls: Sequence[Observation], masks: Sequence[Tensor | None] | None = None) -> Sums | Kept:
    """What a step needs of these calls, over all samples, time steps and places; ``masks`` are True where one counts."""
    if layer.row_map is not None:
        return kept_inputs(layer, calls, masks)
    return convolution_sums(layer, calls, masks) if layer.is_convolution else sums_of(layer, calls, masks)


def pre_activations(layer: WatchedLayer, calls: Sequence[Observation]) -> Tensor:
    r"""The pre-activations (\*replicas, S, N) of all samples, time steps and places."""
    if not layer.is_convolution:
        return samples_of(layer, calls)[1]
    return torch.cat([places_last(layer, u).flatten(0, -2) for _, u in calls]).to(working_dtype(layer.weight.dtype))
