"""States of every layer of a GRU or LSTM, whose forward returns those of the last layer alone, and of its cells c none."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ..hooks import Observation
from ..rows.gated_maps import cell_parameters


def cell_states(module: nn.Module, layer: int | None, inputs: Tensor, before: Tensor, start: Tensor, sizes: list[int]) -> Tensor:
    """c_t (S, N) of an LSTM from its inputs and h_{t-1} (S, ...), for all steps, whose batches have these ``sizes``."""
    by_input, by_state, *biases = cell_parameters(module, layer)
    gates = inputs @ by_input.mT + before @ by_state.mT
    for bias in biases:
        gates = gates if bias is None else gates + bias
    i, f, g, _ = gates.chunk(4, -1)
    added, kept = torch.sigmoid(i) * torch.tanh(g), torch.sigmoid(f)
    cell, found = start, []
    for add, keep in zip(added.split(sizes), kept.split(sizes), strict=True):
        cell = keep * cell[: len(add)] + add
        found.append(cell)
    return torch.cat(found)


def shifted(first: Tensor, steps: list[Tensor]) -> Tensor:
    """What stood before each step: the first state, and then each step's, of the sequences that go on."""
    return torch.cat([first[: len(steps[0])], *(a[: len(b)] for a, b in zip(steps, steps[1:], strict=False))])


@torch.no_grad()
def gated_observations(
    module: nn.GRU | nn.LSTM, inputs: Tensor | PackedSequence, state: Tensor | tuple[Tensor, Tensor] | None
) -> list[Observation]:
    """Of every layer: the state before each step with the layer's input side by side (S, ...), and the state after it.

    S counts time steps and samples, as in a PackedSequence: all samples of the first step, then those of the second. Every layer
    is run again, in the weights' own precision.
    """
    dtype, sorting = module.weight_hh_l0.dtype, None
    if isinstance(inputs, PackedSequence):
        data, sizes, sorting = inputs.data, inputs.batch_sizes, inputs.sorted_indices
    else:
        whole = inputs.unsqueeze(1) if inputs.ndim == 2 else inputs.transpose(0, 1) if module.batch_first else inputs
        data, sizes = whole.flatten(0, 1), torch.full((len(whole),), whole.shape[1])
    data, lstm, n, layers = data.detach().to(dtype), isinstance(module, nn.LSTM), module.hidden_size, module.num_layers
    if not data.numel():
        return [(data, data)] * layers
    if state is None:
        starts = [data.new_zeros((layers, int(sizes[0]), n))] * (2 if lstm else 1)
    else:
        given = list(state) if lstm else [state]
        starts = [one.detach().to(dtype).view(layers, -1, n) for one in given]
        starts = starts if sorting is None else [one.index_select(1, sorting) for one in starts]
    found, every = [], sizes.tolist()
    for layer in range(layers):
        own = [part for part in cell_parameters(module, layer) if part is not None]
        first = [start[layer : layer + 1].contiguous() for start in starts]
        if lstm:
            after = torch.lstm(data, sizes, first, own, module.bias, 1, 0.0, False, False)[0]
        else:
            after = torch.gru(data, sizes, first[0], own, module.bias, 1, 0.0, False, False)[0]
        before = shifted(first[0][0], list(after.split(every)))
        states, ends = [before], [after]
        if lstm:
            cells = cell_states(module, layer, data, before, first[1][0], every)
            states, ends = [before, shifted(first[1][0], list(cells.split(every)))], [after, cells]
        found.append((torch.cat([*states, data], -1), torch.cat(ends, -1)))
        data = after
    return found


def refuse_another_output(name: str, module: nn.GRU | nn.LSTM, states: Tensor, output: object) -> None:
    """A RuntimeError if the module's output is not the last layer's h, because a hook of the user's made another one of it."""
    whole = output[0] if isinstance(output, tuple) else output
    if isinstance(whole, PackedSequence):
        found = whole.data
    elif isinstance(whole, Tensor) and whole.ndim == 3 and module.batch_first:
        found = whole.transpose(0, 1)
    else:
        found = whole
    wanted = states[..., : module.hidden_size]
    if isinstance(found, Tensor) and found.numel() == wanted.numel():
        found = found.detach().reshape(wanted.shape)
        limit = 1024 * max(torch.finfo(found.dtype).eps, torch.finfo(wanted.dtype).eps)
        if found.dtype in (torch.bfloat16, torch.float16) or torch.is_autocast_enabled(found.device.type):
            limit = 0.1  # of states between -1 and 1, after many steps in a half type
        if torch.allclose(found.to(wanted.dtype), wanted, rtol=limit, atol=limit, equal_nan=True):
            return
    raise RuntimeError(f"SAL: the output of the layer {name!r} is not what {type(module).__name__} computes; a hook makes "
                       "another one of it. Leave the layer out")  # fmt: skip


@torch.no_grad()
def gated_cell_observation(
    module: nn.GRUCell | nn.LSTMCell, inputs: Tensor, state: Tensor | tuple[Tensor, Tensor] | None, output: Tensor | tuple
) -> Observation:
    """The same of one call of a cell."""
    dtype, lstm = module.weight_hh.dtype, isinstance(module, nn.LSTMCell)
    inputs = inputs.detach().to(dtype)
    inputs = inputs if inputs.ndim == 2 else inputs.unsqueeze(0)
    after = [one.detach().to(dtype).view(len(inputs), -1) for one in (output if lstm else [output])]
    before = [torch.zeros_like(one) for one in after] if state is None else [
        one.detach().to(dtype).reshape(len(inputs), -1) for one in (state if lstm else [state])]  # fmt: skip
    return torch.cat([*before, inputs], -1), torch.cat(after, -1)
