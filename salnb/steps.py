"""Recurrent modules as plain step functions of their state, the form in which exponents are computed."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .replica_steps import replica_step

Step = Callable[..., Tensor]


def _affine(inputs: Tensor | None, weight: Tensor, bias: Tensor | None) -> Tensor | float:
    """W x + b, where an absent input counts as 0 and its bias still acts."""
    if inputs is None:
        return 0.0 if bias is None else bias
    return nn.functional.linear(inputs, weight, bias)


def _simple_cell(inputs, hidden, cell, parameters, function):
    w_ih, w_hh, b_ih, b_hh = parameters
    return function(_affine(hidden, w_hh, b_hh) + _affine(inputs, w_ih, b_ih)), None


def _gru_cell(inputs, hidden, cell, parameters, function):
    w_ih, w_hh, b_ih, b_hh = parameters
    from_hidden = _affine(hidden, w_hh, b_hh).chunk(3, -1)
    from_input = _affine(inputs, w_ih, b_ih)
    from_input = from_input.chunk(3, -1) if isinstance(from_input, Tensor) else (from_input,) * 3
    reset, update = (torch.sigmoid(a + b) for a, b in zip(from_hidden[:2], from_input[:2], strict=True))
    candidate = torch.tanh(from_input[2] + reset * from_hidden[2])
    return (1 - update) * candidate + update * hidden, None


def _lstm_cell(inputs, hidden, cell, parameters, function):
    w_ih, w_hh, b_ih, b_hh = parameters
    gates = (_affine(hidden, w_hh, b_hh) + _affine(inputs, w_ih, b_ih)).chunk(4, -1)
    keep_in, forget, keep_out = (torch.sigmoid(gates[i]) for i in (0, 1, 3))
    cell = forget * cell + keep_in * torch.tanh(gates[2])
    return keep_out * torch.tanh(cell), cell


def _layer_parameters(module: nn.Module, layer: int) -> list[Tensor | None]:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    suffix = f"_l{layer}" if isinstance(module, nn.RNNBase) else ""
    return [getattr(module, name + suffix, None) for name in names]


def refuse_unsupported(module: nn.Module, purpose: str) -> None:
    """Says in words which options of nn.RNN, GRU and LSTM have no single state going forward in time."""
    if getattr(module, "bidirectional", False):
        raise ValueError(f"{purpose}: got a bidirectional {type(module).__name__}; its backward half runs against time, "
                         "so there is no step from one state to the next; use bidirectional=False")  # fmt: skip
    if getattr(module, "proj_size", 0):
        raise ValueError(f"{purpose}: got proj_size={module.proj_size}; projected states are not supported, use proj_size=0")
    if module.training and getattr(module, "dropout", 0) and getattr(module, "num_layers", 1) > 1:
        raise RuntimeError(
            f"{purpose}: got dropout={module.dropout} in training mode, which makes each step another random map; "
            "call .eval() or set dropout=0"
        )


def _torch_step(module: nn.Module) -> Step:
    lstm = isinstance(module, nn.LSTM | nn.LSTMCell)
    gru = isinstance(module, nn.GRU | nn.GRUCell)
    update = _lstm_cell if lstm else _gru_cell if gru else _simple_cell
    function = torch.relu if getattr(module, "nonlinearity", "tanh") == "relu" else torch.tanh
    n_layers, n_hidden = getattr(module, "num_layers", 1), module.hidden_size
    size = n_layers * n_hidden * (2 if lstm else 1)

    def step(state: Tensor, inputs: Tensor | None = None) -> Tensor:
        refuse_unsupported(module, "rnn_step")
        if state.shape[-1] != size:
            raise ValueError(f"state: got {state.shape[-1]} numbers in the last dimension, expected {size} for {module}")
        parts = state.split(n_hidden, -1)
        hiddens, cells = [], []
        for layer in range(n_layers):
            cell = parts[n_layers + layer] if lstm else None
            inputs, cell = update(inputs, parts[layer], cell, _layer_parameters(module, layer), function)
            hiddens.append(inputs)
            cells.append(cell)
        return torch.cat(hiddens + cells if lstm else hiddens, -1)

    return step


def rnn_step(module: nn.Module) -> Step:
    r"""A recurrent module as a plain function from one state to the next.

    .. math:: h_{t+1} = \text{step}(h_t, x_t)

    Args:
        module: ``TanhRNN``, ``nn.RNN``, ``nn.GRU``, ``nn.LSTM`` or one of their ``Cell`` forms. The step always uses the
            module's weights as they are at the time of the call.

    Returns:
        ``step(state)`` or ``step(state, inputs)`` with state (\*replicas, \*batch, N) -> next state of the same shape,
        equal to the module's own forward to 1e-6. Without inputs they count as 0. Several layers: the layers' states
        one after the other; LSTM: all h, then all c. ``step.jvp``, where there is one, is the analytic tangent step.

    Raises:
        TypeError: a module that is not recurrent. ValueError: bidirectional or projected. RuntimeError: dropout in training mode.

    Example:
        >>> step = rnn_step(torch.nn.GRU(3, 5))
        >>> step(torch.zeros(7, 5), torch.ones(7, 3)).shape
        torch.Size([7, 5])
    """
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        refuse_unsupported(module, "rnn_step")
        return _torch_step(module)
    if isinstance(getattr(module, "recurrent", None), nn.ModuleList) and hasattr(module, "step"):
        return replica_step(module)
    raise TypeError(f"module: got {type(module).__name__}, expected TanhRNN, nn.RNN, nn.GRU, nn.LSTM or one of their cells")
