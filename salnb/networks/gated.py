"""ReLU, GRU and LSTM networks with replicas, with which recurrent networks under SAL are compared."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..common.arguments import one_of
from ..common.tensors import check_of_dtype
from .layer_maps import LayerMap
from .linear import ReplicaLinear

CELLS = ("tanh", "relu", "gru", "plain_gru", "lstm")
SAL_TIME_STEPS = 16  # time steps of each sequence whose states RowSAL observes


class CellRNN(nn.Module):
    r"""ReLU, GRU or LSTM network with replicas; its state is h, for the LSTM h and c side by side.

    .. math:: h \leftarrow z h + (1 - z) \tanh(W_{xn} x + r (W_{hn} h + \theta_n)) \quad\text{(GRU, gates z and r)}

    The recurrent weights of ReLU start as the identity matrix (Le, Jaitly and Hinton 2015, with their input weights of standard
    deviation 0.001). The gated cells start with Gaussian recurrent weights of gain 1 and with gate biases that spread their
    time scales over 1 … ``scale`` time steps (Tallec and Ollivier 2018); "plain_gru" is a GRU whose biases start at 0.

    Example:
        >>> CellRNN("lstm", 1, 8, 2, scale=30, replicas=3)(torch.zeros(30, 3, 5, 1))[1].shape
        torch.Size([30, 3, 5, 16])
    """

    def __init__(
        self, cell: str, n_in: int, n_hidden: int, n_out: int, *, scale: int, replicas: int,
        generator: torch.Generator | None = None, device=None,
    ) -> None:  # fmt: skip
        super().__init__()
        one_of("cell", cell, CELLS[1:])
        self.cell, self.n, self.replicas, self.n_in = cell.removeprefix("plain_"), n_hidden, (replicas,), n_in
        parts = {"relu": 1, "gru": 3, "lstm": 4}[self.cell]
        common = dict(gain=1.0, replicas=(replicas,), generator=generator, device=device)
        self.input = ReplicaLinear(n_in, parts * n_hidden, bias=False, **common)
        self.recurrent = ReplicaLinear(n_hidden, parts * n_hidden, **common)
        self.readout = ReplicaLinear(n_hidden, n_out, **common)
        with torch.no_grad():
            if cell == "relu":
                self.recurrent.weight.copy_(torch.eye(n_hidden).expand(replicas, -1, -1))
                self.input.weight.mul_(0.001 * math.sqrt(max(n_in, 1)))
            if cell in ("relu", "plain_gru"):
                return
            drawn = torch.rand((replicas, n_hidden), generator=generator).to(self.recurrent.bias)
            log_times = (1 + (max(scale, 3) - 2) * drawn).log()
            self.recurrent.bias[:, :n_hidden] = log_times  # the LSTM's forget gate or the GRU's update gate
            if cell == "lstm":
                self.recurrent.bias[:, n_hidden : 2 * n_hidden] = -log_times  # the input gate

    def step(self, state: Tensor, drive: Tensor) -> Tensor:
        """Next state (R, B, n_state) from the state and the inputs' contribution (R, B, parts · N)."""
        n = self.n
        if self.cell == "relu":
            return torch.relu(self.recurrent(state, drive))
        recurrent = self.recurrent(state[..., :n])
        if self.cell == "gru":
            update, reset = torch.sigmoid(drive[..., : 2 * n] + recurrent[..., : 2 * n]).split(n, -1)
            candidate = torch.tanh(drive[..., 2 * n :] + reset * recurrent[..., 2 * n :])
            return update * state + (1 - update) * candidate
        forget_gate, input_gate, output_gate, candidate = (drive + recurrent).split(n, -1)
        cell = torch.sigmoid(forget_gate) * state[..., n:] + torch.sigmoid(input_gate) * torch.tanh(candidate)
        return torch.cat([torch.sigmoid(output_gate) * torch.tanh(cell), cell], -1)

    def first_state(self, inputs: Tensor) -> Tensor:
        """The state before the first time step, which is 0."""
        return inputs.new_zeros((*inputs.shape[1:-1], self.n * (2 if self.cell == "lstm" else 1)))

    def maps(self, inputs: Tensor, generator: torch.Generator) -> Iterator[LayerMap]:
        """The function of one time step with some of the states to which these inputs (T, R, B, n_in) lead, for ``RowSAL``."""
        with torch.no_grad():
            drives, before = self.input(inputs[1:]), self.forward(inputs)[1][:-1]
            some = torch.randperm(len(before), generator=generator)[:SAL_TIME_STEPS].to(before.device)
            drives, states = (x[some].movedim(0, -3).flatten(-3, -2) for x in (drives, before))
        yield lambda state: self.step(state, drives), states, [self.recurrent.weight, self.recurrent.bias]

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (T, R, B, n_in) -> outputs (T, R, B, n_out) and states (T, R, B, n_state)."""
        expected = f"(T, {self.replicas[0]}, B, {self.n_in})"
        check_of_dtype("inputs", inputs, self.readout.weight, expected)
        if inputs.ndim != 4 or inputs.shape[-1] != self.n_in or inputs.shape[1] not in (1, *self.replicas) or not len(inputs):
            raise ValueError(f"inputs: got shape {tuple(inputs.shape)}, expected {expected}, time first")
        drives = self.input(inputs)
        state, states = self.first_state(inputs), []
        for drive in drives.unbind(0):
            state = self.step(state, drive)
            states.append(state)
        stacked = torch.stack(states)
        return self.readout(stacked[..., : self.n]), stacked
