"""The network of this part: one hidden layer without a bias, whose output may be raised to a power, and a linear readout."""

import math

import torch
from torch import Tensor, nn

from ..common.arguments import as_shape, check_sizes
from ..common.tensors import check_floats
from ..networks.linear import normal
from ..sensitivity.activations import Activation, activation_formulas


class HiddenNet(nn.Module):
    r"""A network of one hidden layer: x → W x → f → power n → linear readout.

    .. math:: h = W x, \qquad z = f(h)^n, \qquad \text{logits} = V z + b

    The hidden layer has no bias. For f = ReLU, h and z are therefore homogeneous in x: z(c x) = cⁿ z(x) for c > 0. At the start,
    entries are drawn as for a ReLU network (He): W ~ N(0, 2 / inputs), V ~ N(0, 2 / units), b = 0.

    Args:
        inputs, units, classes: D, H and C, the numbers of inputs, hidden units and classes.
        power: n ≥ 1. Other powers than 1 need an activation that is never negative (relu, sigmoid, softplus).
        activation: f, by name or as its ``nn.Module``.
        replicas: leading dimensions of independent networks, for instance (8,).
        generator, device, dtype: as in torch; the numbers are drawn on the generator's device.

    Returns:
        ``net(x)``: x (B, D), shared by the replicas, or (..., B, D) -> logits (..., B, C). ``net.pre(x)`` -> h (..., B, H);
        ``net.hidden(x)`` -> z (..., B, H). Parameters: ``.hidden_weight`` (..., H, D), ``.readout_weight`` (..., C, H),
        ``.readout_bias`` (..., C). ``.response`` is z as a function of h, with its slope.

    Raises:
        ValueError: a size below 1, a power below 1, a power that does not go with the activation; inputs of another width, dtype
            or device. TypeError: inputs that are not a tensor.

    Source: Holzhausen et al., arXiv 2405.00679 (the networks compared there, n = 1 or 4.5); He et al. 2015 (the start).

    Example:
        >>> net = HiddenNet(64, 200, 10, power=4.5, replicas=(8,))
        >>> net(torch.zeros(5, 64)).shape, net.pre(torch.zeros(8, 5, 64)).shape
        (torch.Size([8, 5, 10]), torch.Size([8, 5, 200]))
    """

    def __init__(
        self, inputs: int, units: int, classes: int, *, power: float = 1.0, activation: str | nn.Module | Activation = "relu",
        replicas: int | tuple[int, ...] = (), generator: torch.Generator | None = None, device=None, dtype=None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_sizes(inputs=inputs, units=units, classes=classes)
        replicas = as_shape("replicas", replicas)
        weight = normal((*replicas, units, inputs), generator, device, dtype)
        self._assemble(weight.mul_(math.sqrt(2 / inputs)), classes, power, activation, generator)

    def _assemble(
        self, weight: Tensor, classes: int, power: float, activation: str | nn.Module | Activation,
        generator: torch.Generator | None,
    ) -> None:  # fmt: skip
        """Parameters and attributes, from the hidden weights; the readout is drawn here."""
        self.response = raised_to_power(activation_formulas(activation), power)
        self.power, self.activation = float(power), activation_formulas(activation).name
        self.replicas = tuple(weight.shape[:-2])
        units = weight.shape[-2]
        readout = normal((*self.replicas, classes, units), generator, weight.device, weight.dtype)
        self.hidden_weight = nn.Parameter(weight)
        self.readout_weight = nn.Parameter(readout.mul_(math.sqrt(2 / units)))
        self.readout_bias = nn.Parameter(weight.new_zeros((*self.replicas, classes)))

    @classmethod
    def from_weight(
        cls, weight: Tensor, classes: int, *, power: float = 1.0, activation: str | nn.Module | Activation = "relu",
        trainable: bool = False, generator: torch.Generator | None = None,
    ) -> "HiddenNet":  # fmt: skip
        """A network with these hidden weights (..., H, D), copied; unless ``trainable``, they stay as they are in training.

        For a Krotov–Hopfield layer give ``layer.effective_weight()``. The readout is drawn as at the start of any ``HiddenNet``.

        Example:
            >>> net = HiddenNet.from_weight(torch.eye(3), 2, power=4.5)
            >>> net.hidden_weight.requires_grad, net.readout_weight.requires_grad
            (False, True)
        """
        check_sizes(classes=classes)
        if not isinstance(trainable, bool):
            raise ValueError(f"trainable: got {trainable!r}, expected True or False")
        check_floats("weight", weight, "(..., units, inputs)", dims=2)
        net = cls.__new__(cls)
        nn.Module.__init__(net)
        net._assemble(weight.detach().clone(), classes, power, activation, generator)
        net.hidden_weight.requires_grad_(trainable)
        return net

    def pre(self, x: Tensor) -> Tensor:
        """The pre-activations h = W x, (..., B, H): linear in x. arXiv 2405.00679 calls them the hidden representation."""
        check_inputs(self, x)
        return x @ self.hidden_weight.mT

    def hidden(self, x: Tensor) -> Tensor:
        """What the readout reads, z = f(W x)ⁿ, (..., B, H)."""
        return self.response.function(self.pre(x))

    def readout(self, hidden: Tensor) -> Tensor:
        """Logits (..., B, C) of what ``hidden`` returned; where W is frozen, a training loop computes that once."""
        units = self.readout_weight.shape[-1]
        if not isinstance(hidden, Tensor) or hidden.ndim < 2 or hidden.shape[-1] != units:
            came = tuple(hidden.shape) if isinstance(hidden, Tensor) else type(hidden).__name__
            raise ValueError(f"hidden: got {came}, expected activities (..., B, {units}), as net.hidden(x) returns them")
        if hidden.ndim == self.readout_weight.ndim == 3:
            return torch.baddbmm(self.readout_bias.unsqueeze(-2), hidden, self.readout_weight.mT)
        return hidden @ self.readout_weight.mT + self.readout_bias.unsqueeze(-2)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.hidden(x))

    def extra_repr(self) -> str:
        *_, units, inputs = self.hidden_weight.shape
        return (
            f"inputs={inputs}, units={units}, classes={self.readout_bias.shape[-1]}, power={self.power}, "
            f"activation={self.activation}, replicas={self.replicas}"
        )


class _Power:
    """f(u)ⁿ, or its first or second derivative. An object and not a closure, so that a network can be pickled.

    Where f(u) = 0, as below 0 for ReLU, the slope of f is 0 as well. There f is replaced by 1, so that automatic differentiation
    never meets a negative power of 0, which would make NaN of 0 · ∞.
    """

    def __init__(self, inner: Activation, power: float, order: int) -> None:
        self.inner, self.power, self.order = inner, power, order

    def __call__(self, u: Tensor) -> Tensor:
        base = self.inner.function(u)
        if self.order == 0:
            return base.pow(self.power)
        base = torch.where(base > 0, base, 1.0)
        slope, n = self.inner.slope(u), self.power
        value = n * base.pow(n - 1) * (slope if self.order == 1 else self.inner.curvature(u))
        if self.order == 2:
            value = value + n * (n - 1) * base.pow(n - 2) * slope.square()
        return value


def raised_to_power(activation: Activation, power: float) -> Activation:
    r"""f(u)ⁿ with its two derivatives, as an ``Activation`` that every formula of ``salnb`` takes.

    .. math:: (f^n)' = n f^{n-1} f', \qquad (f^n)'' = n (n - 1) f^{n-2} f'^2 + n f^{n-1} f''

    Raises:
        ValueError: a power below 1 (its slope is infinite where f = 0), or an activation with negative outputs and a power other
            than 1.

    Example:
        >>> raised_to_power(activation_formulas("relu"), 3.0).slope(torch.tensor([-1.0, 2.0]))
        tensor([ 0., 12.])
    """
    if isinstance(power, bool) or not isinstance(power, (int, float)) or not 1 <= power < math.inf:
        raise ValueError(f"power: got {power!r}, expected a finite number >= 1; below 1 the slope at 0 is infinite")
    if power == 1:
        return activation
    if (activation.function(torch.linspace(-10, 10, 201, device="cpu")) < 0).any():
        raise ValueError(
            f"power: got {power} with the activation {activation.name!r}, which has negative outputs; use power=1, or an "
            "activation that is never negative: relu, sigmoid or softplus"
        )
    name = f"{activation.name}**{power:g}"
    return Activation(name, *(_Power(activation, float(power), order) for order in range(3)))


def check_net(net: object) -> None:
    """Checks that an argument named ``net`` is a ``HiddenNet``."""
    if not isinstance(net, HiddenNet):
        raise TypeError(f"net: got {type(net).__name__}, expected a HiddenNet")


def check_inputs(net: HiddenNet, x: Tensor, name: str = "x") -> None:
    """Checks that x (B, D) or (..., B, D) fits the network in type, width, replicas, dtype and device. Values are not read."""
    weight = net.hidden_weight
    width = weight.shape[-1]
    expected = f"(B, {width}) or (..., B, {width})"
    check_floats(name, x, expected, finite=False)
    if x.ndim < 2 or x.shape[-1] != width:
        hint = f"; for one sample add a dimension with {name}.unsqueeze(0)" if x.ndim == 1 else ""
        raise ValueError(f"{name}: got shape {tuple(x.shape)}, expected {expected}{hint}")
    try:
        torch.broadcast_shapes(x.shape[:-2], net.replicas)
    except RuntimeError as error:
        raise ValueError(
            f"{name}: got leading dimensions {tuple(x.shape[:-2])}, which do not fit the replicas {net.replicas} of the network"
        ) from error
    if x.dtype != weight.dtype:
        raise ValueError(f"{name}: got dtype {x.dtype}, but the network has {weight.dtype}; convert one of them")
    if x.device != weight.device:
        raise ValueError(f"{name}: got device {x.device}, but the network is on {weight.device}; move one of them")
