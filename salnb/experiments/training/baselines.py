"""The networks with which SAL is compared: layer norm, residual connections, Glorot's start; ReLU, GRU and LSTM in time."""

import math
from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from ...common.arguments import one_of
from ...networks.deep import DeepNet
from ...networks.gated import CELLS, CellRNN
from ...networks.layer_maps import LayerMap
from ...networks.recurrent import TanhRNN

INITS = ("gaussian", "orthogonal", "xavier")
ARCHITECTURES = ("plain", "layer_norm", "residual")


def check_names(sal: object, *, architecture: str = "plain", cell: str = "tanh") -> bool:
    """Whether every sensitivity is |f'| times the length of the neuron's weights. Otherwise SAL uses the rows of the Jacobian.

    Raises:
        ValueError: an unknown architecture or cell, or SAL by the mean where only the RMS is measured.
    """
    one_of("architecture", architecture, ARCHITECTURES)
    one_of("cell", cell, CELLS)
    plain = (architecture, cell) == ("plain", "tanh")
    if not plain and isinstance(sal, Mapping) and sal.get("average", "rms") != "rms":
        other = architecture if architecture != "plain" else cell
        raise ValueError(f"sal: got average={sal['average']!r} with {other}, where random tangents measure 'rms' only")
    return plain


def normalized(pre: Tensor) -> Tensor:
    """Layer norm without its affine part: mean 0 and variance 1 over the units, and 1e-5 as in PyTorch.

    Written out, because the derivative of a Jacobian's rows by the weights comes out wrong through
    ``torch.nn.functional.layer_norm`` (torch 2.13; github.com/pytorch/pytorch issue 175754), mean and variance held constant.
    """
    centered = pre - pre.mean(-1, keepdim=True)
    return centered * torch.rsqrt(centered.square().mean(-1, keepdim=True) + 1e-5)


class DeepBaseline(DeepNet):
    r"""A ``DeepNet`` whose layers carry layer norm, h ← tanh(γ LN(W h + θ) + β), or a shortcut, h ← h + tanh(W h + θ)/√L."""

    def __init__(self, *sizes: int, architecture: str, **settings) -> None:
        super().__init__(*sizes, **settings)
        self.architecture = architecture
        if architecture == "layer_norm":  # as in nn.LayerNorm, γ starts at 1 and β at 0
            self.scales = nn.ParameterList(torch.ones_like(layer.bias) for layer in self.hidden)
            self.shifts = nn.ParameterList(torch.zeros_like(layer.bias) for layer in self.hidden)

    def layer_output(self, i: int, state: Tensor) -> Tensor:
        """The output of hidden layer i, from the output of the layer before it."""
        pre = self.hidden[i](state)
        if self.architecture == "layer_norm":
            return self.function(self.scales[i].unsqueeze(-2) * normalized(pre) + self.shifts[i].unsqueeze(-2))
        change = self.function(pre)
        return state + change / math.sqrt(len(self.hidden)) if i else change

    def forward(self, inputs: Tensor) -> Tensor:
        state = inputs
        for i in range(len(self.hidden)):
            state = self.layer_output(i, state)
        return self.readout(state)

    def maps(self, inputs: Tensor, generator: torch.Generator) -> Iterator[LayerMap]:
        """All hidden layers except the first as functions, for ``RowSAL``."""
        state = inputs
        for i, layer in enumerate(self.hidden):
            if i:
                more = [self.scales[i], self.shifts[i]] if self.architecture == "layer_norm" else []
                yield partial(self.layer_output, i), state, [layer.weight, layer.bias, *more]
            with torch.no_grad():
                state = self.layer_output(i, state)


def deep_net(
    n_in: int, width: int, n_out: int, depth: int, *, gain: float, init: str, architecture: str, replicas: int,
    generator: torch.Generator, bias: float = 0.0, device=None,
) -> DeepNet:  # fmt: skip
    """A deep network whose inner layers start with ``gain``, its first layer and readout always with 1.

    The first layer's biases are normal with standard deviation ``bias``: without any, a tanh network is an odd function.
    """
    one_of("init", init, INITS)
    one_of("architecture", architecture, ARCHITECTURES)
    kind = "orthogonal" if init == "orthogonal" else "gaussian"
    settings = dict(gain=1.0, replicas=(replicas,), init=kind, generator=generator, device=device)
    plain = architecture == "plain"
    net = DeepNet(n_in, width, n_out, depth, **settings) if plain else DeepBaseline(
        n_in, width, n_out, depth, architecture=architecture, **settings)  # fmt: skip
    with torch.no_grad():
        for layer in net.hidden[1:]:
            if init == "xavier":  # uniform with Glorot's variance 2 / (fan-in + fan-out)
                drawn = torch.rand(layer.weight.shape, generator=generator).to(layer.weight)
                layer.weight.copy_((2 * drawn - 1) * math.sqrt(3 / width))
            layer.weight.mul_(gain)
        draw_biases_(net.hidden[0].bias, bias, generator)
    return net


def draw_biases_(biases: Tensor, size: float, generator: torch.Generator) -> None:
    """Fills the biases with normal numbers of standard deviation ``size``; leaves them at 0 if it is 0."""
    if size:
        biases.copy_(size * torch.randn(biases.shape, generator=generator))


def recurrent_net(
    cell: str, n_in: int, n_hidden: int, n_out: int, *, gain: float, init: str, lag: int, replicas: int,
    generator: torch.Generator, bias: float = 0.0, device=None,
) -> TanhRNN | CellRNN:  # fmt: skip
    """A recurrent network; a tanh one starts with recurrent ``gain``, its input weights and readout always with 1."""
    one_of("cell", cell, CELLS)
    one_of("init", init, INITS[:2])
    if cell != "tanh":
        return CellRNN(cell, n_in, n_hidden, n_out, scale=lag, replicas=replicas, generator=generator, device=device)
    rnn = TanhRNN(n_in, n_hidden, n_out, gain=1.0, replicas=(replicas,), init=init, generator=generator, device=device)
    with torch.no_grad():
        rnn.recurrent[0].weight.mul_(gain)
        draw_biases_(rnn.recurrent[0].bias, bias, generator)
    return rnn
