"""Backpropagation through time for ReLU, GRU and LSTM networks, derived by hand as it is for the tanh network.

All gates of a time step come from one product of [h | x | 1] (state, inputs and the constant 1) with all weights side by side.
For a GRU this product has four parts, as for an LSTM. Two of them belong to its candidate: the recurrent part with the bias,
which the reset gate multiplies, and the part of the inputs. To save memory, the forward pass writes the gates over their
pre-activations, and the backward pass writes the errors over the gates.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..common.denormals import flushed_denormals
from ..networks.gated import CellRNN
from .gradient_profile import Loss, scalar_loss

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input  # error · y (1 - y), in one pass over memory
tanh_backward = torch.ops.aten.tanh_backward.grad_input  # error · (1 - y²)


class Step(NamedTuple):
    """What the backward pass needs from a time step: [h | x | 1] (R, B, N + n_in + 1), the gates, and c before and after."""

    read: Tensor
    gates: Tensor
    cell_before: Tensor
    cell_after: Tensor


def cell_gradients(net: CellRNN, inputs: Tensor, targets: Tensor, loss: Loss) -> tuple[Tensor, dict[str, Tensor]]:
    r"""The loss, detached, and {parameter name: gradient}, equal to automatic differentiation, at a fraction of its cost.

    .. math:: e_t = \Big(\frac{\partial h_t}{\partial u_t}\Big)^\top \Big(\frac{\partial\,\text{loss}}{\partial h_t} +
        W^\top e_{t+1}\Big), \qquad \nabla_W = \sum_t e_t\, h_{t-1}^\top, \qquad u_t = W h_{t-1} + W_{in} x_t + \theta

    Args:
        net: R networks of one kind. inputs: (T, R, B, n_in). targets: what ``loss(outputs, targets) -> scalar`` takes.

    Source: Hochreiter and Schmidhuber 1997 (LSTM); Cho et al. 2014 (GRU); the chain rule.

    Example:
        >>> net = CellRNN("gru", 1, 8, 2, scale=5, replicas=3)
        >>> cell_gradients(net, torch.zeros(5, 3, 4, 1), torch.zeros(5, 3, 4, 2), torch.nn.functional.mse_loss)[1].keys()
        dict_keys(['input.weight', 'recurrent.weight', 'recurrent.bias', 'readout.weight', 'readout.bias'])
    """
    forward, backward = CELL_STEPS[net.cell]
    n, (readout, readout_bias) = net.n, (net.readout.weight, net.readout.bias.unsqueeze(-2))
    with torch.no_grad():
        with flushed_denormals():
            weight = joined_weights(net)
            transposed, steps, outputs = weight.mT.contiguous(), [], []
            inputs_and_one = torch.cat((inputs, inputs.new_ones((*inputs.shape[:-1], 1))), -1)
            state = cell = inputs.new_zeros((*inputs.shape[1:-1], n))  # the state before the first step is 0
            for x in inputs_and_one.unbind(0):
                read = torch.cat((state, x), -1)
                gates, cell_before = torch.bmm(read, transposed), cell
                state, cell = forward(gates, state, cell)
                steps.append(Step(read, gates, cell_before, cell))
                outputs.append(torch.baddbmm(readout_bias, state, readout.mT))
        with torch.enable_grad():
            leaf = torch.stack(outputs).requires_grad_()
            (at_outputs,) = torch.autograd.grad(value := scalar_loss(loss(leaf, targets)), leaf)
        with flushed_denormals():
            of_weight, of_readout_weight = torch.zeros_like(transposed), torch.zeros_like(readout)
            error, at_cell, recurrent = torch.zeros_like(state), torch.zeros_like(state), weight[..., :n].contiguous()
            has_error = at_outputs.flatten(1).any(1).tolist()  # in most tasks the loss depends on the last output alone
            for at_output, counts, step in zip(reversed(at_outputs), reversed(has_error), reversed(steps), strict=True):
                if counts:
                    error.baddbmm_(at_output, readout)
                    of_readout_weight.baddbmm_(at_output.mT, state)
                state, direct = step.read[..., :n], backward(step, error, at_cell)
                of_weight.baddbmm_(step.read.mT, step.gates)
                error = step.gates @ recurrent if direct is None else direct.baddbmm_(step.gates, recurrent)
    of_readout = {"readout.weight": of_readout_weight, "readout.bias": at_outputs.sum((0, 2))}
    return value.detach(), {**separate_gradients(net, of_weight.mT), **of_readout}


def joined_weights(net: CellRNN) -> Tensor:
    """All weights (R, parts · N, N + n_in + 1), for h, for x and for the constant 1; a GRU's candidate has two parts."""
    recurrent, bias, input_weight = net.recurrent.weight, net.recurrent.bias.unsqueeze(-1), net.input.weight
    if net.cell == "gru":
        zeros = torch.zeros_like(input_weight[:, : net.n])
        recurrent, bias = (torch.cat((part, torch.zeros_like(part[:, : net.n])), 1) for part in (recurrent, bias))
        input_weight = torch.cat((input_weight[:, : 2 * net.n], zeros, input_weight[:, 2 * net.n :]), 1)
    return torch.cat((recurrent, input_weight, bias), -1)


def separate_gradients(net: CellRNN, of_weight: Tensor) -> dict[str, Tensor]:
    """The gradient of each parameter of the network, from the gradient of the joined weights."""
    n, parts = net.n, net.recurrent.weight.shape[1]
    of_input = of_weight[..., n:-1]
    if net.cell == "gru":
        of_input = torch.cat((of_input[:, : 2 * n], of_input[:, 3 * n :]), 1)
    return {"input.weight": of_input.contiguous(), "recurrent.weight": of_weight[:, :parts, :n].contiguous(),
            "recurrent.bias": of_weight[:, :parts, -1].contiguous()}  # fmt: skip


# A forward function returns the next h and the next c (only an LSTM changes c). A backward function gets the error at h and, for
# an LSTM, the error at c, which it changes in place. It returns the part of the error that reaches the earlier h not through the
# weights, or None where there is no such part.
def relu_forward(gates: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    return gates.relu_(), cell


def relu_backward(step: Step, error: Tensor, at_cell: Tensor) -> None:
    torch.ops.aten.threshold_backward.grad_input(error, step.gates, 0, grad_input=step.gates)


def gru_forward(gates: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """``gates``: the update gate z, the reset gate r, the candidate's recurrent part, which r multiplies, and the candidate."""
    n = state.shape[-1]
    update, reset, recurrent_part, candidate = gates.split(n, -1)
    gates[..., : 2 * n].sigmoid_()
    candidate.addcmul_(reset, recurrent_part).tanh_()
    return torch.lerp(candidate, state, update), cell


def gru_backward(step: Step, error: Tensor, at_cell: Tensor) -> Tensor:
    n = error.shape[-1]
    update, reset, recurrent_part, candidate = step.gates.split(n, -1)
    at_update, direct = (step.read[..., :n] - candidate).mul_(error), error * update
    at_candidate = error - direct
    tanh_backward(at_candidate, candidate, grad_input=candidate)
    at_reset = candidate * recurrent_part
    torch.mul(candidate, reset, out=recurrent_part)
    sigmoid_backward(at_update, update, grad_input=update)
    sigmoid_backward(at_reset, reset, grad_input=reset)
    return direct


def lstm_forward(gates: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """``gates``: the forget gate f, the input gate i, the output gate o and the candidate; ``cell`` is c."""
    n = state.shape[-1]
    forget_gate, input_gate, output_gate, candidate = gates.split(n, -1)
    gates[..., : 3 * n].sigmoid_()
    candidate.tanh_()
    cell = (forget_gate * cell).addcmul_(input_gate, candidate)
    return cell.tanh().mul_(output_gate), cell


def lstm_backward(step: Step, error: Tensor, at_cell: Tensor) -> None:
    forget_gate, input_gate, output_gate, candidate = step.gates.split(error.shape[-1], -1)
    tanh_cell = step.cell_after.tanh()
    at_output, at_tanh_cell = error * tanh_cell, error * output_gate
    at_cell.add_(tanh_backward(at_tanh_cell, tanh_cell, grad_input=at_tanh_cell))
    at_forget, at_input, at_candidate = at_cell * step.cell_before, at_cell * candidate, at_cell * input_gate
    at_cell.mul_(forget_gate)
    for at_gate, gate in ((at_forget, forget_gate), (at_input, input_gate), (at_output, output_gate)):
        sigmoid_backward(at_gate, gate, grad_input=gate)
    tanh_backward(at_candidate, candidate, grad_input=candidate)


CELL_STEPS = {"relu": (relu_forward, relu_backward), "gru": (gru_forward, gru_backward), "lstm": (lstm_forward, lstm_backward)}
