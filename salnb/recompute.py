"""What no single hook sees: the states inside an nn.RNN, and sums of several layers' outputs."""

import torch
from torch import Tensor, nn

Observation = tuple[Tensor, Tensor]  # inputs (..., B, M) and pre-activation (..., B, N) of one call; nn.RNN: output


def rnn_observations(module: nn.RNN, inputs: Tensor, state: Tensor | None, output: Tensor) -> list[Observation]:
    """Recurrent inputs h_{t-1} and outputs h_t of every layer of an nn.RNN, from which the slopes follow as from U.

    All but the last layer are run again. Both are views of one copy, since the model may change its output in place.
    """
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
        states = torch.cat([start, out])
        before = states[:-1]
        if out.dtype != own[1].dtype and module.nonlinearity == "tanh":  # autocast: 1 - h² is lost in 8 bits where h is near 1
            pre = nn.functional.linear(inputs, own[0], own[2] + own[3] if module.bias else None) + before @ own[1].mT
            found.append((before, torch.tanh(pre.to(own[1].dtype))))
        else:
            found.append((before, states[1:]))
        inputs = out
    return found


def add_outputs(calls: list[tuple], added: list[list[Tensor]], name: str) -> list[tuple]:
    """The calls of a layer with the outputs of other layers added to its pre-activations, U = b(h) + a(x).

    The k-th call of the one belongs to the k-th of the other; a layer that took the whole sequence at once, as is common for
    the input, counts as one call per time step.
    """
    for outputs in added:
        if len(outputs) == 1 and len(calls) > 1 and outputs[0].ndim > 2 and len(outputs[0]) == len(calls):
            outputs = list(outputs[0].unbind(0))
        if len(outputs) != len(calls):
            raise RuntimeError(
                f"SAL: {name} ran {len(calls)} times in this pass, but a layer whose output is added to its own ran "
                f"{len(outputs)} times; their calls must come in pairs"
            )
        calls = [(x, u + other, *rest) for (x, u, *rest), other in zip(calls, outputs, strict=True)]
        # The sum is our own tensor: nothing outside can change it, so its version starts anew.
        calls = [(x, u, seen, None if u.is_inference() else u._version) for x, u, seen, _ in calls]
    return calls
