"""Backpropagation through time for a tanh network, derived by hand; its gradients equal those of automatic differentiation."""

from numbers import Integral

import torch
from torch import Tensor

from ..common.denormals import flushed_denormals
from ..networks.linear import ReplicaLinear
from ..networks.recurrent import TanhRNN
from .gradient_profile import Loss, scalar_loss
from .small_replicas import by_step, is_small, run_backward, run_forward
from .unrolled import affine, merged, to_rows, to_steps, with_replicas


def backprop_through_time(
    rnn: TanhRNN, inputs: Tensor, targets: Tensor, loss: Loss, *, window: int | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""The gradient of a recurrent network, derived by hand: errors travel back from the last time step to the first.

    .. math:: e_t = (1 - h_t^2) \odot \Big(\frac{\partial \text{loss}}{\partial h_t} + W^\top e_{t+1}\Big), \qquad
        \nabla_W = \sum_t e_t\, h_{t-1}^\top

    Args:
        rnn: a ``TanhRNN``, flat or a ring, with any replicas.
        inputs: (T, B, n_in) or (T, ..., B, n_in). targets: what ``loss(outputs, targets) -> scalar`` takes.
        window: for truncated backpropagation: no error passes the time steps t = window, 2 window, ..., as if the state were
            detached there. None: no truncation.

    Returns:
        The loss, detached, and {parameter name: gradient}, equal to automatic differentiation.

    Raises:
        TypeError: another kind of model. ValueError: inputs of another shape, a window below 1, a loss that is not a scalar.

    Source: Rumelhart, Hinton and Williams 1986; Werbos 1990.

    Example:
        >>> rnn = TanhRNN(1, 8, 1, gain=1.0)
        >>> value, gradients = backprop_through_time(rnn, torch.ones(5, 2, 1), torch.zeros(5, 2, 1), torch.nn.functional.mse_loss)
        >>> sorted(gradients)
        ['input.weight', 'readout.bias', 'readout.weight', 'recurrent.0.bias', 'recurrent.0.weight']
    """
    if not isinstance(rnn, TanhRNN):
        raise TypeError(f"rnn: got {type(rnn).__name__}, expected TanhRNN; other modules learn through autograd")
    if window is not None and (isinstance(window, bool) or not isinstance(window, Integral) or window < 1):
        raise ValueError(f"window: got {window!r}, expected None or an integer >= 1")
    replicas, exact = rnn.replicas, torch.autocast(inputs.device.type, enabled=False)  # it does not convert products in place
    with torch.inference_mode(False), torch.no_grad(), exact:  # tensors of inference mode could not be differentiated below
        inputs = with_replicas(inputs, rnn)
        small = is_small(rnn, inputs.shape[-2])
        with flushed_denormals():
            if small:
                x = by_step(inputs, replicas)
                states, outputs = run_forward(rnn, x)
            else:
                x = to_rows(inputs, replicas)
                states = _run_forward(rnn, x, inputs.shape[0], inputs.shape[-2])
                outputs = affine(rnn.readout.bias, states[-1].flatten(-3, -2), rnn.readout, replicas)
                outputs = outputs.unflatten(-2, states[-1].shape[-3:-1]).movedim(-3, 0)
        with torch.enable_grad():  # in the caller's loss function denormal numbers are treated as the caller wants
            leaf = outputs.reshape(len(outputs), *replicas, *outputs.shape[-2:]).contiguous().detach().requires_grad_()
            value = scalar_loss(loss(leaf, targets))
            (at_outputs,) = torch.autograd.grad(value, leaf)
        with flushed_denormals():
            if small:
                gradients = run_backward(rnn, x, states, by_step(at_outputs, replicas), window)
            else:
                at_outputs = to_rows(at_outputs, replicas)
                errors = _run_backward(rnn, at_outputs, states, window)
                gradients = _outer_products(rnn, x, states, errors, at_outputs)
    return value.detach(), gradients


def _run_forward(rnn: TanhRNN, x: Tensor, n_steps: int, batch: int) -> list[Tensor]:
    """The states of every layer of the ring. Inputs and biases are added first, for all steps; the states follow step by step."""
    drives = [affine(rnn.recurrent[0].bias, x, rnn.input, rnn.replicas)]
    for layer in rnn.recurrent[1:]:
        bias = merged(layer.bias, rnn.replicas).unsqueeze(-2)
        # Always a copy: the code below works in place, and the bias belongs to the network.
        drives.append(bias.expand(*drives[0].shape[:-1], -1).clone())
    states = [to_steps(drive, n_steps, batch) for drive in drives]
    # A contiguous copy of the transposed W and not a view: it makes products of small matrices up to twice as fast.
    weights = [merged(layer.connected_weight(), rnn.replicas).mT.contiguous() for layer in rnn.recurrent]
    add_product_ = Tensor.baddbmm_ if rnn.replicas else Tensor.addmm_
    before = None  # the state before the first step is 0
    for layers in zip(*(s.unbind(-3) for s in states), strict=True):
        for state, weight in zip(layers, weights, strict=True):
            if before is not None:
                add_product_(state, before, weight)
            before = state.tanh_()
    return states


def _run_backward(rnn: TanhRNN, at_outputs: Tensor, states: list[Tensor], window: int | None) -> list[Tensor]:
    """The error e = ∂loss/∂U of every layer at every time step, from the last step to the first, in place."""
    weights = [merged(layer.connected_weight(), rnn.replicas) for layer in rnn.recurrent]
    from_outputs = at_outputs @ merged(rnn.readout.weight, rnn.replicas)
    errors = [*(torch.zeros_like(s) for s in states[:-1]), to_steps(from_outputs, *states[-1].shape[-3:-1])]
    add_product_ = Tensor.baddbmm_ if rnn.replicas else Tensor.addmm_
    pairs = [list(zip(e.unbind(-3), s.unbind(-3), strict=True)) for e, s in zip(errors, states, strict=True)]
    one, slopes = states[0].new_ones(()), [torch.empty_like(s.select(-3, 0)) for s in states]
    later = None  # the error of the layer that reads this one: the next layer, or the first layer at the next time step
    for t in reversed(range(len(pairs[0]))):
        for i in reversed(range(len(pairs))):
            error, state = pairs[i][t]
            if later is not None:
                add_product_(error, later, weights[(i + 1) % len(weights)])
            torch.addcmul(one, state, state, value=-1, out=slopes[i])  # 1 - h^2
            later = error.mul_(slopes[i])
        if window is not None and t % window == 0:
            later = None
    return errors


def _outer_products(rnn, x, states, errors, at_outputs) -> dict[str, Tensor]:
    """All gradients. That of a weight is the sum of error times input over time and batch: one product for each layer."""
    batch, last = states[0].shape[-2], states[-1].flatten(-3, -2)
    befores = [last[..., :-batch, :], *(s.flatten(-3, -2) for s in states[:-1])]
    pairs = {f"recurrent.{i}": (e.flatten(-3, -2), b) for i, (e, b) in enumerate(zip(errors, befores, strict=True))}
    gradients = {"input.weight": (pairs["recurrent.0"][0].mT @ x).reshape(rnn.input.weight.shape)}
    for name, (error, before) in {**pairs, "readout": (at_outputs, last)}.items():
        layer: ReplicaLinear = rnn.get_submodule(name)
        read = error[..., error.shape[-2] - before.shape[-2] :, :]  # the state before the first step is 0 and adds nothing
        gradient = (read.mT @ before).reshape(layer.weight.shape)
        gradients[f"{name}.weight"] = gradient if layer.mask is None else gradient * layer.mask
        gradients[f"{name}.bias"] = error.sum(-2).reshape(layer.bias.shape)
    return gradients
