"""A map from a layer's input to its units, of which SAL takes the lengths of the rows of the Jacobian."""

from typing import Protocol

import torch
from torch import Tensor, nn

from ...sensitivity.activations import Activation


class RowMap(Protocol):
    """What SAL needs of a layer by rows.

    Attributes:
        parameters: what SAL moves, where ``requires_grad`` is set; the first one stands for the layer.
        row_parameters: whether unit i belongs to row i of every parameter, so that the gradients of a unit can be held back.
        units: how many there are; None if only a pass shows it.
    """

    parameters: tuple[nn.Parameter, ...]
    row_parameters: bool
    units: int | None

    def sensitivities(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """s and s² (S, places..., N) for each of S inputs, each without bias, differentiable by the parameters."""


class _SlopeOf(torch.autograd.Function):
    """f'(u), with f'' as its derivative: the slopes of automatic activations have no graph of their own."""

    @staticmethod
    def forward(context, u: Tensor, activation: Activation) -> Tensor:
        context.save_for_backward(u)
        context.activation = activation
        return activation.slope(u)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        (u,) = context.saved_tensors
        return gradient * context.activation.curvature(u), None


def slope_of(u: Tensor, activation: Activation) -> Tensor:
    """f'(u), differentiable once."""
    return _SlopeOf.apply(u, activation)


def root(squares: Tensor) -> Tensor:
    """The square root, whose derivative at 0 is 0: a unit that nothing moves has no direction."""
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)
