"""Recurrent modules of this library and of PyTorch as functions from one state to the next, for Lyapunov exponents."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..lyapunov.steps import Step, module_step
from ..lyapunov.tangents import Product, single_tangents


def replica_step(module: nn.Module, weights: list[Tensor] | None = None) -> Callable[..., Tensor]:
    """The step function of a ``TanhRNN``. It merges all batch dimensions into one, as the network's layers expect.

    ``weights``: fixed recurrent weights. Without them every call reads the network's own, so that the step follows learning.
    With fixed weights, the tangents that a step returns are valid until the step after the next one, which writes over them.
    """
    replicas, (first, last) = module.replicas, (module.recurrent[0], module.n_hidden[-1])
    products = None if weights is None else [Product(weight) for weight in weights]

    one = first.weight.new_ones(())

    def fold(tensor: Tensor, name: str) -> Tensor:
        if name == "inputs" and tensor.ndim == 1:  # one input for all replicas and samples
            return tensor.unsqueeze(0)
        if tuple(tensor.shape[: len(replicas)]) != replicas or tensor.ndim <= len(replicas):
            raise ValueError(
                f"{name}: got shape {tuple(tensor.shape)}, expected {replicas} replicas first, then batch, then units"
            )
        return tensor.reshape(*replicas, -1, tensor.shape[-1])

    def drive_of(inputs: Tensor | None) -> Tensor | None:
        return None if inputs is None or not module.n_in else module.input(fold(inputs, "inputs"))

    def weights_now() -> list[Tensor]:
        return [layer.connected_weight() for layer in module.recurrent] if weights is None else weights

    def step(state: Tensor, inputs: Tensor | None = None) -> Tensor:
        if state.shape[-1] != last:
            raise ValueError(f"state: got {state.shape[-1]} units, expected {last}")
        return module.step(fold(state, "state"), drive_of(inputs), weights_now()).reshape(state.shape)

    def tangent_step(state: Tensor, tangents: Tensor, inputs: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The chain rule by hand, δ' = f'(U) (W δ), layer after layer: much faster than automatic differentiation.

        The product for the state is separate from that for the tangents. So the trajectory is to the last bit that of ``step``,
        for any number of tangents; in a chaotic network another rounding error leads to another trajectory.
        """
        hidden, drive, k = fold(state, "state"), drive_of(inputs), tangents.shape[-1]
        factors = None if products is None or replicas else getattr(tangents, "factors", None)
        *lead, batch, n = hidden.shape
        # all tangents are rows of one product, so that W is read once
        rows = tangents.reshape(*lead, batch * k, n) if k == 1 else tangents.reshape(*lead, batch, n, k).mT.flatten(-3, -2)
        for i, (layer, weight) in enumerate(zip(module.recurrent, weights_now(), strict=True)):
            hidden = layer.forward(hidden, None if i else drive, weight).tanh_()
            if products is None:
                rows = rows @ weight.mT
            else:
                rows = products[i](rows) if i or factors is None else products[i].triangular(*factors)
            slope = torch.addcmul(one, hidden, hidden, value=-1)
            _ = rows.mul_(slope) if k == 1 else rows.view(*lead, batch, k, -1).mul_(slope.unsqueeze(-2))
        moved = rows if k == 1 else rows.view(*lead, batch, k, n).mT
        return hidden.reshape(state.shape), moved.reshape(tangents.shape)

    def mean_square_sensitivity(state: Tensor, inputs: Tensor | None = None) -> Tensor:
        """Mean over a layer's neurons of s² in this step, (L, ...)."""
        hidden, drive, squares = fold(state, "state"), drive_of(inputs), []
        for layer, weight in zip(module.recurrent, weights_now(), strict=True):
            hidden = torch.tanh(layer(hidden, drive if layer is first else None, weight))
            squares.append(((1 - hidden.square()).square() * weight.square().sum(-1).unsqueeze(-2)).mean(-1))
        return torch.stack(squares).reshape(-1, *state.shape[:-1])

    step.jvp, step.mean_square_sensitivity = tangent_step, mean_square_sensitivity
    if weights is not None and len(weights) == 1 and len(replicas) < 2:
        add = torch.baddbmm if replicas else torch.addmm  # the same function as in the layer, for the same rounding
        bias, columns = first.bias.detach().unsqueeze(-2), weights[0].mT
        bias = bias if replicas else bias.squeeze(0)
        step.jvp_many = single_tangents(products[0].columns, read=lambda state, out: add(bias, state, columns, out=out))
    # For a run without learning: the product of weights and mask is then computed once and not at every step.
    step.frozen = lambda: replica_step(module, [weight.detach() for weight in weights_now()])
    return step


def rnn_step(module: nn.Module) -> Step:
    r"""A recurrent module as a plain function from one state to the next.

    .. math:: h_{t+1} = \text{step}(h_t, x_t)

    Args:
        module: ``TanhRNN``, ``nn.RNN``, ``nn.GRU``, ``nn.LSTM`` or one of their ``Cell`` forms; or an ``nn.Sequential``
            with as many outputs as inputs, as a map of its input. The step uses the weights as they are when it is called.

    Returns:
        ``step(state)`` or ``step(state, inputs)`` with state (\*replicas, \*batch, N) -> next state of the same shape,
        equal to the module's own forward to 1e-6. Missing inputs count as 0. The state of several layers is
        their states one after the other; that of an LSTM is all h, then all c. ``step.jvp`` is the analytic tangent step.

    Raises:
        TypeError: a module that is not recurrent. ValueError: bidirectional or projected. RuntimeError: dropout in training mode.

    Example:
        >>> step = rnn_step(torch.nn.GRU(3, 5))
        >>> step(torch.zeros(7, 5), torch.ones(7, 3)).shape
        torch.Size([7, 5])
    """
    if isinstance(module, nn.RNNBase | nn.RNNCellBase | nn.Sequential):
        return module_step(module)
    if isinstance(getattr(module, "recurrent", None), nn.ModuleList) and hasattr(module, "step"):
        return replica_step(module)
    raise TypeError(f"module: got {type(module).__name__}, expected TanhRNN, nn.RNN, nn.GRU, nn.LSTM, one of their "
                    "cells, or nn.Sequential")
