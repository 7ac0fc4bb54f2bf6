"""The gradient profile: the length of the loss gradient at every layer, or at every time step of a recurrent network."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..networks.deep import DeepNet
from ..networks.recurrent import TanhRNN
from ..networks.steps import rnn_step
from ..sensitivity.activations import from_module

Loss = Callable[[Tensor, Tensor], Tensor]


def scalar_loss(loss: Tensor) -> Tensor:
    """The loss without dimensions, after a check that it is a single number."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"loss: returned {shape}, expected a scalar; with replicas, sum over them")
    return loss.reshape(())


def _hidden_of_sequence(model: nn.Sequential, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
    """Outputs of all activation modules of a Sequential; if it has none, of every part but the last."""
    parts = list(model)
    known = [i for i, part in enumerate(parts) if from_module(part) is not None] or list(range(len(parts) - 1))
    state, hidden = inputs, []
    for i, part in enumerate(parts):
        state = part(state)
        if i in known:
            state = state.clone()  # the next part may work in place, so its input is another tensor
            hidden.append(state)
    return hidden, state


def _hidden_of_depth(model: DeepNet, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
    """Outputs of all hidden layers, and the outputs of the network."""
    state, hidden = inputs, []
    for layer in model.hidden:
        state = model.function(layer(state))
        hidden.append(state)
    return hidden, model.readout(state)


def _hidden_of_time(model: TanhRNN | nn.RNNBase, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
    """States of all time steps, and the outputs that the module's own forward gives."""
    ours = isinstance(model, TanhRNN)
    step, hidden = rnn_step(model), []
    first = inputs.transpose(0, 1) if not ours and model.batch_first and inputs.ndim == 3 else inputs
    if ours:
        shape = (*model.replicas, first.shape[-2], model.n_hidden[-1])
        first = first.reshape(len(first), *[1] * len(model.replicas), *first.shape[1:]) if first.ndim == 3 else first
        first = first.expand(len(first), *model.replicas, *first.shape[-2:])
    else:
        size = model.hidden_size * model.num_layers * (2 if isinstance(model, nn.LSTM) else 1)
        shape = (*first.shape[1:-1], size)
    weight = next(model.parameters())
    state = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
    for drive in first.unbind(0):
        state = step(state, drive if drive.shape[-1] else None)
        hidden.append(state)
    if ours:
        return hidden, model.readout(torch.stack(hidden))
    top = model.hidden_size * model.num_layers  # in the state, the last layer's h ends here; an LSTM's c comes after it
    outputs = torch.stack(hidden)[..., top - model.hidden_size : top]
    return hidden, outputs.transpose(0, 1) if model.batch_first and inputs.ndim == 3 else outputs


def gradient_profile(model: nn.Module, inputs: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    r"""The length of the loss gradient at every layer, or at every time step.

    .. math:: p_l = \Big\lVert \frac{\partial \text{loss}}{\partial h_l} \Big\rVert_2 \quad\text{over batch and units}

    Args:
        model: ``DeepNet`` or ``nn.Sequential`` (profile over depth: after every activation); ``TanhRNN``, ``nn.RNN``,
            ``nn.GRU`` or ``nn.LSTM`` (profile over time; an LSTM's state is h and c together).
        inputs, targets: what the model and ``loss(outputs, targets) -> scalar`` take. With replicas the loss is summed over them.

    Returns:
        (..., L), first layer first, or (..., T), first time step first; leading dimensions are replicas.

    Raises:
        TypeError: another kind of model. ValueError: a loss that is not a scalar.

    Example:
        >>> net = DeepNet(2, 8, 1, depth=4, gain=0.5)
        >>> gradient_profile(net, torch.ones(3, 2), torch.zeros(3, 1), torch.nn.functional.mse_loss).shape
        torch.Size([4])
    """
    kinds = (
        (DeepNet, _hidden_of_depth), (TanhRNN | nn.RNNBase, _hidden_of_time), (nn.Sequential, _hidden_of_sequence)
    )  # fmt: skip
    walk = next((function for kind, function in kinds if isinstance(model, kind)), None)
    if walk is None:
        raise TypeError(f"model: got {type(model).__name__}, expected DeepNet, TanhRNN, nn.Sequential, nn.RNN, nn.GRU or nn.LSTM")
    with torch.enable_grad():
        hidden, outputs = walk(model, inputs)
        hidden = [h if h.requires_grad else h.requires_grad_() for h in hidden]
        gradients = torch.autograd.grad(scalar_loss(loss(outputs, targets)), hidden, allow_unused=True)
    gradients = [torch.zeros_like(h) if g is None else g for g, h in zip(gradients, hidden, strict=True)]
    replicas = len(getattr(model, "replicas", ()))
    return torch.stack([torch.linalg.vector_norm(g.flatten(replicas), dim=-1) for g in gradients], -1)
