"""States of every layer of an ``nn.RNN``, whose forward returns those of the last layer alone."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ..hooks import Observation


def rnn_observations(
    module: nn.RNN, inputs: Tensor | PackedSequence, state: Tensor | None, output: Tensor | PackedSequence
) -> list[Observation]:
    """Recurrent inputs h_{t-1} and outputs h_t of every layer of an nn.RNN; the slopes follow from the outputs.

    An nn.RNN returns the states of its last layer alone, so the lower layers are run again. Both tensors are views of one copy,
    since the model may change its output in place. Of packed sequences (S, N) only the steps that exist are there.
    """
    if isinstance(inputs, PackedSequence):
        return _packed_observations(module, inputs, state, output)
    if inputs.ndim == 2:  # no batch dimension
        inputs, output = inputs.unsqueeze(1), output.unsqueeze(1)
        state = None if state is None else state.unsqueeze(1)
    elif module.batch_first:
        inputs, output = inputs.transpose(0, 1), output.transpose(0, 1)
    if state is None:
        state = output.new_zeros((module.num_layers, inputs.shape[1], module.hidden_size))
    fused = torch.rnn_relu if module.nonlinearity == "relu" else torch.rnn_tanh
    found = []
    for layer, start in enumerate(state.to(inputs.dtype).split(1)):
        own = _weights(module, layer)
        last = layer == module.num_layers - 1
        out = output if last else fused(inputs, start, own, module.bias, 1, 0.0, False, False, False)[0]
        states = torch.cat([start, out])
        before = states[:-1]
        after = states[1:] if out.dtype == own[1].dtype else _recomputed(module, own, inputs, before)
        found.append((before, states[1:] if after is None else after))
        inputs = out
    return found


def _weights(module: nn.RNN, layer: int) -> list[Tensor]:
    return [getattr(module, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            if module.bias or name.startswith("weight")]  # fmt: skip


def _recomputed(module: nn.RNN, own: list[Tensor], inputs: Tensor, before: Tensor) -> Tensor | None:
    """The outputs once more in full precision: under autocast 1 - h² is lost in 8 bits where h is near 1. Not for ReLU."""
    if module.nonlinearity != "tanh":
        return None
    pre = nn.functional.linear(inputs, own[0], own[2] + own[3] if module.bias else None) + before @ own[1].mT
    return torch.tanh(pre.to(own[1].dtype))


def _packed_observations(
    module: nn.RNN, packed: PackedSequence, state: Tensor | None, output: PackedSequence
) -> list[Observation]:
    """The same for packed sequences: the state before step t of sample b stands among those of step t - 1."""
    sizes, inputs = packed.batch_sizes, packed.data
    if state is None:
        state = output.data.new_zeros((module.num_layers, int(sizes[0]), module.hidden_size))
    elif packed.sorted_indices is not None:
        state = state.index_select(1, packed.sorted_indices)
    fused = torch.rnn_relu if module.nonlinearity == "relu" else torch.rnn_tanh
    found = []
    for layer, start in enumerate(state.to(inputs.dtype).unbind(0)):
        own = _weights(module, layer)
        last = layer == module.num_layers - 1
        out = output.data if last else fused(inputs, sizes, start.unsqueeze(0), own, module.bias, 1, 0.0, False, False)[0]
        out = out.clone() if last else out
        steps = out.split(sizes.tolist())
        before = torch.cat([start[: len(steps[0])], *(a[: len(b)] for a, b in zip(steps, steps[1:], strict=False))])
        after = None if out.dtype == own[1].dtype else _recomputed(module, own, inputs, before)
        found.append((before, out if after is None else after))
        inputs = out
    return found


def cell_observation(module: nn.RNNCell, inputs: Tensor, state: Tensor | None, output: Tensor) -> Observation:
    """Recurrent input h_{t-1} and output h_t of a call of an nn.RNNCell, each (B, N)."""
    inputs, output = (tensor.detach() if tensor.ndim == 2 else tensor.detach().unsqueeze(0) for tensor in (inputs, output))
    before = output.new_zeros(output.shape) if state is None else state.detach().clone().view(output.shape)
    if output.dtype == module.weight_hh.dtype or module.nonlinearity != "tanh":
        return before, output.clone()
    with torch.autocast(output.device.type, enabled=False):  # 1 - h² is lost in 8 bits where h is near 1
        own = [module.weight_ih, module.weight_hh, module.bias_ih, module.bias_hh]
        dtype = module.weight_hh.dtype
        return before.to(dtype), torch.rnn_tanh_cell(inputs.to(dtype), before.to(dtype), *own)
