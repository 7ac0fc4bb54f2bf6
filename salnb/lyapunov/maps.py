"""Maps from one state to the next: a feed-forward module whose output is its next input, and a matrix of weights with tanh."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..sensitivity.activations import from_module
from .tangents import Product, automatic_tangent_step, single_tangents


def sequential_step(module: nn.Sequential) -> Callable[..., Tensor]:
    """``step(x)``, the module applied to the state; ``step.jvp`` by hand where it is all linear layers and activations."""
    parts = list(module)

    in_place = any(getattr(part, "inplace", False) for part in module.modules())

    def along(state: Tensor) -> list[Tensor]:
        """The input of every part. A part that works in place gets a copy."""
        inner = [state]
        for part in parts[:-1]:
            inner.append(part(inner[-1].clone() if in_place else inner[-1]))
        return inner

    def step(state: Tensor) -> Tensor:
        active = [part for part in module.modules() if isinstance(part, nn.modules.dropout._DropoutNd)]
        if module.training and any(part.p > 0 for part in active):
            raise RuntimeError("rnn_step: got dropout in training mode, which makes each step another random map; call .eval()")
        following = module(state.clone() if in_place else state)
        if following.shape != state.shape:
            raise ValueError(
                f"module: gives shape {tuple(following.shape)} back from {tuple(state.shape)}, expected the same: only a module "
                "with as many outputs as inputs can be fed its own output"
            )
        return following

    def tangent_step(state: Tensor, tangents: Tensor) -> tuple[Tensor, Tensor]:
        # The state goes through the module itself, so that the trajectory is that of `step` to the last bit.
        following, rows = step(state), tangents.mT
        for part, inner in zip(parts, along(state), strict=True):
            rows = rows @ part.weight.mT if isinstance(part, nn.Linear) else rows * from_module(part).slope(inner).unsqueeze(-2)
        return following, rows.mT

    def mean_square_sensitivity(state: Tensor) -> Tensor:
        """Mean over a layer's neurons of s² in this step, (L, ...), for every linear layer followed by an activation."""
        squares = []
        for part, after, reads in zip(parts, parts[1:], along(state)[1:], strict=False):
            if isinstance(part, nn.Linear) and from_module(after) is not None:
                slope = from_module(after).slope(reads)
                squares.append((slope.square() * part.weight.square().sum(-1)).mean(-1))
        return torch.stack(squares)

    known = all(isinstance(part, nn.Linear) or from_module(part) is not None for part in parts)
    step.jvp = tangent_step if known else automatic_tangent_step(step)
    if any(isinstance(part, nn.Linear) and from_module(after) for part, after in zip(parts, parts[1:], strict=False)):
        step.mean_square_sensitivity = mean_square_sensitivity
    return step


def tanh_map(weight: Tensor, gain: float | Tensor = 1.0) -> Callable[..., Tensor]:
    r"""The map of a tanh network without biases, given by its weights alone, at one gain or at many.

    .. math:: x_{t+1} = \tanh(g\, W x_t)

    Args:
        weight: (N, N), W; used as it is now. It is shared by all systems: one product serves them, whatever their number.
        gain: g, a number, or one for each system, of a shape that broadcasts with the leading dimensions of the state.

    Returns:
        ``step(x)`` with x (..., N) -> the next x, with the analytic ``step.jvp``, for ``lyapunov_spectrum``.

    Raises:
        ValueError: a weight that is not a square matrix of floating-point numbers.

    Source: Sompolinsky, Crisanti and Sommers, Physical Review Letters 61 (1988) 259, with discrete time.

    Example:
        >>> step = tanh_map(torch.eye(2), gain=torch.tensor([0.0, 1.0, 2.0]))
        >>> step(torch.ones(3, 2))
        tensor([[0.0000, 0.0000],
                [0.7616, 0.7616],
                [0.9640, 0.9640]])
    """
    if not isinstance(weight, Tensor) or weight.ndim != 2 or len(weight) != weight.shape[1] or not weight.is_floating_point():
        shown = tuple(weight.shape) if isinstance(weight, Tensor) else weight
        raise ValueError(f"weight: got {shown!r}, expected a floating-point tensor (N, N), a row per neuron")
    if weight.layout != torch.strided:
        raise ValueError(f"weight: got a sparse tensor ({weight.layout}), expected a dense one; give weight.to_dense()")
    weight = weight.detach()
    gains = gain.to(weight).unsqueeze(-1) if isinstance(gain, Tensor) else None
    return _tanh_map(Product(weight if gains is not None else gain * weight), gains, fresh=True)


def _tanh_map(product: Product, gains: Tensor | None, fresh: bool) -> Callable[..., Tensor]:
    """With ``fresh``, tangents are returned in new memory; otherwise they are valid until the step after the next one."""
    columns, one = product.columns, product.columns.new_ones(())
    n = len(columns)

    def step(state: Tensor) -> Tensor:
        if state.shape[-1] != n:
            raise ValueError(f"state: got {state.shape[-1]} numbers in the last dimension, expected {n}, a number per neuron")
        drive = state @ columns
        return (drive if gains is None else drive.mul_(gains)).tanh_()

    def tangent_step(state: Tensor, tangents: Tensor) -> tuple[Tensor, Tensor]:
        following, single = step(state), tangents.shape[-1] == 1 and state.ndim > 1
        rows, factors = tangents.squeeze(-1) if single else tangents.mT, getattr(tangents, "factors", None)
        moved = rows @ columns if fresh else product(rows) if factors is None else product.triangular(*factors)
        slope = torch.addcmul(one, following, following, value=-1)
        slope = slope if gains is None else slope.mul_(gains)
        return following, moved.mul_(slope).unsqueeze(-1) if single else moved.mul_(slope.unsqueeze(-2)).mT

    step.jvp = tangent_step
    step.jvp_many = single_tangents(columns, gains)
    step.frozen = lambda: _tanh_map(Product(columns.mT), gains, fresh=False)
    return step
