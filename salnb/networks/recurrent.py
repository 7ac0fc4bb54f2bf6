"""A recurrent network of tanh neurons, flat or a ring of layers, or many independent ones in one tensor."""

import torch
from torch import Tensor, nn

from ..common.arguments import as_shape, check_sizes
from ..common.tensors import check_of_dtype
from .linear import ReplicaLinear


class TanhRNN(nn.Module):
    r"""Recurrent network of tanh neurons, flat or as a ring of layers.

    .. math:: h_t = \tanh(W h_{t-1} + W_{in} x_t + \theta), \qquad y_t = W_{out} h_t

    In a ring the first layer reads the last layer's state and the input, and each further layer reads the one before it.
    In one time step every layer runs once, and the network's state is the state of the last layer.

    Args:
        n_in, n_out: numbers of inputs (0 for a network without input) and outputs.
        n_hidden: N for a flat network, (N1, N2, ...) for a ring of layers.
        gain: g, the expected length of each neuron's weight vector at the start.
        replicas: leading dimensions of independent networks.
        connectivity: share of the recurrent connections that exist; every neuron keeps at least one.
        init: "gaussian" or "orthogonal".
        generator, device, dtype: as in torch.

    Returns:
        ``rnn(inputs, state=None)``: inputs (T, B, n_in), shared by the replicas, or (T, ..., B, n_in) ->
        outputs (T, ..., B, n_out) and states (T, ..., B, N) with N the last layer's size; state defaults to 0.
        ``rnn(inputs, state, states)`` also appends each step's state (..., B, N) to the list ``states``.

    Raises:
        ValueError: a size below 1, connectivity outside (0, 1], inputs or a state of another shape.

    Example:
        >>> rnn = TanhRNN(2, 8, 1, gain=0.5, replicas=(4,))
        >>> outputs, states = rnn(torch.zeros(10, 3, 2))
        >>> outputs.shape, states.shape
        (torch.Size([10, 4, 3, 1]), torch.Size([10, 4, 3, 8]))
    """

    def __init__(
        self, n_in: int, n_hidden: int | tuple[int, ...], n_out: int, *, gain: float, replicas: int | tuple[int, ...] = (),
        connectivity: float = 1.0, init: str = "gaussian", generator: torch.Generator | None = None, device=None, dtype=None,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes = as_shape("n_hidden", n_hidden)
        check_sizes(n_in=n_in, n_out=n_out, n_hidden=len(sizes))
        self.replicas, self.n_in, self.n_hidden = as_shape("replicas", replicas), n_in, sizes
        common = dict(gain=gain, replicas=self.replicas, init=init, generator=generator, device=device, dtype=dtype)
        self.recurrent = nn.ModuleList(
            ReplicaLinear(sizes[i - 1], size, connectivity=connectivity, activation="tanh", **common)
            for i, size in enumerate(sizes)
        )
        self.input = ReplicaLinear(n_in, sizes[0], bias=False, **common)
        self.readout = ReplicaLinear(sizes[-1], n_out, **common)

    def sal_layers(self) -> dict[str, tuple[ReplicaLinear, tuple[nn.Parameter, ...]]]:
        """The layers whose neurons SAL adjusts, each with the other weights of the same neurons, which are the input weights."""
        return {f"recurrent.{i}": (a, () if i else (self.input.weight,)) for i, a in enumerate(self.recurrent)}

    def step(self, state: Tensor, drive: Tensor | None = None, weights: list[Tensor] | None = None) -> Tensor:
        """One time step: state (..., B, N) and the input's contribution to the first layer -> next state."""
        for i, layer in enumerate(self.recurrent):
            weight = None if weights is None else weights[i]
            state = torch.tanh(layer(state, None if i else drive, weight))
        return state

    def forward(
        self, inputs: Tensor, state: Tensor | None = None, states: list[Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Outputs (T, ..., B, n_out) and states (T, ..., B, N) for inputs (T, ..., B, n_in); ``states`` receives each layer's."""
        expected = f"(T, B, {self.n_in})"
        if self.replicas:
            expected += f" or (T, {', '.join(map(str, self.replicas))}, B, {self.n_in})"
        check_of_dtype("inputs", inputs, self.readout.weight, expected)
        plain = inputs.ndim == 3
        if inputs.shape[-1:] != (self.n_in,) or not (plain or inputs.ndim == 3 + len(self.replicas)):
            raise ValueError(f"inputs: got shape {tuple(inputs.shape)}, expected {expected}, time first")
        shape = (*self.replicas, inputs.shape[-2], self.n_hidden[-1])
        if state is None:
            state = self.readout.weight.new_zeros(shape)
        check_of_dtype("state", state, self.readout.weight, f"{shape}")
        if state.shape[-1] != shape[-1] or state.shape[-2] not in (1, shape[-2]) or state.ndim not in (2, len(shape)):
            raise ValueError(f"state: got shape {tuple(state.shape)}, expected {shape}")
        if plain:  # shared by the replicas
            inputs = inputs.reshape(len(inputs), *[1] * len(self.replicas), *inputs.shape[1:])
        drives = self.input(inputs).unbind(0) if self.n_in else [None] * len(inputs)
        weights = [layer.connected_weight() for layer in self.recurrent]
        state, found = state.expand(shape), []
        for drive in drives:
            state = self.step(state, drive, weights)
            found.append(state)
        if states is not None:
            states += found
        stacked = torch.stack(found) if found else state.new_zeros((0, *shape))
        return self.readout(stacked), stacked
