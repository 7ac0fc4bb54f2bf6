"""Measurements during training: the log-sensitivity, the exponent with the inputs of the task, and the gradient profile."""

import torch
from torch import Tensor, nn

from ...backprop.gradient_profile import gradient_profile
from ...lyapunov.exponents import lyapunov_spectrum
from ...networks.deep import DeepNet
from ...networks.gated import CellRNN
from ...networks.recurrent import TanhRNN
from ...networks.steps import rnn_step
from ...sal.jacobian_rows import row_squares
from ...sensitivity.activations import activation_formulas
from .baselines import DeepBaseline
from .optimization import losses

PROBES = 4  # random tangents per state, where a sensitivity is the length of a Jacobian's row


def is_plain(model: nn.Module) -> bool:
    """Whether a neuron's sensitivity is |f'| times the length of its weights."""
    return type(model) is DeepNet or isinstance(model, TanhRNN)


def log_sensitivity_of(model: nn.Module, inputs: Tensor) -> Tensor:
    """Log RMS sensitivity (R,) over samples, neurons and time or depth (first layer left out).

    Of gated cells, layer norm and shortcuts: of the Jacobian's rows, with a few random tangents, see ``salnb.sal.jacobian_rows``.
    """
    if isinstance(model, TanhRNN):
        layer = model.recurrent[0]
        return _log_rms((1 - model(inputs)[1].square()) * _row_norms(layer.weight))
    if not is_plain(model):
        generator = torch.Generator().manual_seed(0)
        logs = []
        for function, states, _ in model.maps(inputs, generator):
            probes = torch.randn((PROBES, *states.shape), generator=generator, dtype=states.dtype).to(states.device)
            logs.append(0.5 * row_squares(function, states, probes).detach().mean(-1).log())
        return torch.stack(logs).mean(0) if logs else inputs.new_full((model.replicas[0],), float("nan"))
    slope, state, logs = activation_formulas(model.hidden[0].activation).slope, inputs, []
    for i, layer in enumerate(model.hidden):
        pre = layer(state)
        state = model.function(pre)
        if i:
            logs.append(_log_rms((slope(pre) * _row_norms(layer.weight)).unsqueeze(0)))
    return torch.stack(logs).mean(0) if logs else inputs.new_full((model.replicas[0],), float("nan"))


def _row_norms(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight, dim=-1).unsqueeze(-2)


def _log_rms(sensitivity: Tensor) -> Tensor:
    return 0.5 * sensitivity.square().mean((0, -2, -1)).log()


def exponent_of(model: nn.Module, inputs: Tensor, generator: torch.Generator) -> Tensor:
    r"""Growth of one random tangent (R,), in nats per time step of the whole sequence, or per layer from the first to the last.

    A mean over the samples, each with a tangent of its own. This is growth over a finite stretch, from the first step and without
    a warm-up, and no Lyapunov exponent of the long run. It contains the alignment of the tangent: where one direction of N
    outgrows all others, a random tangent has on average

    .. math:: \tfrac12 \left[\psi(\tfrac12) - \psi(\tfrac N2)\right]

    nats of its length in it, −2.7 for N = 64. So the product of this number and the number of steps lies about 2.7 nats below the
    growth of such a surviving direction, for any number of steps, and a product of −0.8 belongs to a direction that has *grown*.
    Where many directions grow alike nothing is lost. ``finite_time_exponents`` measures the growth without any tangent.

    The ``exponent`` of every stored training run, and of ``TrainingRun``, is this number.
    """
    if isinstance(model, DeepNet):
        return _growth_through_layers(model, inputs, generator)
    if isinstance(model, TanhRNN):
        step, state = rnn_step(model), inputs.new_zeros((*inputs.shape[1:-1], model.n_hidden[-1]))
    else:
        step, state = _cell_step(model), model.first_state(inputs)
    spectrum = lyapunov_spectrum(step, state, n_steps=len(inputs), n_warmup=0, k=1, inputs=inputs, history=False)
    return spectrum.exponents[..., 0].mean(-1)


def _cell_step(model: CellRNN):
    return lambda state, drive: model.step(state, model.input(drive))


def _growth_through_layers(model: DeepNet, inputs: Tensor, generator: torch.Generator) -> Tensor:
    states = layers_of(model, inputs)
    tangent = torch.randn(states[0].shape, generator=generator, dtype=states[0].dtype).to(states[0])
    total = 0.0
    for i in range(1, len(states)):
        tangent = tangent / torch.linalg.vector_norm(tangent, dim=-1, keepdim=True)
        _, tangent = torch.func.jvp(lambda state, i=i: layer_output(model, i, state), (states[i - 1],), (tangent,))
        total = total + torch.linalg.vector_norm(tangent, dim=-1).log()
    return (total / max(len(states) - 1, 1)).mean(-1)


def layer_output(model: DeepNet, i: int, state: Tensor) -> Tensor:
    return model.layer_output(i, state) if isinstance(model, DeepBaseline) else model.function(model.hidden[i](state))


def layers_of(model: DeepNet, inputs: Tensor) -> list[Tensor]:
    """The outputs of all hidden layers."""
    states = [inputs]
    for i in range(len(model.hidden)):
        states.append(layer_output(model, i, states[-1]))
    return states[1:]


def states_of(model: DeepBaseline | CellRNN, inputs: Tensor) -> list[Tensor]:
    """The outputs of all hidden layers, or the states at all time steps."""
    if isinstance(model, DeepNet):
        return layers_of(model, inputs)
    step, states = _cell_step(model), [model.first_state(inputs)]
    for drive in inputs.unbind(0):
        states.append(step(states[-1], drive))
    return states[1:]


def log10_backward_growth(model: nn.Module, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Log10 of the growth (R,) of a random error from the last hidden layer, or time step, back to the first.

    The error is drawn at random and not taken from a loss, because labels do not say whether a network can be trained.
    """
    if not is_plain(model):
        with torch.enable_grad():
            states = states_of(model, inputs)
            error = torch.randn(states[-1].shape, generator=generator, dtype=inputs.dtype).to(inputs)
            back = torch.autograd.grad(states[-1], states[0], error)[0]
        began, arrived = (torch.linalg.vector_norm(e, dim=(-2, -1)) for e in (error, back))
        return (arrived / began).clamp_min(1e-30).log10()
    if isinstance(model, TanhRNN):
        states, weights = model(inputs)[1].unbind(0), [model.recurrent[0].weight] * len(inputs)
    else:
        states, weights = layers_of(model, inputs), [layer.weight for layer in model.hidden]
    error = torch.randn(states[-1].shape, generator=generator, dtype=states[-1].dtype).to(states[-1])
    began, logs = torch.linalg.vector_norm(error, dim=(-2, -1)), 0.0
    for state, weight in zip(reversed(states[1:]), reversed(weights[1:]), strict=True):
        error = torch.bmm(error * (1 - state.square()), weight)
        size = torch.linalg.vector_norm(error, dim=(-2, -1)).clamp_min(1e-30)
        logs, error = logs + (size / began).log10(), error / size[:, None, None] * began[:, None, None]
    return logs


def profile_of(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Length of the loss gradient (R, L) at every hidden layer, or (R, T) at every time step."""

    def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
        return losses(outputs[-1] if outputs.ndim == 4 else outputs, wanted).sum()

    if is_plain(model):
        return gradient_profile(model, inputs, targets, loss)
    with torch.enable_grad():
        hidden = states_of(model, inputs)
        outputs = model.readout(hidden[-1][..., : model.readout.weight.shape[-1]])  # of an LSTM's state h and c only h
        gradients = torch.autograd.grad(loss(outputs, targets), hidden)
    return torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=-1) for g in gradients], -1)
