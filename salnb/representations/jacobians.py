r"""How much the hidden layer of a ``HiddenNet`` stretches small changes of its input: the Frobenius norm of its Jacobian.

Unit μ's output has the gradient s_μ = g'(h_μ) w_μ by x, where g(h) = f(h)ⁿ. Therefore

.. math:: \lVert\partial z/\partial x\rVert_F^2 = \sum_\mu g'(h_\mu)^2 \lVert w_\mu\rVert^2 = \sum_\mu s_\mu^2,

the sum of the squared *sensitivities* of the units. One pass of the network gives it exactly, at a lower price than one random
projection. For the pre-activations g' = 1, so that it is ‖W‖²_F whatever the input: to penalise it is weight decay.
"""

import torch
from torch import Tensor

from ..common.arguments import check_integers, one_of
from ..common.tensors import check_floats
from ..networks.linear import normal
from .hidden_net import HiddenNet, check_inputs, check_net

PLACES = ("pre", "hidden")
NUMBERS_AT_ONCE = 2**24  # hidden activities that ``jacobian_map`` holds at a time


def jacobian_squared_norm(
    net: HiddenNet, x: Tensor, *, at: str = "hidden", probes: int | None = None, generator: torch.Generator | None = None
) -> Tensor:
    r"""Squared Frobenius norm of the hidden layer's Jacobian at each sample: exact, or from random projections.

    .. math:: \lVert J\rVert_F^2 = \sum_\mu g'(h_\mu)^2 \lVert w_\mu\rVert^2
        = H\, \mathrm{E}_v \lVert v^\top J\rVert^2, \qquad v \text{ uniform on the unit sphere of } \mathbb{R}^H

    Args:
        net: a ``HiddenNet`` with H units.
        x: (B, D), shared by the replicas, or (..., B, D).
        at: "hidden" for z = f(h)ⁿ, "pre" for h itself, where the answer is ‖W‖²_F for every sample.
        probes: None for the exact value; else the number of random v of each sample, over which is averaged. The mean of such
            estimates is exact. With A = J Jᵀ, their variance is 2 (H tr A² − (tr A)²) / (H + 2) / probes.
        generator: for the probes.

    Returns:
        (..., B), differentiable by the hidden weights.

    Raises:
        ValueError: inputs that do not fit the network, an unknown ``at``, fewer than one probe. TypeError: no tensor,
            no HiddenNet.

    Source: the formula follows from the chain rule; the projections are those of Hoffman, Roberts and Yaida (arXiv 1908.02729),
    for which with one hidden layer no second backward pass is needed.

    Example:
        >>> net = HiddenNet.from_weight(torch.tensor([[3.0, 4.0], [0.0, -1.0]]), 2)
        >>> jacobian_squared_norm(net, torch.ones(1, 2)), jacobian_squared_norm(net, torch.ones(1, 2), at="pre")
        (tensor([25.]), tensor([26.]))
    """
    slope = _slope(net, x, at)
    if probes is None and at == "pre":
        return net.hidden_weight.square().sum((-2, -1)).unsqueeze(-1).expand(slope.shape[:-1])
    if probes is None:
        return (slope.square() @ net.hidden_weight.square().sum(-1, keepdim=True)).squeeze(-1)
    check_integers(probes=(probes, 1))
    estimates = [_projected(net, slope, _directions(slope, generator)) for _ in range(probes)]
    return slope.shape[-1] * sum(estimates) / probes


def published_projection_loop(
    net: HiddenNet, x: Tensor, *, at: str = "pre", probes: int = 3, generator: torch.Generator | None = None
) -> Tensor:
    r"""What the published code of arXiv 2405.00679 computes in place of the mean of ‖J‖²_F over the batch: about a third of it.

    In its loop over the projections, the hidden activities are flattened when the first projection has been made. All further
    random vectors are therefore normalised over the whole batch of B samples in place of one sample, and their projections are B
    times too small:

    .. math:: \mathrm{E} = \frac{1 + (\text{probes} - 1)/B}{\text{probes}}\, \overline{\lVert J\rVert_F^2}

    With three probes and B = 100 this is 0.34 of the mean. It is here to show what the published penalty was; to learn, use
    ``jacobian_penalty``.

    Args:
        net, x, at, generator: as for ``jacobian_squared_norm``. probes: the number of projections, 3 in the published code.

    Returns:
        (...,), one number per replica, differentiable by the hidden weights.

    Raises:
        As ``jacobian_squared_norm``.

    Source: [C] ``Regularizers.py`` in the authors' repository LocalLearning, described in our words.

    Example:
        >>> net = HiddenNet(64, 200, 10, generator=torch.Generator().manual_seed(0))
        >>> x = torch.zeros(100, 64)
        >>> share = published_projection_loop(net, x) / jacobian_squared_norm(net, x, at="pre").mean(-1)
        >>> bool((0.32 < share) & (share < 0.36))
        True
    """
    slope = _slope(net, x, at)
    check_integers(probes=(probes, 1))
    total = 0.0
    for probe in range(probes):
        total = total + _projected(net, slope, _directions(slope, generator, over=(-1,) if probe == 0 else (-2, -1))).mean(-1)
    return slope.shape[-1] * total / probes


def jacobian_map(net: HiddenNet, x: Tensor, u: Tensor, v: Tensor, *, half: float, n: int, at: str = "hidden") -> Tensor:
    r"""Frobenius norm of the hidden layer's Jacobian over a plane through an input: a picture of how smooth the layer is.

    .. math:: M_{ij} = \lVert\partial z/\partial x\rVert_F \text{ at } x + a_j u + b_i v, \qquad
        a, b = -\text{half} \dots \text{half}

    Args:
        net: a ``HiddenNet``.
        x: (D,), the input in the middle, or (..., D) with one for each replica.
        u, v: (D,), the directions of the columns and of the rows, used at their own lengths.
        half: half the width of the plane, in lengths of u and v. n: points along each side, at least 2.
        at: "hidden" or "pre", as for ``jacobian_squared_norm``.

    Returns:
        (..., n, n), one map per replica, without a gradient: rows go along v, columns along u, as ``imshow`` draws them with
        ``origin="lower"``.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, a direction of length 0, numbers that are not finite, half ≤ 0,
            n < 2. TypeError: no tensor, no HiddenNet.

    Source: Holzhausen et al., arXiv 2405.00679, figure 4.

    Example:
        >>> net = HiddenNet.from_weight(torch.tensor([[1.0, 0.0]]), 2)
        >>> jacobian_map(net, torch.zeros(2), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), half=1.0, n=4)
        tensor([[0., 0., 1., 1.],
                [0., 0., 1., 1.],
                [0., 0., 1., 1.],
                [0., 0., 1., 1.]])
    """
    check_net(net)
    check_integers(n=(n, 2))
    if isinstance(half, bool) or not isinstance(half, (int, float)) or not 0 < half < float("inf"):
        raise ValueError(f"half: got {half!r}, expected a finite number > 0")
    for name, value in (("x", x), ("u", u), ("v", v)):
        width = net.hidden_weight.shape[-1]
        check_floats(name, value, f"({width},)")
        if value.shape[-1] != width:
            raise ValueError(f"{name}: got shape {tuple(value.shape)}, expected ({width},), as wide as the network's inputs")
        check_inputs(net, value.unsqueeze(-2), name)
        if name != "x" and (value.ndim > 1 or not value.any()):
            raise ValueError(f"{name}: got shape {tuple(value.shape)} and length {float(value.norm()):g}, expected one direction "
                             "(D,) of length > 0")  # fmt: skip
    along = torch.linspace(-half, half, n, dtype=x.dtype, device=x.device)
    plane = (along[:, None, None] * v + along[:, None] * u).flatten(0, 1)
    numbers = net.hidden_weight[..., 0].numel() * max(1, x[..., 0].numel())
    with torch.no_grad():
        parts = [
            jacobian_squared_norm(net, x.unsqueeze(-2) + points, at=at)
            for points in plane.split(max(1, NUMBERS_AT_ONCE // numbers))
        ]
    return torch.cat(parts, -1).sqrt().unflatten(-1, (n, n))


def _slope(net: HiddenNet, x: Tensor, at: str) -> Tensor:
    """The slope (..., B, H) of each unit's output as a function of its pre-activation; 1 for the pre-activation itself."""
    check_net(net)
    one_of("at", at, PLACES)
    check_floats("x", x, "(B, D) or (..., B, D)", dims=2)
    if at == "hidden":
        return net.response.slope(net.pre(x))
    check_inputs(net, x)
    lead = torch.broadcast_shapes(x.shape[:-2], net.replicas)
    return x.new_ones(()).expand(*lead, x.shape[-2], net.hidden_weight.shape[-2])


def _projected(net: HiddenNet, slope: Tensor, directions: Tensor) -> Tensor:
    """‖vᵀ J‖² (..., B) for directions v (..., B, H)."""
    return ((directions * slope) @ net.hidden_weight).square().sum(-1)


def _directions(slope: Tensor, generator: torch.Generator | None, over: tuple[int, ...] = (-1,)) -> Tensor:
    """Uniformly random directions of the slope's shape, of length 1 over these dimensions."""
    drawn = normal(tuple(slope.shape), generator, slope.device, slope.dtype)
    return drawn / torch.linalg.vector_norm(drawn, dim=over, keepdim=True)
