"""What the neurons of an nn.RNN saw: its hooks see the first layer's input and the last layer's output only."""

import torch
from torch import Tensor, nn

Observation = tuple[Tensor, Tensor]  # inputs (..., B, M) and pre-activation (..., B, N) of one call of one layer


def rnn_observations(module: nn.RNN, inputs: Tensor, state: Tensor | None, output: Tensor) -> list[Observation]:
    """Recurrent inputs h_{t-1} and pre-activations of every layer of an nn.RNN; all but the last layer are run again."""
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
        own = [getattr(module, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
               if module.bias or name.startswith("weight")]  # fmt: skip
        last = layer == module.num_layers - 1
        out = output if last else fused(inputs, start, own, module.bias, 1, 0.0, False, False, False)[0]
        before = torch.cat([start, out[:-1]])
        bias = own[2] + own[3] if module.bias else None
        found.append((before, nn.functional.linear(inputs, own[0], bias) + before @ own[1].mT))
        inputs = out
    return found
