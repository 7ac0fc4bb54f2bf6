"""The gauge of a network: hidden units scaled and the readout inversely, which changes the spectrum and leaves the logits."""

import copy

import torch
from torch import Tensor

from ..common.tensors import check_floats
from .hidden_net import HiddenNet, check_net

HOMOGENEOUS = ("relu", "leaky_relu", "identity")  # f(c u) = c f(u) for c > 0


@torch.no_grad()
def regauge(net: HiddenNet, scale: Tensor) -> HiddenNet:
    r"""A new network with the same logits and another spectrum: each hidden unit is scaled, and its readout weights inversely.

    .. math:: W_\mu \to c_\mu W_\mu, \qquad V_{\cdot\mu} \to c_\mu^{-n}\, V_{\cdot\mu}, \qquad
        f(c\,h)^n = c^n f(h)^n \quad\text{for } c > 0

    The covariance of h becomes diag(c) C diag(c), whose exponent can be almost anything, while the answer to every input stays,
    to one that an attack has changed as well. So the exponent by itself decides nothing about robustness: where the two go
    together, it is because of how the networks were trained.

    Args:
        net: a ``HiddenNet`` whose activation is relu, or, with power n = 1, leaky_relu or identity.
        scale: c (units,), or (..., units) with the replicas of the network, dimensionless, > 0; on the network's device.

    Returns:
        a new ``HiddenNet``, a copy without gradients; net stays as it is. Logits are equal but for rounding.

    Raises:
        ValueError: an activation without this symmetry, such as tanh; a scale that is not above 0, has another shape or device,
        or whose powers leave the range of the weights' dtype. TypeError: net is no ``HiddenNet``, scale is no tensor.

    Source: the homogeneity of ReLU; against arXiv 2405.00679, which reads robustness from the exponent.

    Example:
        >>> net = HiddenNet(4, 3, 2, power=2.0)
        >>> x, other = torch.ones(1, 4), regauge(net, torch.tensor([1.0, 0.5, 0.25]))
        >>> torch.equal(net(x), other(x)), bool(net.pre(x)[0, 1] == 2 * other.pre(x)[0, 1])
        (True, True)
    """
    check_net(net)
    if net.activation not in HOMOGENEOUS:
        raise ValueError(
            f"net: got the activation {net.activation!r}, expected one of {', '.join(HOMOGENEOUS)}: of others f(c h) is not "
            "c f(h), and no readout gives the same logits"
        )
    weight = net.hidden_weight
    for name, values in net.named_parameters():
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"net: its {name} holds numbers that are not finite; expected a network with finite weights")
    check_floats("scale", scale, "(units,) or (..., units)")
    expected = (*net.replicas, weight.shape[-2])
    fits = len(scale.shape) <= len(expected) and scale.shape[-1] == expected[-1]
    fits = fits and all(a in (1, b) for a, b in zip(scale.shape[::-1], expected[::-1], strict=False))
    if not fits:
        raise ValueError(f"scale: got shape {tuple(scale.shape)}, expected ({expected[-1]},) or {expected}: one per hidden unit")
    if scale.device != weight.device:
        raise ValueError(f"scale: got device {scale.device}, but the network is on {weight.device}; move one of them")
    if not bool((scale > 0).all()):
        raise ValueError(f"scale: got {float(scale.min()):.3g}, expected numbers > 0, which leave the sign of every unit")
    factor, inverse = scale.to(weight.dtype), (scale.double() ** -net.power).to(weight.dtype)
    other = copy.deepcopy(net)  # without gradients, as PyTorch copies parameters
    other.hidden_weight.mul_(factor.unsqueeze(-1))
    other.readout_weight.mul_(inverse.unsqueeze(-2))
    limits = torch.finfo(weight.dtype)
    good = [bool(((sizes >= limits.tiny) & (sizes <= limits.max)).all()) for sizes in (factor, inverse)]
    if not all(good) or not all(bool(torch.isfinite(p).all()) for p in (other.hidden_weight, other.readout_weight)):
        raise ValueError(
            f"scale: got numbers from {float(scale.min()):.3g} to {float(scale.max()):.3g}; they, their powers -{net.power:g} or "
            f"the scaled weights leave the range of {weight.dtype}; expected numbers nearer to 1, or a network in float64"
        )
    return other
