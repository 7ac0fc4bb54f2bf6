"""Sensitivities and their gradient by torch.func, for any map of one sample: nothing of SAL."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.tolerances import close

Map = Callable[[dict[str, Tensor], Tensor], Tensor]  # parameters and one sample (...) -> outputs (..., N)


def module_map(module: nn.Module) -> Map:
    """A module as a function of its parameters and of one sample, which it is given as a batch of one."""
    return lambda parameters, x: torch.func.functional_call(module, parameters, (x.unsqueeze(0),)).squeeze(0)


def lengths(function: Map, parameters: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """‖∂ y_i / ∂ x‖ (S, ..., N) for samples (S, ...): all rows of the Jacobian, one by one."""

    def of_one(x: Tensor) -> Tensor:
        rows = torch.func.jacrev(lambda x: function(parameters, x))(x)
        squares = rows.square().sum(tuple(range(-x.ndim, 0)))
        return torch.where(squares > 0, torch.where(squares > 0, squares, 1.0).sqrt(), 0.0)

    return torch.stack([of_one(x) for x in inputs])


def expected(function: Map, module: nn.Module, inputs: Tensor) -> tuple[Tensor, Callable[[Tensor], dict[str, Tensor]]]:
    """E[s] (N,) over samples and places, and a function that gives the gradient of Σ_i a_i E[s_i] for any a (N,)."""
    parameters = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}

    def mean(parameters: dict[str, Tensor]) -> Tensor:
        return lengths(function, parameters, inputs).flatten(0, -2).mean(0)

    return mean(parameters), lambda amount: torch.func.grad(lambda p: (amount * mean(p)).sum())(parameters)


def rounding_of(tensor: Tensor) -> dict[str, float]:
    """Sums over at most 500 samples and inputs, of numbers up to ten times as large as the result."""
    return close(tensor.dtype, 2000, 10 * float(tensor.abs().max()))
