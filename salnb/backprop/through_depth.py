"""Backpropagation through a deep tanh network with replicas, derived by hand; gradients are written into existing memory."""

import torch
from torch import Tensor, nn

from ..common.denormals import flushed_denormals
from ..networks.deep import DeepNet
from ..networks.linear import ReplicaLinear
from .gradient_profile import Loss, scalar_loss


def is_plain_tanh(net: nn.Module) -> bool:
    """Whether the network consists of plain tanh layers and has one dimension of replicas, as ``deep_gradients_`` expects."""
    return type(net) is DeepNet and net.hidden[0].activation == "tanh" and len(net.replicas) == 1


def deep_gradients_(net: DeepNet, inputs: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    r"""Writes the gradient of a deep network into every ``parameter.grad`` and returns the loss, detached.

    .. math:: e_l = (1 - h_l^2) \odot W_{l+1}^\top e_{l+1}, \qquad \nabla_{W_l} = \sum_b e_l\, h_{l-1}^\top, \qquad
        \nabla_{\theta_l} = \sum_b e_l

    The network is called once, so that SAL's hooks observe this pass. The gradients of an earlier step are written over: for
    300 layers, the allocation of new memory would take as long as the arithmetic.

    Args:
        net: plain tanh layers, R replicas. inputs: (R, B, n_in). targets: what ``loss(outputs, targets) -> scalar`` takes.

    Source: Rumelhart, Hinton and Williams 1986.

    Example:
        >>> net = DeepNet(2, 8, 2, depth=3, gain=1.0, replicas=(4,))
        >>> _ = deep_gradients_(net, torch.ones(4, 5, 2), torch.zeros(4, 5, 2), torch.nn.functional.mse_loss)
        >>> net.hidden[2].weight.grad.shape
        torch.Size([4, 8, 8])
    """
    states: list[Tensor] = [inputs]
    with torch.no_grad():
        with flushed_denormals():
            outputs = net(inputs, states)
        with torch.enable_grad():
            leaf = outputs.detach().requires_grad_()
            (error,) = torch.autograd.grad(value := scalar_loss(loss(leaf, targets)), leaf)
        with flushed_denormals():
            for layer, state in zip([net.readout, *reversed(net.hidden)], reversed(states), strict=True):
                write_gradients(layer, error, state)
                if state is not inputs:
                    error = torch.bmm(error, layer.weight)
                    torch.ops.aten.tanh_backward.grad_input(error, state, grad_input=error)  # error · (1 - h²)
    return value.detach()


def write_gradients(layer: ReplicaLinear, error: Tensor, state: Tensor) -> None:
    """Writes the gradients of a layer, from the error (R, B, N) at its pre-activation and the state (R, B, M) that it read."""
    for parameter in (layer.weight, layer.bias):
        if parameter.grad is None:
            parameter.grad = torch.empty_like(parameter)
    torch.bmm(error.mT, state, out=layer.weight.grad)
    torch.sum(error, -2, out=layer.bias.grad)
