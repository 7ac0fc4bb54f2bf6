"""PyTorch's recurrent modules as plain step functions of their state, each with an analytic tangent step."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .maps import sequential_step
from .tangent_cells import CELLS

Step = Callable[..., Tensor]


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
    lstm, gru = isinstance(module, nn.LSTM | nn.LSTMCell), isinstance(module, nn.GRU | nn.GRUCell)
    update, push = CELLS["lstm" if lstm else "gru" if gru else "simple"]
    function = torch.relu if getattr(module, "nonlinearity", "tanh") == "relu" else torch.tanh
    n_layers, n_hidden = getattr(module, "num_layers", 1), module.hidden_size
    size = n_layers * n_hidden * (2 if lstm else 1)

    def parts_of(state: Tensor, inputs: Tensor | None) -> tuple[Tensor, ...]:
        refuse_unsupported(module, "rnn_step")
        if state.shape[-1] != size:
            raise ValueError(f"state: got {state.shape[-1]} numbers in the last dimension, expected {size} for {module}")
        n_in = module.input_size
        if inputs is not None and inputs.shape[-1] != n_in:
            raise ValueError(f"inputs: got {inputs.shape[-1]} numbers in the last dimension, expected {n_in} for {module}")
        return state.split(n_hidden, -1)

    def step(state: Tensor, inputs: Tensor | None = None) -> Tensor:
        parts = parts_of(state, inputs)
        hiddens, cells = [], []
        for layer in range(n_layers):
            cell = parts[n_layers + layer] if lstm else None
            inputs, cell = update(inputs, parts[layer], cell, _layer_parameters(module, layer), function)
            hiddens.append(inputs)
            cells.append(cell)
        return torch.cat(hiddens + cells if lstm else hiddens, -1)

    def tangent_step(state: Tensor, tangents: Tensor, inputs: Tensor | None = None) -> tuple[Tensor, Tensor]:
        parts, rows = parts_of(state, inputs), tangents.mT.split(n_hidden, -1)
        hiddens, cells, moved, moved_cells, change = [], [], [], [], None
        for layer in range(n_layers):
            cell, cell_rows = (parts[n_layers + layer], rows[n_layers + layer]) if lstm else (None, None)
            inputs, cell, change, cell_rows = push(inputs, parts[layer], cell, change, rows[layer], cell_rows,
                                                   _layer_parameters(module, layer), function)  # fmt: skip
            hiddens.append(inputs)
            cells.append(cell)
            moved.append(change)
            moved_cells.append(cell_rows)
        if lstm:
            hiddens, moved = hiddens + cells, moved + moved_cells
        # one layer, the common case: the product's own memory, whose columns are what LAPACK works on
        return torch.cat(hiddens, -1), (moved[0] if len(moved) == 1 else torch.cat(moved, -1)).mT

    def mean_square_sensitivity(state: Tensor, inputs: Tensor | None = None) -> Tensor:
        """Mean over a layer's neurons of s² in this step, (L, ...); the norm runs over the recurrent weights."""
        squares = []
        for layer, after in enumerate(step(state, inputs).split(n_hidden, -1)):
            slope = (after > 0).to(after.dtype) if function is torch.relu else 1 - after.square()
            norms = _layer_parameters(module, layer)[1].square().sum(-1)
            squares.append((slope.square() * norms).mean(-1))
        return torch.stack(squares)

    step.jvp = tangent_step
    if not (lstm or gru):
        step.mean_square_sensitivity = mean_square_sensitivity
    return step


def module_step(module: nn.RNNBase | nn.RNNCellBase | nn.Sequential) -> Step:
    """``step(state)`` or ``step(state, inputs)`` of a module of PyTorch, see ``rnn_step``; ``step.jvp`` is its tangent step."""
    if isinstance(module, nn.Sequential):
        return sequential_step(module)
    refuse_unsupported(module, "rnn_step")
    return _torch_step(module)
