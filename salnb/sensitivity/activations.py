"""Activations with the two derivatives that a sensitivity and its gradient need: the slope f' and the curvature f''."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

Formula = Callable[[Tensor], Tensor]


class Activation(NamedTuple):
    """An elementwise function with its first two derivatives, each a function of the pre-activation."""

    name: str
    function: Formula
    slope: Formula
    curvature: Formula


def _identity(u: Tensor) -> Tensor:  # not a lambda: a network that holds one cannot be pickled
    return u


def _tanh_slope(u: Tensor) -> Tensor:
    return 1 - torch.tanh(u).square()


def _tanh_curvature(u: Tensor) -> Tensor:
    output = torch.tanh(u)
    return -2 * output * (1 - output.square())


def _sigmoid_slope(u: Tensor) -> Tensor:
    output = torch.sigmoid(u)
    return output * (1 - output)


def _sigmoid_curvature(u: Tensor) -> Tensor:
    output = torch.sigmoid(u)
    return output * (1 - output) * (1 - 2 * output)


def _leaky_slope(u: Tensor, below: float) -> Tensor:
    # At u = 0 PyTorch takes the slope of the lower side, for ReLU (below = 0) and for the leaky ReLU.
    # One of the two choices is a tensor: two plain numbers would give float32, in which a slope of 0.01 is less exact.
    return torch.where(u > 0, torch.ones_like(u), below)


def _softplus_slope(u: Tensor, beta: float, threshold: float) -> Tensor:
    # Above the threshold PyTorch's softplus is the identity, and its slope is exactly 1.
    return torch.where(beta * u > threshold, 1.0, torch.sigmoid(beta * u))


def _softplus_curvature(u: Tensor, beta: float, threshold: float) -> Tensor:
    output = torch.sigmoid(beta * u)
    return torch.where(beta * u > threshold, 0.0, beta * output * (1 - output))


def _normal_density(u: Tensor) -> Tensor:
    return torch.exp(-u.square() / 2) / math.sqrt(2 * math.pi)


def _gelu_slope(u: Tensor) -> Tensor:
    return torch.special.ndtr(u) + u * _normal_density(u)


def _gelu_curvature(u: Tensor) -> Tensor:
    return _normal_density(u) * (2 - u.square())


def _tanh_gelu_parts(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """tanh(z(u)), z'(u) and z''(u), where z is the cubic polynomial of GELU's tanh approximation."""
    scale, cubic = math.sqrt(2 / math.pi), 0.044715
    inner = torch.tanh(scale * (u + cubic * u**3))
    return inner, scale * (1 + 3 * cubic * u.square()), scale * 6 * cubic * u


def _tanh_gelu_slope(u: Tensor) -> Tensor:
    inner, first, _ = _tanh_gelu_parts(u)
    return (1 + inner) / 2 + u / 2 * (1 - inner.square()) * first


def _tanh_gelu_curvature(u: Tensor) -> Tensor:
    inner, first, second = _tanh_gelu_parts(u)
    return (1 - inner.square()) * (first + u / 2 * second - u * inner * first.square())


@cache  # equal settings give the same object, so that SAL finds the layers which it can compute together
def _leaky(name: str, below: float) -> Activation:
    return Activation(name, partial(F.leaky_relu, negative_slope=below), partial(_leaky_slope, below=below), torch.zeros_like)


@cache
def _softplus(beta: float = 1.0, threshold: float = 20.0) -> Activation:
    settings = {"beta": beta, "threshold": threshold}
    formulas = (partial(formula, **settings) for formula in (F.softplus, _softplus_slope, _softplus_curvature))
    return Activation("softplus", *formulas)


ACTIVATIONS: dict[str, Activation] = {
    "tanh": Activation("tanh", torch.tanh, _tanh_slope, _tanh_curvature),
    "sigmoid": Activation("sigmoid", torch.sigmoid, _sigmoid_slope, _sigmoid_curvature),
    "relu": Activation("relu", torch.relu, partial(_leaky_slope, below=0.0), torch.zeros_like),
    "leaky_relu": _leaky("leaky_relu", 0.01),
    "gelu": Activation("gelu", F.gelu, _gelu_slope, _gelu_curvature),
    "softplus": _softplus(),
    "identity": Activation("identity", _identity, torch.ones_like, torch.zeros_like),
}
_TANH_GELU = Activation("gelu", partial(F.gelu, approximate="tanh"), _tanh_gelu_slope, _tanh_gelu_curvature)


def from_module(module: nn.Module) -> Activation | None:
    """The activation that a module computes, with the module's own settings; None if the library does not know it."""
    match module:
        case nn.Tanh():
            return ACTIVATIONS["tanh"]
        case nn.Sigmoid():
            return ACTIVATIONS["sigmoid"]
        case nn.ReLU():
            return ACTIVATIONS["relu"]
        case nn.LeakyReLU():
            return _leaky("leaky_relu", module.negative_slope)
        case nn.GELU():
            return _TANH_GELU if module.approximate == "tanh" else ACTIVATIONS["gelu"]
        case nn.Softplus():
            return _softplus(module.beta, module.threshold)
        case nn.Identity():
            return ACTIVATIONS["identity"]
    return None


def activation_formulas(activation: "str | nn.Module | Activation") -> Activation:
    """Finds an activation by its name or its module; the ValueError for an unknown one lists the known ones."""
    if isinstance(activation, Activation):
        return activation
    found = ACTIVATIONS.get(activation) if isinstance(activation, str) else None
    if isinstance(activation, nn.Module):
        found = from_module(activation)
    if found is None:
        known = ", ".join(ACTIVATIONS)
        raise ValueError(f"activation: got {activation!r}, expected one of {known}, or the nn.Module of one of them")
    return found
