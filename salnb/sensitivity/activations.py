"""Activations with the two derivatives that a sensitivity and its gradient need: the slope f' and the curvature f''."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from .automatic import curvature_by_autograd, derivatives_fault, elementwise_fault, slope_by_autograd

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


def _prelu(u: Tensor, weight: Tensor) -> Tensor:
    return torch.where(u > 0, u, u * weight.detach().to(u.dtype))


def _prelu_slope(u: Tensor, weight: Tensor) -> Tensor:
    return torch.where(u > 0, torch.ones_like(u), weight.detach().to(u.dtype))


@cache  # equal settings give the same object, so that SAL finds the layers which it can compute together
def _leaky(name: str, below: float) -> Activation:
    return Activation(name, partial(F.leaky_relu, negative_slope=below), partial(_leaky_slope, below=below), torch.zeros_like)


@cache
def _softplus(beta: float, threshold: float) -> Activation:
    settings = {"beta": beta, "threshold": threshold}
    formulas = (partial(formula, **settings) for formula in (F.softplus, _softplus_slope, _softplus_curvature))
    return Activation("softplus", *formulas)


ACTIVATIONS: dict[str, Activation] = {
    "tanh": Activation("tanh", torch.tanh, _tanh_slope, _tanh_curvature),
    "sigmoid": Activation("sigmoid", torch.sigmoid, _sigmoid_slope, _sigmoid_curvature),
    "relu": Activation("relu", torch.relu, partial(_leaky_slope, below=0.0), torch.zeros_like),
    "leaky_relu": _leaky("leaky_relu", 0.01),
    "gelu": Activation("gelu", F.gelu, _gelu_slope, _gelu_curvature),
    "softplus": _softplus(1.0, 20.0),
    "identity": Activation("identity", _identity, torch.ones_like, torch.zeros_like),
}
_TANH_GELU = Activation("gelu", partial(F.gelu, approximate="tanh"), _tanh_gelu_slope, _tanh_gelu_curvature)


# Activations without formulas here: the name, and the settings that the module of the same name keeps as attributes.
# Their derivatives come from automatic differentiation.
AUTOMATIC: dict[str, tuple[str, ...]] = {
    "silu": (), "elu": ("alpha",), "selu": (), "celu": ("alpha",), "mish": (), "hardtanh": ("min_val", "max_val"), "relu6": (),
    "hardswish": (), "hardsigmoid": (), "logsigmoid": (), "softsign": (), "tanhshrink": (), "softshrink": ("lambd",),
    "hardshrink": ("lambd",), "threshold": ("threshold", "value"),
}  # fmt: skip
# Made of straight pieces: the curvature is 0 wherever there is one. (Of Hardsigmoid autograd has no second derivative at all.)
PIECEWISE_LINEAR = frozenset("hardtanh relu6 hardsigmoid softshrink hardshrink threshold clamp clamp_min clamp_max".split())
MODULES = {getattr(nn, name): name for name in (
    "SiLU", "ELU", "SELU", "CELU", "Mish", "Hardtanh", "ReLU6", "Hardswish", "Hardsigmoid", "LogSigmoid", "Softsign",
    "Tanhshrink", "Softshrink", "Hardshrink", "Tanh", "Sigmoid", "ReLU", "LeakyReLU", "GELU", "Softplus", "Identity",
    "PReLU", "Threshold",
)}  # fmt: skip


def automatic(name: str, function: Formula) -> Activation:
    """Any elementwise function with its derivatives by automatic differentiation."""
    slope = partial(slope_by_autograd, function=function)
    return Activation(name, function, slope, partial(curvature_by_autograd, function=function))


@cache
def of_function(name: str, **settings: float | str | bool) -> Activation:
    """The activation ``name`` of ``torch.nn.functional`` or ``torch`` with these settings; equal settings give one object."""
    function = getattr(F, name, None) or getattr(torch, name, None) or getattr(torch.special, name)
    found = automatic(name, partial(function, **settings) if settings else function)
    return found._replace(curvature=torch.zeros_like) if name in PIECEWISE_LINEAR else found


def leaky(below: float) -> Activation:
    """max(u, 0) + below · min(u, 0)."""
    return _leaky("leaky_relu", below)


def prelu(weight: Tensor) -> Activation:
    """A leaky ReLU whose lower slope, one or one for each neuron, is a parameter; it is read anew at every call."""

    return Activation("prelu", partial(_prelu, weight=weight), partial(_prelu_slope, weight=weight), torch.zeros_like)


def gelu(approximate: str = "none") -> Activation:
    """GELU, exact or with tanh."""
    return _TANH_GELU if approximate == "tanh" else ACTIVATIONS["gelu"]


def softplus(beta: float = 1.0, threshold: float = 20.0) -> Activation:
    """log(1 + exp(beta u)) / beta, and u where beta u > threshold."""
    return _softplus(float(beta), float(threshold))


def from_module(module: nn.Module) -> Activation | None:
    """The activation that a module of PyTorch computes, with the module's own settings; None for all other modules.

    A subclass with a forward of its own is another module.
    """
    kind = next((kind for kind in type(module).__mro__ if kind in MODULES), None)
    if kind is None or type(module).forward is not kind.forward:
        return None
    match name := MODULES[kind]:
        case "LeakyReLU":
            return leaky(module.negative_slope)
        case "GELU":
            return gelu(module.approximate)
        case "Softplus":
            return softplus(module.beta, module.threshold)
        case "PReLU":
            return prelu(module.weight)
        case "Tanh" | "Sigmoid" | "ReLU" | "Identity":
            return ACTIVATIONS[name.lower()]
    return of_function(name.lower(), **{setting: getattr(module, setting) for setting in AUTOMATIC[name.lower()]})


def activation_formulas(activation: "str | Formula | nn.Module | Activation") -> Activation:
    """Finds an activation by its name, its module or its function; the ValueError for what is none lists the known names.

    Functions and modules that the library has no formula for are differentiated automatically. They must be elementwise: every
    number of the result depends on one number of the input, by the same function.
    """
    if isinstance(activation, Activation):
        return activation
    found = None
    if isinstance(activation, str):
        found = ACTIVATIONS.get(activation) or (of_function(activation) if activation in AUTOMATIC_NAMES else None)
    elif isinstance(activation, nn.Module):
        found = from_module(activation)
    if found is None and callable(activation):
        name = getattr(activation, "__name__", type(activation).__name__)
        found = of_torch(activation) or automatic(name, activation)
        check_elementwise(found)
    if found is None:
        known = ", ".join([*ACTIVATIONS, *AUTOMATIC_NAMES])
        raise ValueError(f"activation: got {activation!r}, expected one of {known}, or an elementwise function or nn.Module")
    return found


AUTOMATIC_NAMES = tuple(name for name in AUTOMATIC if name != "threshold")  # a threshold has no default


def of_torch(function: Callable) -> Activation | None:
    """The formulas for PyTorch's own functions that have a name here: torch.tanh, F.gelu, F.silu."""
    name = getattr(function, "__name__", "")
    if function in (getattr(torch, name, None), getattr(F, name, None), getattr(Tensor, name, None)):
        return ACTIVATIONS.get(name) or (of_function(name) if name in AUTOMATIC_NAMES else None)
    return None


def check_elementwise(activation: Activation) -> None:
    """A ValueError if the activation is not an elementwise function with two derivatives."""
    sample = torch.linspace(-3, 3, 32, dtype=torch.get_default_dtype()).view(4, 8)
    try:
        fault = elementwise_fault(activation.function, sample)
    except Exception as error:
        raise ValueError(f"activation: {activation.name} could not be called with a tensor of shape (4, 8): {error}") from error
    if fault:
        raise ValueError(f"activation: {activation.name} is no elementwise function: {fault}; expected a function of each number")
    if fault := derivatives_fault(activation.function, sample):
        raise ValueError(f"activation: {activation.name}: {fault}; give an Activation(name, function, slope, curvature)")
