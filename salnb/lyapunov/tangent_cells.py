"""One step of PyTorch's recurrent cells, for a state and for small changes of it, with derivatives taken by hand.

Every cell takes the input x, the hidden state h (and an LSTM's cell state c) with changes of them as rows, dx and dh (..., k, n),
and returns the new h (and c) and its changes. None stands for a change of zero. Sources: the formulas in PyTorch's
documentation of nn.RNN, nn.GRU and nn.LSTM, differentiated.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

Parameters = list[Tensor | None]  # weight_ih, weight_hh, bias_ih, bias_hh


def affine(inputs: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor | float:
    """W x + b, where an absent input counts as 0 and its bias still acts."""
    if inputs is None:
        return 0.0 if bias is None else bias
    return linear(inputs, weight, bias)


def _pushed(parameters: Parameters, dx: Tensor | None, dh: Tensor) -> Tensor:
    """Changes of all pre-activations together, W_hh dh + W_ih dx."""
    rows = dh @ parameters[1].mT
    return rows if dx is None else rows + dx @ parameters[0].mT


def simple_cell(x, h, c, parameters: Parameters, function):
    w_ih, w_hh, b_ih, b_hh = parameters
    return function(affine(h, w_hh, b_hh) + affine(x, w_ih, b_ih)), None


def simple_tangents(x, h, c, dx, dh, dc, parameters: Parameters, function):
    new, _ = simple_cell(x, h, c, parameters, function)
    slope = (new > 0).to(new.dtype) if function is torch.relu else 1 - new.square()
    return new, None, _pushed(parameters, dx, dh).mul_(slope.unsqueeze(-2)), None


def _gru_gates(x, h, parameters: Parameters):
    w_ih, w_hh, b_ih, b_hh = parameters
    from_hidden = affine(h, w_hh, b_hh).chunk(3, -1)
    from_input = affine(x, w_ih, b_ih)
    from_input = from_input.chunk(3, -1) if isinstance(from_input, Tensor) else (from_input,) * 3
    reset, update = (torch.sigmoid(a + b) for a, b in zip(from_hidden[:2], from_input[:2], strict=True))
    return reset, update, torch.tanh(from_input[2] + reset * from_hidden[2]), from_hidden[2]


def gru_cell(x, h, c, parameters: Parameters, function):
    _, update, candidate, _ = _gru_gates(x, h, parameters)
    return (1 - update) * candidate + update * h, None


def gru_tangents(x, h, c, dx, dh, dc, parameters: Parameters, function):
    """h' = (1 − z) n + z h with n = tanh(a + r q), where q is the candidate's recurrent part, which r multiplies."""
    gates = _gru_gates(x, h, parameters)
    new = (1 - gates[1]) * gates[2] + gates[1] * h
    reset, update, candidate, recurrent_part = (gate.unsqueeze(-2) for gate in gates)
    d_reset, d_update, d_recurrent_part = (dh @ parameters[1].mT).chunk(3, -1)
    d_candidate = 0.0
    if dx is not None:
        by_input = (dx @ parameters[0].mT).chunk(3, -1)
        d_reset, d_update, d_candidate = d_reset + by_input[0], d_update + by_input[1], by_input[2]
    d_candidate = d_candidate + recurrent_part * (reset * (1 - reset)) * d_reset + reset * d_recurrent_part
    d_candidate = (1 - candidate.square()) * d_candidate
    moved = (1 - update) * d_candidate + update * dh + (h.unsqueeze(-2) - candidate) * (update * (1 - update)) * d_update
    return new, None, moved, None


def _lstm_gates(x, h, parameters: Parameters):
    w_ih, w_hh, b_ih, b_hh = parameters
    input_gate, forget_gate, candidate, output_gate = (affine(h, w_hh, b_hh) + affine(x, w_ih, b_ih)).chunk(4, -1)
    return torch.sigmoid(input_gate), torch.sigmoid(forget_gate), torch.tanh(candidate), torch.sigmoid(output_gate)


def lstm_cell(x, h, c, parameters: Parameters, function):
    input_gate, forget_gate, candidate, output_gate = _lstm_gates(x, h, parameters)
    c = forget_gate * c + input_gate * candidate
    return output_gate * torch.tanh(c), c


def lstm_tangents(x, h, c, dx, dh, dc, parameters: Parameters, function):
    """c' = f c + i g and h' = o tanh c': both products differentiated term by term."""
    input_gate, forget_gate, candidate, output_gate = _lstm_gates(x, h, parameters)
    following = forget_gate * c + input_gate * candidate
    tanh_cell = torch.tanh(following)
    pushed = _pushed(parameters, dx, dh).chunk(4, -1)
    by_input_gate, by_forget_gate, by_candidate = (
        (factor * slope).unsqueeze(-2)
        for factor, slope in (
            (candidate, input_gate * (1 - input_gate)), (c, forget_gate * (1 - forget_gate)), (input_gate, 1 - candidate.square())
        )
    )  # fmt: skip
    d_cell = forget_gate.unsqueeze(-2) * dc + by_input_gate * pushed[0] + by_forget_gate * pushed[1] + by_candidate * pushed[2]
    by_cell, by_output_gate = output_gate * (1 - tanh_cell.square()), tanh_cell * output_gate * (1 - output_gate)
    d_hidden = by_cell.unsqueeze(-2) * d_cell + by_output_gate.unsqueeze(-2) * pushed[3]
    return output_gate * tanh_cell, following, d_hidden, d_cell


CELLS = {"simple": (simple_cell, simple_tangents), "gru": (gru_cell, gru_tangents), "lstm": (lstm_cell, lstm_tangents)}
