"""Adding up a pass, for every kind of layer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..hooks import Observation
from ..layers import WatchedLayer
from .convolutions import convolution_sums, places_last
from .sums import Sums, samples_of, sums_of, working_dtype


def pooled(layer: WatchedLayer, calls: Sequence[Observation], masks: Sequence[Tensor | None] | None = None) -> Sums:
    """The sums over all samples, time steps and places of these calls; ``masks`` are True where one counts."""
    return convolution_sums(layer, calls, masks) if layer.is_convolution else sums_of(layer, calls, masks)


def pre_activations(layer: WatchedLayer, calls: Sequence[Observation]) -> Tensor:
    r"""The pre-activations (\*replicas, S, N) of all samples, time steps and places."""
    if not layer.is_convolution:
        return samples_of(layer, calls)[1]
    return torch.cat([places_last(layer, u).flatten(0, -2) for _, u in calls]).to(working_dtype(layer.weight.dtype))
