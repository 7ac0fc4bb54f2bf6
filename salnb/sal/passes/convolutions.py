"""Convolutions: a neuron for each channel and place, whose weights are the channel's kernel."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from ...sensitivity.formulas import absolute_slope_and_derivative
from ..hooks import Observation
from ..layers import WatchedLayer
from .sums import Sums, no_sums, working_dtype

GRADIENT_BY_WEIGHT = {1: nn.grad.conv1d_weight, 2: nn.grad.conv2d_weight, 3: nn.grad.conv3d_weight}


def places_last(layer: WatchedLayer, tensor: Tensor) -> Tensor:
    """(B, C, places...) or (C, places...) as (B, places..., C)."""
    dimensions = layer.weight.ndim
    return (tensor if tensor.ndim == dimensions else tensor.unsqueeze(0)).movedim(1, -1)


def padded(module: nn.modules.conv._ConvNd, inputs: Tensor) -> tuple[Tensor, int | tuple[int, ...]]:
    """The input as the kernels meet it, and the zero padding that is still to be added by the product itself."""
    if module.padding_mode != "zeros":
        return F.pad(inputs, module._reversed_padding_repeated_twice, mode=module.padding_mode), 0
    if isinstance(module.padding, str):  # "same" may be uneven
        return F.pad(inputs, module._reversed_padding_repeated_twice), 0
    return inputs, module.padding


@torch.no_grad()
def convolution_sums(
    layer: WatchedLayer, calls: Sequence[Observation], masks: Sequence[Tensor | None] | None = None
) -> Sums:
    """The sums over all samples and places; ``masks`` (B, places...) are True where one counts.

    At a padded border a kernel reaches beyond the image. It counts whole there: its length is that of all its weights.
    """
    total, dtype, module = no_sums(layer), working_dtype(layer.weight.dtype), layer.module
    gradient = GRADIENT_BY_WEIGHT[layer.weight.ndim - 2]
    for (x, u), mask in zip(calls, masks or [None] * len(calls), strict=True):
        x = (x if x.ndim == layer.weight.ndim else x.unsqueeze(0)).to(dtype)
        slope, derivative_of = absolute_slope_and_derivative(layer.activation, places_last(layer, u).to(dtype))
        derivative, count = derivative_of(), slope[..., 0].numel()
        if mask is not None:
            keep = mask.reshape(slope.shape[:-1]).unsqueeze(-1)
            slope, derivative, count = torch.where(keep, slope, 0.0), torch.where(keep, derivative, 0.0), keep.sum()
        inputs, padding = padded(module, x)
        by_weight = gradient(inputs, layer.weight.shape, derivative.movedim(-1, 1).contiguous(), module.stride, padding,
                             module.dilation, module.groups)  # fmt: skip
        by_weight = by_weight.flatten(1)
        by_weight = by_weight if layer.mask is None else by_weight * layer.mask.flatten(1)
        flat = slope.flatten(0, -2)
        total = total + Sums(torch.ones_like(total.count) * count, flat.sum(0), flat.square().sum(0), by_weight,
                             derivative.flatten(0, -2).sum(0))  # fmt: skip
    return total
