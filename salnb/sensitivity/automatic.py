"""Slope and curvature of any elementwise function by automatic differentiation, and the check that it is elementwise."""

from collections.abc import Callable

import torch
from torch import Tensor

Formula = Callable[[Tensor], Tensor]


def _differentiated(function: Formula, u: Tensor, times: int) -> Tensor:
    """The first or second derivative at u, of the same shape; 0 where autograd finds no dependence."""
    with torch.inference_mode(False), torch.enable_grad():
        u = u.detach().clone().requires_grad_()  # a copy, because autograd takes no tensor of inference mode
        result = function(u * 1)  # not u itself: an activation that works in place must not write to a leaf
        for remaining in reversed(range(times)):
            if not result.requires_grad:
                return torch.zeros_like(u)
            again = remaining > 0
            (result,) = torch.autograd.grad(result.sum(), u, create_graph=again, allow_unused=True, materialize_grads=True)
    return result.detach()


def slope_by_autograd(u: Tensor, function: Formula) -> Tensor:
    """f'(u) for every number of u (any shape)."""
    return _differentiated(function, u, 1)


def curvature_by_autograd(u: Tensor, function: Formula) -> Tensor:
    """f''(u) for every number of u (any shape)."""
    return _differentiated(function, u, 2)


def derivatives_fault(function: Formula, u: Tensor) -> str | None:
    """Why ``function`` cannot be differentiated twice at u, in words; None if it can."""
    for order, derivative in (("first", slope_by_autograd), ("second", curvature_by_autograd)):
        try:
            derivative(u, function)
        except RuntimeError as error:
            return f"autograd gives no {order} derivative of it ({str(error).splitlines()[0].rstrip('.')})"
    if torch.finfo(u.dtype).bits < 32:  # too few digits for a difference
        return None
    # Without an error autograd also leaves out the second derivative of a function that was written with a backward of its own.
    step = 1e-2
    change = (slope_by_autograd(u + step, function) - slope_by_autograd(u - step, function)) / (2 * step)
    curvature = curvature_by_autograd(u, function)
    apart = (change - curvature).abs() > 0.02 * (1 + change.abs())  # so are a few numbers at a kink
    return "autograd gives no second derivative of it, though its slope varies" if apart.double().mean() > 0.5 else None


def elementwise_fault(function: Formula, u: Tensor) -> str | None:
    """Why ``function`` is no elementwise function at u (any shape, no parameter of its own per neuron); None if it is one.

    The numbers are shuffled and half of them are changed: each of the others must keep its value, wherever it lies. Dropout
    fails, because it gives other numbers the second time; a normalization fails, because all numbers of a row hang together.
    The random state is the same afterwards.
    """
    state = torch.get_rng_state()
    try:
        with torch.no_grad():
            flat = u.detach().flatten().clone()
            half = len(flat) // 2
            order = torch.randperm(len(flat), generator=torch.Generator().manual_seed(0)).to(flat.device)
            changed = torch.cat([flat[:half], 2 * flat[half:] + 1])
            first = function(flat.clone().view_as(u))
            if not isinstance(first, Tensor) or first.shape != u.shape:
                return f"gives {tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__} for {tuple(u.shape)}"
            second = function(changed[order].view_as(u)).flatten()
            kept = order < half
            left, right = first.flatten()[order][kept], second[kept]
            limit = 16 * torch.finfo(left.dtype).eps  # vectorized and single calls of one function differ in the last digits
            if not torch.allclose(left, right, rtol=limit, atol=limit, equal_nan=True):
                return "a number's result depends on the other numbers, on its place or on chance"
    finally:
        torch.set_rng_state(state)
    return None
