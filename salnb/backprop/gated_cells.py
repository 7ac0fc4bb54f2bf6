"""Backpropagation through time for ReLU, GRU and LSTM networks, derived by hand as it is for the tanh network.

All gates of a time step are one product, of what the neurons read, [h | x | 1], with all their weights side by side. A GRU has
four parts there like an LSTM: of its candidate the recurrent half (with the bias), which the reset gate multiplies, stands apart
from the inputs' half. Forward, gates are written where their pre-activations were; backward, errors where the gates were.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..common.denormals import flushed_denormals
from ..networks.gated import CellRNN
from .gradient_profile import Loss, scalar_loss

through_sigmoid = torch.ops.aten.sigmoid_backward.grad_input  # grad · y (1 - y) in one pass over memory
through_tanh = torch.ops.aten.tanh_backward.grad_input  # grad · (1 - y²)


class Step(NamedTuple):
    """What the backward pass needs of a time step: what was read (R, B, N + n_in + 1), the gates, and c before and after."""

    read: Tensor
    gates: Tensor
    old: Tensor
    new: Tensor


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
    n, (answer, offset) = net.n, (net.readout.weight, net.readout.bias.unsqueeze(-2))
    with torch.no_grad():
        with flushed_denormals():
            weight = joined(net)
            transposed, steps, outputs = weight.mT.contiguous(), [], []
            given = torch.cat((inputs, inputs.new_ones((*inputs.shape[:-1], 1))), -1)
            state = memory = inputs.new_zeros((*inputs.shape[1:-1], n))  # the state before the first step is 0
            for x in given.unbind(0):
                read = torch.cat((state, x), -1)
                gates, old = torch.bmm(read, transposed), memory
                state, memory = forward(gates, state, memory)
                steps.append(Step(read, gates, old, memory))
                outputs.append(torch.baddbmm(offset, state, answer.mT))
        with torch.enable_grad():
            leaf = torch.stack(outputs).requires_grad_()
            (at_outputs,) = torch.autograd.grad(value := scalar_loss(loss(leaf, targets)), leaf)
        with flushed_denormals():
            of_weight, of_answer = torch.zeros_like(transposed), torch.zeros_like(answer)
            error, at_memory, recurrent = torch.zeros_like(state), torch.zeros_like(state), weight[..., :n].contiguous()
            asked = at_outputs.flatten(1).any(1).tolist()  # in most tasks only the last output counts
            for at, some, step in zip(reversed(at_outputs), reversed(asked), reversed(steps), strict=True):
                if some:
                    error.baddbmm_(at, answer)
                    of_answer.baddbmm_(at.mT, state)
                state, kept = step.read[..., :n], backward(step, error, at_memory)
                of_weight.baddbmm_(step.read.mT, step.gates)
                error = step.gates @ recurrent if kept is None else kept.baddbmm_(step.gates, recurrent)
    of_readout = {"readout.weight": of_answer, "readout.bias": at_outputs.sum((0, 2))}
    return value.detach(), {**parted(net, of_weight.mT), **of_readout}


def joined(net: CellRNN) -> Tensor:
    """Weights (R, parts · N, N + n_in + 1) by h, by x and by the constant 1; a GRU's candidate in two parts."""
    recurrent, bias, given = net.recurrent.weight, net.recurrent.bias.unsqueeze(-1), net.input.weight
    if net.cell == "gru":
        rest = given[:, : net.n]
        recurrent, bias = (torch.cat((part, torch.zeros_like(part[:, : net.n])), 1) for part in (recurrent, bias))
        given = torch.cat((given[:, : 2 * net.n], torch.zeros_like(rest), given[:, 2 * net.n :]), 1)
    return torch.cat((recurrent, given, bias), -1)


def parted(net: CellRNN, of_weight: Tensor) -> dict[str, Tensor]:
    """The gradients of a cell's own parameters, from that of the joined ones."""
    n, parts = net.n, net.recurrent.weight.shape[1]
    of_given = of_weight[..., n:-1]
    if net.cell == "gru":
        of_given = torch.cat((of_given[:, : 2 * n], of_given[:, 3 * n :]), 1)
    return {"input.weight": of_given.contiguous(), "recurrent.weight": of_weight[:, :parts, :n].contiguous(),
            "recurrent.bias": of_weight[:, :parts, -1].contiguous()}  # fmt: skip


def relu_forward(gates: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    return gates.relu_(), memory


def relu_backward(step: Step, error: Tensor, at_memory: Tensor) -> None:
    torch.ops.aten.threshold_backward.grad_input(error, step.gates, 0, grad_input=step.gates)


def gru_forward(gates: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Gates z (keep) and r (reset), what r multiplies (``recalled``), and the candidate."""
    n = state.shape[-1]
    keep, reset, recalled, candidate = gates.split(n, -1)
    gates[..., : 2 * n].sigmoid_()
    candidate.addcmul_(reset, recalled).tanh_()
    return torch.lerp(candidate, state, keep), memory


def gru_backward(step: Step, error: Tensor, at_memory: Tensor) -> Tensor:
    n = error.shape[-1]
    keep, reset, recalled, candidate = step.gates.split(n, -1)
    at_keep, kept = (step.read[..., :n] - candidate).mul_(error), error * keep
    through = error - kept
    through_tanh(through, candidate, grad_input=candidate)
    at_reset = candidate * recalled
    torch.mul(candidate, reset, out=recalled)
    through_sigmoid(at_keep, keep, grad_input=keep)
    through_sigmoid(at_reset, reset, grad_input=reset)
    return kept


def lstm_forward(gates: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Gates f (forget), i (write) and o (show) and the candidate; ``memory`` is the cell's own state c."""
    n = state.shape[-1]
    forget, write, show, candidate = gates.split(n, -1)
    gates[..., : 3 * n].sigmoid_()
    candidate.tanh_()
    memory = (forget * memory).addcmul_(write, candidate)
    return memory.tanh().mul_(show), memory


def lstm_backward(step: Step, error: Tensor, at_memory: Tensor) -> None:
    forget, write, show, candidate = step.gates.split(error.shape[-1], -1)
    shown = step.new.tanh()
    at_show, at_shown = error * shown, error * show
    at_memory.add_(through_tanh(at_shown, shown, grad_input=at_shown))
    at_forget, at_write, at_candidate = at_memory * step.old, at_memory * candidate, at_memory * write
    at_memory.mul_(forget)
    for at, gate in ((at_forget, forget), (at_write, write), (at_show, show)):
        through_sigmoid(at, gate, grad_input=gate)
    through_tanh(at_candidate, candidate, grad_input=candidate)


CELL_STEPS = {"relu": (relu_forward, relu_backward), "gru": (gru_forward, gru_backward), "lstm": (lstm_forward, lstm_backward)}
