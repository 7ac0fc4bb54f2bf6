"""A deep feedforward network, or many independent ones in one tensor."""

import torch
from torch import Tensor, nn

from ..common.arguments import as_shape, check_sizes
from ..common.tensors import check_of_dtype
from ..sensitivity.activations import activation_formulas
from .linear import ReplicaLinear, gather


class DeepNet(nn.Module):
    r"""Fully connected network: ``depth`` hidden layers and a linear readout.

    .. math:: h_l = f(W_l h_{l-1} + \theta_l), \quad W_{ij} \sim \mathcal N(0, g^2/\text{fan-in}), \quad \theta = 0

    Args:
        n_in, width, n_out: numbers of inputs, of neurons per hidden layer, of outputs.
        depth: L, the number of hidden layers; the first reads the input, the other depth − 1 are square.
        gain: g, the expected length of each neuron's weight vector at the start.
        replicas: leading dimensions of independent networks, for instance (16,).
        init: "gaussian" or "orthogonal" (g times a random orthogonal matrix).
        activation: f by name, see ``neuron_sensitivity``.
        generator, device, dtype: as in torch.

    Returns:
        ``net(x)``: x (B, n_in), shared by the replicas, or (..., B, n_in) -> (..., B, n_out). ``net(x, states)`` also appends
        every hidden layer's h (..., B, width) to the list ``states``.

    Raises:
        ValueError: a size below 1, an unknown init or activation, an input of another width.

    Example:
        >>> net = DeepNet(2, 8, 1, depth=3, gain=1.0, replicas=(4,))
        >>> net(torch.zeros(5, 2)).shape
        torch.Size([4, 5, 1])
    """

    def __init__(
        self, n_in: int, width: int, n_out: int, depth: int, *, gain: float, replicas: int | tuple[int, ...] = (),
        init: str = "gaussian", activation: str = "tanh", generator: torch.Generator | None = None, device=None, dtype=None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_sizes(n_in=n_in, width=width, n_out=n_out, depth=depth)
        self.function = activation_formulas(activation).function
        self.replicas = as_shape("replicas", replicas)
        common = dict(gain=gain, replicas=self.replicas, init=init, generator=generator, device=device, dtype=dtype)
        self.hidden = nn.ModuleList(
            ReplicaLinear(width if i else n_in, width, activation=activation, **common) for i in range(depth)
        )
        gather([layer.weight for layer in self.hidden[1:]])
        gather([layer.bias for layer in self.hidden[1:]])
        self.readout = ReplicaLinear(width, n_out, **common)
        self.n_in = n_in

    def sal_layers(self) -> dict[str, tuple[ReplicaLinear, tuple[nn.Parameter, ...]]]:
        """The layers whose neurons SAL adjusts: all hidden layers except the first, which reads the input."""
        return {f"hidden.{i}": (layer, ()) for i, layer in enumerate(self.hidden) if i}

    def forward(self, inputs: Tensor, states: list[Tensor] | None = None) -> Tensor:
        """The outputs (..., B, n_out) for inputs (..., B, n_in); ``states`` receives every hidden layer's outputs."""
        check_of_dtype("inputs", inputs, self.readout.weight, f"(..., B, {self.n_in})")
        if inputs.ndim < 2 or inputs.shape[-1] != self.n_in:
            raise ValueError(f"inputs: got shape {tuple(inputs.shape)}, expected (B, {self.n_in}) or (..., B, {self.n_in})")
        state = inputs
        for layer in self.hidden:
            state = self.function(layer(state))
            if states is not None:
                states.append(state)
        return self.readout(state)
