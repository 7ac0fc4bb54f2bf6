"""A feed-forward module as a map of its own input, fed back what it puts out."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .activations import from_module
from .tangents import automatic_tangent_step


def sequential_step(module: nn.Sequential) -> Callable[..., Tensor]:
    """``step(x)``, the module applied to the state; ``step.jvp`` by hand where it is all linear layers and activations."""
    parts = list(module)

    in_place = any(getattr(part, "inplace", False) for part in module.modules())

    def along(state: Tensor) -> list[Tensor]:
        """What every part reads. A part that works in place gets a copy."""
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
