"""Whether a module of the user's is an activation as a whole."""

from copy import copy

import torch
from torch import Tensor, nn

from ...sensitivity.activations import Activation, automatic
from ...sensitivity.automatic import derivatives_fault, elementwise_fault
from ..layers import WatchedLayer
from .functions import BETWEEN


def gives(layer: WatchedLayer, activation: Activation, before: Tensor | None, output: Tensor) -> bool:
    """Whether a module's output is this activation of its input, to rounding."""
    if before is None:
        return True
    limit = 32 * torch.finfo(output.dtype).eps if output.is_floating_point() else 0.0
    if layer.is_convolution and before.ndim == layer.weight.ndim:  # neurons last, as slopes are computed
        before, output = before.movedim(1, -1), output.movedim(1, -1)
    wanted = activation.function(before).to(output.dtype)
    return wanted.shape == output.shape and bool(torch.allclose(output, wanted, rtol=limit, atol=limit, equal_nan=True))


def tried(module: nn.Module, output: Tensor) -> Activation | None:
    """The module as an activation, if it is an elementwise function with a slope that varies; else None."""
    if next(module.buffers(), None) is not None or any(parameter.ndim >= 2 for parameter in module.parameters()):
        return None
    if any(isinstance(part, (nn.Linear, *BETWEEN)) for part in module.modules()) or not output.is_floating_point():
        return None
    try:
        sample = torch.linspace(-3, 3, output.numel(), dtype=output.dtype, device=output.device).view(output.shape)
        alike = copy(module)  # what its forward writes to itself stays in this copy; the parameters are the same
        if elementwise_fault(alike.forward, sample) or derivatives_fault(alike.forward, sample):
            return None
        found = automatic(type(module).__name__, alike.forward)
        slope = found.slope(sample)
    except Exception:  # whatever a foreign module raises: it is not an activation then
        return None
    return None if torch.allclose(slope, slope.flatten()[:1]) else found
