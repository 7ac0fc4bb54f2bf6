"""Backpropagation through time for many small replicas: every time step is one product for all replicas, and nothing is copied.

The derivation is that of ``through_time``, which joins all time steps in a few large products. Small networks gain nothing from
large products and lose much time by the copies that these need. Here every time step adds its part to the gradients at once.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..networks.recurrent import TanhRNN
from .unrolled import merged

# This way is faster from so many replicas on, and up to so many numbers in the state of one replica.
LEAST_REPLICAS, LARGEST_STATE = 4, 4096


def is_small(rnn: TanhRNN, batch: int) -> bool:
    """Whether this way is faster for the network than the large products of ``through_time``."""
    return bool(rnn.replicas) and math.prod(rnn.replicas) >= LEAST_REPLICAS and batch * max(rnn.n_hidden) <= LARGEST_STATE


def by_step(inputs: Tensor, replicas: tuple[int, ...]) -> Tensor:
    """(T, ..., B, n_in) -> (T, R, B, n_in), each time step contiguous in memory, for a batched product."""
    return merged(inputs, replicas, 1).contiguous()


def parameters_of(rnn: TanhRNN, name: str) -> tuple[Tensor, Tensor | None]:
    """Weights (R, N, M) and biases (R, 1, N) of a layer."""
    layer = rnn.get_submodule(name)
    bias = None if layer.bias is None else merged(layer.bias, rnn.replicas).unsqueeze(-2)
    return merged(layer.connected_weight(), rnn.replicas), bias


def run_forward(rnn: TanhRNN, x: Tensor) -> tuple[list[list[Tensor]], Tensor]:
    """The states of every layer at every time step, [t][layer] -> (R, B, N), and the outputs (T, R, B, n_out)."""
    rows = [parameters_of(rnn, f"recurrent.{i}") for i in range(len(rnn.recurrent))]
    transposed = [(weight.mT.contiguous(), bias) for weight, bias in rows]
    input_weight = parameters_of(rnn, "input")[0].mT.contiguous() if rnn.n_in else None
    (readout, readout_bias), states, before = parameters_of(rnn, "readout"), [], None
    outputs = x.new_empty((*x.shape[:-1], readout.shape[-2]))
    for step_input, output in zip(x.unbind(0), outputs.unbind(0), strict=True):
        layers = []
        for i, (weight, bias) in enumerate(transposed):
            if i == 0 and input_weight is not None:
                state = torch.baddbmm(bias, step_input, input_weight)
            else:
                state = bias.expand(len(weight), x.shape[-2], -1).clone()
            if before is not None:
                state.baddbmm_(before, weight)
            before = state.tanh_()
            layers.append(before)
        torch.baddbmm(readout_bias, before, readout.mT, out=output)
        states.append(layers)
    return states, outputs


def run_backward(
    rnn: TanhRNN, x: Tensor, states: Sequence[Sequence[Tensor]], at_outputs: Tensor, window: int | None
) -> dict[str, Tensor]:
    """The gradients of all parameters, each a sum over the time steps."""
    depth, (readout, _) = len(rnn.recurrent), parameters_of(rnn, "readout")
    weights = [parameters_of(rnn, f"recurrent.{i}")[0] for i in range(depth)]
    of_weights, of_readout = [torch.zeros_like(w) for w in weights], torch.zeros_like(readout)
    of_input = readout.new_zeros((len(readout), weights[0].shape[-2], rnn.n_in))
    summed = [torch.zeros_like(state) for state in states[0]]
    has_error = at_outputs.flatten(1).any(1).tolist()  # if the loss depends on the last output alone, the others have no error
    one, slopes, later = readout.new_ones(()), [torch.empty_like(s) for s in summed], None
    for t in reversed(range(len(states))):
        for i in reversed(range(depth)):
            state = states[t][i]
            error = torch.zeros_like(state) if later is None else torch.bmm(later, weights[(i + 1) % depth])
            if i == depth - 1 and has_error[t]:
                error.baddbmm_(at_outputs[t], readout)
                of_readout.baddbmm_(at_outputs[t].mT, state)
            torch.addcmul(one, state, state, value=-1, out=slopes[i])  # 1 - h^2
            later = error.mul_(slopes[i])
            summed[i].add_(error)
            before = states[t][i - 1] if i else states[t - 1][-1] if t else None
            if before is not None:  # the state before the first step is 0 and adds nothing
                of_weights[i].baddbmm_(error.mT, before)
            if i == 0 and rnn.n_in:
                of_input.baddbmm_(error.mT, x[t])
        if window is not None and t % window == 0:
            later = None
    found = {f"recurrent.{i}": (w, s.sum(-2)) for i, (w, s) in enumerate(zip(of_weights, summed, strict=True))}
    found |= {"readout": (of_readout, at_outputs.sum((0, -2))), "input": (of_input, None)}
    gradients = {}
    for name, (by_weight, by_bias) in found.items():
        layer = rnn.get_submodule(name)
        by_weight = by_weight.reshape(layer.weight.shape)
        gradients[f"{name}.weight"] = by_weight if layer.mask is None else by_weight * layer.mask
        if by_bias is not None:
            gradients[f"{name}.bias"] = by_bias.reshape(layer.bias.shape)
    return gradients
