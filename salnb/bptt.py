"""Backpropagation through time, derived by hand: readable, equal to automatic differentiation, replicas included."""

import torch
from torch import Tensor

from .layers import ReplicaLinear
from .networks import TanhRNN
from .profile import Loss, gradient_profile, scalar_loss

__all__ = ["backprop_through_time", "gradient_profile"]


def backprop_through_time(
    rnn: TanhRNN, inputs: Tensor, targets: Tensor, loss: Loss, *, window: int | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""The gradient of a recurrent network, derived by hand: errors travel back from the last time step to the first.

    .. math:: e_t = (1 - h_t^2) \odot \Big(\frac{\partial \text{loss}}{\partial h_t} + W^\top e_{t+1}\Big), \qquad
        \nabla_W = \sum_t e_t\, h_{t-1}^\top

    Args:
        rnn: a ``TanhRNN``, flat or a ring, with any replicas.
        inputs: (T, B, n_in) or (T, ..., B, n_in). targets: what ``loss(outputs, targets) -> scalar`` takes.
        window: truncated form: no error crosses the borders at t = window, 2 window, ..., as if the state were detached there.

    Returns:
        The loss, detached, and {parameter name: gradient}, equal to automatic differentiation.

    Raises:
        TypeError: another kind of model. ValueError: a window below 1, a loss that is not a scalar.

    Source: Rumelhart, Hinton and Williams 1986; Werbos 1990.

    Example:
        >>> rnn = TanhRNN(1, 8, 1, gain=1.0)
        >>> value, gradients = backprop_through_time(rnn, torch.ones(5, 2, 1), torch.zeros(5, 2, 1), torch.nn.functional.mse_loss)
        >>> sorted(gradients)
        ['input.weight', 'readout.bias', 'readout.weight', 'recurrent.0.bias', 'recurrent.0.weight']
    """
    if not isinstance(rnn, TanhRNN):
        raise TypeError(f"rnn: got {type(rnn).__name__}, expected TanhRNN; other modules learn through autograd")
    if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
        raise ValueError(f"window: got {window!r}, expected None or an integer >= 1")
    with torch.no_grad():
        inputs, befores, states = _run_forward(rnn, inputs)
        outputs = rnn.readout(states[-1])
    with torch.enable_grad():
        leaf = outputs.detach().requires_grad_()
        value = scalar_loss(loss(leaf, targets))
        (at_outputs,) = torch.autograd.grad(value, leaf)
    with torch.no_grad():
        errors = _run_backward(rnn, at_outputs @ rnn.readout.weight, states, window)
        gradients = _outer_products(rnn, inputs, befores, states, errors, at_outputs)
    return value.detach(), gradients


def _run_forward(rnn: TanhRNN, inputs: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Inputs with replicas, and for every layer of the ring what it read and what it became, (T, ..., B, N) each."""
    shape = (*rnn.replicas, inputs.shape[-2], rnn.n_hidden[-1])
    if inputs.ndim == 3:  # shared by the replicas
        inputs = inputs.reshape(len(inputs), *[1] * len(rnn.replicas), *inputs.shape[1:])
    inputs = inputs.expand(len(inputs), *rnn.replicas, *inputs.shape[-2:])
    state, weights = rnn.readout.weight.new_zeros(shape), [layer.connected_weight() for layer in rnn.recurrent]
    drives = rnn.input(inputs).unbind(0) if rnn.n_in else [None] * len(inputs)
    befores: list[list[Tensor]] = [[] for _ in weights]
    states: list[list[Tensor]] = [[] for _ in weights]
    for drive in drives:
        for i, (layer, weight) in enumerate(zip(rnn.recurrent, weights, strict=True)):
            befores[i].append(state)
            state = torch.tanh(layer(state, None if i else drive, weight))
            states[i].append(state)
    return inputs, [torch.stack(b) for b in befores], [torch.stack(s) for s in states]


def _run_backward(rnn: TanhRNN, at_states: Tensor, states: list[Tensor], window: int | None) -> list[Tensor]:
    """The error e = ∂loss/∂U of every layer at every time step, (T, ..., B, N) each, from the last step to the first."""
    slopes = [(1 - s.square()).unbind(0) for s in states]
    weights = [layer.connected_weight() for layer in rnn.recurrent]
    errors: list[list[Tensor]] = [[None] * len(at_states) for _ in states]
    from_later = torch.zeros_like(at_states[0])
    for t in reversed(range(len(at_states))):
        error = at_states[t] + from_later
        for i in reversed(range(len(weights))):
            errors[i][t] = error * slopes[i][t]
            error = errors[i][t] @ weights[i]
        cut = window is not None and t % window == 0
        from_later = torch.zeros_like(error) if cut else error
    return [torch.stack(e) for e in errors]


def _outer_products(rnn, inputs, befores, states, errors, at_outputs) -> dict[str, Tensor]:
    """Every weight's gradient is a sum over time and batch of error times input: one product per layer."""

    def fold(tensor: Tensor) -> Tensor:  # (T, ..., B, N) -> (..., T·B, N)
        return tensor.movedim(0, -3).flatten(-3, -2)

    gradients = {"input.weight": fold(errors[0]).mT @ fold(inputs.to(errors[0].dtype))}
    pairs = {f"recurrent.{i}": (errors[i], befores[i]) for i in range(len(errors))}
    for name, (error, before) in {**pairs, "readout": (at_outputs, states[-1])}.items():
        layer: ReplicaLinear = rnn.get_submodule(name)
        gradient = fold(error).mT @ fold(before)
        gradients[f"{name}.weight"] = gradient if layer.mask is None else gradient * layer.mask
        gradients[f"{name}.bias"] = fold(error).sum(-2)
    return gradients
