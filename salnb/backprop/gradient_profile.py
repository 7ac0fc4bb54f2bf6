"""The gradient profile: the length of the loss gradient at every layer, or at every time step of a recurrent network."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from ..common.without_trace import without_trace
from ..networks.deep import DeepNet
from ..networks.recurrent import TanhRNN
from ..networks.steps import rnn_step
from .seen_activations import Seen, is_activation, is_function

Loss = Callable[[Tensor, Tensor], Tensor]


def scalar_loss(loss: Tensor) -> Tensor:
    """The loss without dimensions, after a check that it is a single number."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"loss: returned {shape}, expected a scalar; with replicas, sum over them")
    return loss.reshape(())


def _with_gradient(state: Tensor) -> Tensor:
    """The state, or the beginning of a graph where nothing before it asks for a gradient: what is frozen changes no number."""
    return state if state.requires_grad else state.detach().requires_grad_()


def _hidden_of_modules(model: nn.Module, inputs: object, layers: list[nn.Module] | None) -> tuple[list[GradientEdge], object]:
    """What comes out of all activations, or of the ``layers``, in the order in which they run; and the outputs of the model."""
    seen = Seen(model, layers)
    try:
        with seen:
            outputs = model(inputs)
    finally:
        seen.remove()
    return seen.found, outputs


def _hidden_of_depth(model: DeepNet, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
    """Outputs of all hidden layers, and the outputs of the network."""
    state, hidden = inputs, []
    for layer in model.hidden:
        state = _with_gradient(model.function(layer(state)))
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
        state = _with_gradient(step(state, drive if drive.shape[-1] else None))
        hidden.append(state)
    if ours:
        return hidden, model.readout(torch.stack(hidden))
    top = model.hidden_size * model.num_layers  # in the state, the last layer's h ends here; an LSTM's c comes after it
    outputs = torch.stack(hidden)[..., top - model.hidden_size : top]
    return hidden, outputs.transpose(0, 1) if model.batch_first and inputs.ndim == 3 else outputs


def _named(model: nn.Module, layers: Iterable[str]) -> list[nn.Module]:
    """The modules of these names."""
    if isinstance(layers, str):
        layers = [layers]
    modules, found = dict(model.named_modules()), []
    for name in layers:
        if not isinstance(name, str) or name not in modules:
            known = ", ".join(known for known in modules if known)
            raise ValueError(f"layers: got {name!r}, expected names of modules of the model: {known}")
        found.append(modules[name])
    if not found or len({*found}) < len(found):
        raise ValueError("layers: got no name, or one twice; expected different names of modules")
    return found


def _walk(model: nn.Module, inputs: object, layers: Iterable[str] | None) -> tuple[list[Tensor | GradientEdge], object]:
    """The hidden states that the profile is about, and the outputs of the model."""
    if layers is not None:
        return _hidden_of_modules(model, inputs, _named(model, layers))
    if isinstance(model, TanhRNN | nn.RNNBase):
        if not isinstance(inputs, Tensor):
            raise TypeError(f"inputs: got {type(inputs).__name__}, expected a tensor. The time steps of packed sequences hold "
                            "other samples each: pad them (pad_packed_sequence) and let the loss leave the padding out")
        return _hidden_of_time(model, inputs)
    if isinstance(model, DeepNet):
        return _hidden_of_depth(model, inputs)
    # Parts of a Sequential that bring functions of their own, as blocks with shortcuts do, are its layers.
    if isinstance(model, nn.Sequential) and not any(is_activation(part) or is_function(part) for part in model.modules()):
        return _hidden_of_modules(model, inputs, list(dict.fromkeys(list(model)[:-1])))
    return _hidden_of_modules(model, inputs, None)


def gradient_profile(
    model: nn.Module, inputs: Tensor, targets: Tensor, loss: Loss, *, layers: Iterable[str] | None = None
) -> Tensor:
    r"""The length of the loss gradient at every layer, or at every time step.

    .. math:: p_l = \Big\lVert \frac{\partial \text{loss}}{\partial h_l} \Big\rVert_2 \quad\text{over batch and units}

    The same numbers whatever is frozen. Neither buffers (those of a BatchNorm), the random state nor ``.grad`` are changed.

    Args:
        model: any module: a profile over depth, an entry after every activation in the order in which they run, nested modules
            and functions such as ``F.relu`` included; a Sequential without activation modules: after every part but the last.
            ``TanhRNN``, ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``: over time; an LSTM's state is h and c together.
        inputs, targets: what the model and ``loss(outputs, targets) -> scalar`` take. With replicas the loss is summed over them.
        layers: names of modules, as ``model.named_modules()`` gives them: then the profile is taken at their outputs.

    Returns:
        (..., L), first layer first, or (..., T), first time step first; leading dimensions are replicas.

    Raises:
        TypeError: a model that is none, packed sequences. ValueError: a loss that is not a scalar or depends on no hidden layer,
        a model without a hidden layer, a name that is none.

    Example:
        >>> net = DeepNet(2, 8, 1, depth=4, gain=0.5)
        >>> gradient_profile(net, torch.ones(3, 2), torch.zeros(3, 1), torch.nn.functional.mse_loss).shape
        torch.Size([4])
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: got {type(model).__name__}, expected an nn.Module")
    with without_trace(model, gradients=True), torch.inference_mode(False), torch.enable_grad():
        hidden, outputs = _walk(model, inputs, layers)
        if not hidden:
            raise ValueError(f"model: {type(model).__name__} has no hidden layer: no activation ran, so that nothing is "
                             "between input and output; name modules with layers=[...]")  # fmt: skip
        number = scalar_loss(loss(outputs, targets))
        if not number.requires_grad:
            raise ValueError("loss: its value depends on no hidden layer by anything that autograd can follow; does the model or "
                             "the loss detach, or work under torch.no_grad()?")  # fmt: skip
        gradients = torch.autograd.grad(number, hidden, allow_unused=True)
    shapes = [number if isinstance(h, GradientEdge) else h for h in hidden]
    gradients = [torch.zeros_like(shape) if g is None else g for g, shape in zip(gradients, shapes, strict=True)]
    replicas = len(getattr(model, "replicas", ())) if isinstance(model, DeepNet | TanhRNN) and layers is None else 0
    return torch.stack([torch.linalg.vector_norm(g.flatten(replicas), dim=-1) for g in gradients], -1)
