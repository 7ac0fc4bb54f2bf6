"""One learning step of many replicas side by side, each as if it were alone: loss, gradients, clipping, optimizer."""

import math

import torch
from torch import Tensor, nn

from ...backprop.gated_cells import cell_gradients
from ...backprop.through_depth import deep_gradients_, is_plain_tanh
from ...backprop.through_time import backprop_through_time
from ...common.denormals import flushed_denormals
from ...networks.gated import CellRNN
from ...networks.recurrent import TanhRNN


def losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy (R,) of every replica, the mean over its samples; logits (R, B, C), targets (R, B)."""
    each = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return each.view(targets.shape).mean(-1)


def logits_of(model: nn.Module, inputs: Tensor) -> Tensor:
    """Outputs (R, B, C) of the readout, of a recurrent network at the last time step."""
    if isinstance(model, (TanhRNN, CellRNN)) and not (model.training or torch.is_grad_enabled()):
        return last_answer(model, inputs)
    outputs = model(inputs)
    return outputs[0][-1] if isinstance(outputs, tuple) else outputs


def last_answer(net: TanhRNN | CellRNN, inputs: Tensor) -> Tensor:
    """The readout (R, B, C) at the last time step alone. No earlier state is kept, which saves half the time."""
    width = net.readout.weight.shape[-1]
    state = net.first_state(inputs) if isinstance(net, CellRNN) else inputs.new_zeros((*inputs.shape[1:-1], width))
    for x in inputs.unbind(0):
        state = net.step(state, net.input(x))
    return net.readout(state[..., :width])


def set_gradients(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Gradients of the summed losses into ``.grad``, by hand where they are derived; returns the losses (R,)."""
    seen: list[Tensor] = []

    def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
        seen.append(losses(outputs[-1] if outputs.ndim == 4 else outputs, wanted))
        return seen[-1].sum()

    if is_plain_tanh(model):
        deep_gradients_(model, inputs, targets, loss)
        return seen[-1].detach()
    if isinstance(model, (TanhRNN, CellRNN)):
        by_hand = backprop_through_time if isinstance(model, TanhRNN) else cell_gradients
        _, gradients = by_hand(model, inputs, targets, loss)
        for name, parameter in model.named_parameters():
            parameter.grad = gradients[name]
        return seen[-1].detach()
    model.zero_grad(set_to_none=True)
    value = losses(logits_of(model, inputs), targets)
    value.sum().backward()
    return value.detach()


def clip_by_replica_(parameters: list[nn.Parameter], limit: float) -> Tensor:
    """Shortens each replica's whole gradient to ``limit``; one that is not finite becomes 0. Returns the lengths (R,) before."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    lengths = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients])
    length = torch.linalg.vector_norm(lengths, dim=0)
    sound = torch.isfinite(length)
    factor = torch.where(sound, limit / length.clamp_min(limit), 0.0)
    if not sound.all():
        for g in gradients:
            g.nan_to_num_(0.0, 0.0, 0.0)
    if (factor < 1).any():
        for g in gradients:
            g.mul_(factor.view(-1, *[1] * (g.ndim - 1)))
    return length


def make_optimizer(name: str, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """Adam, or stochastic gradient descent with momentum 0.9; elementwise, so the replicas do not see each other."""
    return torch.optim.Adam(parameters, lr=lr, fused=True) if name == "adam" else torch.optim.SGD(
        parameters, lr=lr, momentum=0.9, fused=True)  # fmt: skip


def rate_factor(step: int, steps: int) -> float:
    """The learning rate's course: constant over the first half, then down to 0 in a straight line."""
    return min(1.0, 2 * (1 - step / steps))


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor, *, clip: float) -> Tensor:
    """One learning step of every replica; returns the losses (R,) before it."""
    with flushed_denormals():
        value = set_gradients(model, inputs, targets)
        clip_by_replica_(list(model.parameters()), clip)
        optimizer.step()
    return value


def guess_loss(n_out: int) -> float:
    """Cross-entropy of a uniform guess, in nats."""
    return math.log(n_out)
