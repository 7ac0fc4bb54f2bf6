"""Penalties on a hidden layer: on its weights, its Jacobian, its covariance spectrum and its sensitivities.

Each returns one number per replica; add their sum to the summed losses, and every replica learns as if it were alone.
"""

import math

import torch
from torch import Tensor

from ..common.arguments import check_integers, one_of
from ..common.tensors import check_floats
from ..sensitivity.formulas import neuron_sensitivity
from .hidden_net import HiddenNet, check_net
from .jacobians import jacobian_squared_norm, published_projection_loop

FORMS = ("log", "nassar")


def weight_penalty(net: HiddenNet) -> Tensor:
    r"""Weight decay: the sum of the squares of all parameters, the biases among them.

    .. math:: \sum_P \lVert P\rVert_F^2, \qquad P \in \{W, V, b\}

    Args:
        net: a ``HiddenNet``; hidden weights that are frozen count as well, but cannot follow.

    Returns:
        (...,), one number per replica.

    Raises:
        TypeError: no HiddenNet.

    Source: arXiv 2405.00679 and its code, which adds 5e-4 times this to the loss. (As ``weight_decay`` of SGD it would be 1e-3.)

    Example:
        >>> net = HiddenNet.from_weight(torch.tensor([[3.0, 4.0]]), 2)
        >>> bool(weight_penalty(net) >= 25)
        True
    """
    check_net(net)
    return (
        net.hidden_weight.square().sum((-2, -1)) + net.readout_weight.square().sum((-2, -1)) + net.readout_bias.square().sum(-1)
    )


def jacobian_penalty(
    net: HiddenNet, x: Tensor, *, at: str = "pre", probes: int | None = None, published: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    r"""Jacobian regularisation: the mean over the batch of the squared Frobenius norm of the hidden layer's Jacobian.

    .. math:: \frac{1}{B} \sum_b \lVert\partial h/\partial x\rVert_F^2 \text{ at } x_b

    For the pre-activations h = W x, on which arXiv 2405.00679 puts it, this is ‖W‖²_F: weight decay of the hidden layer.

    Args:
        net: a ``HiddenNet``. x: (B, D), shared by the replicas, or (..., B, D).
        at: "pre" for h, "hidden" for z = f(h)ⁿ.
        probes: None for the exact value, else the number of random projections per sample (an unbiased estimate).
        published: take ``published_projection_loop`` in place of the unbiased estimate, with ``probes`` projections.
        generator: for the probes.

    Returns:
        (...,), one number per replica.

    Raises:
        ValueError: inputs that do not fit the network, an unknown ``at``, fewer than one probe; ``published`` without ``probes``.
        TypeError: no tensor, no HiddenNet.

    Source: Hoffman, Roberts and Yaida, arXiv 1908.02729; arXiv 2405.00679 (strength 1e-3, three projections).

    Example:
        >>> net = HiddenNet.from_weight(torch.tensor([[3.0, 4.0]]), 2)
        >>> jacobian_penalty(net, torch.ones(5, 2))
        tensor(25.)
    """
    if not isinstance(published, bool):
        raise ValueError(f"published: got {published!r}, expected True or False")
    if not published:
        return jacobian_squared_norm(net, x, at=at, probes=probes, generator=generator).mean(-1)
    if probes is None:
        raise ValueError("probes: got None with published=True; expected the number of projections, 3 in the published code")
    return published_projection_loop(net, x, at=at, probes=probes, generator=generator)


def spectral_penalty(
    h: Tensor, *, alpha: float = 1.0, first: int = 10, last: int | None = None, form: str = "log", scale: float | None = None
) -> Tensor:
    r"""How far the covariance spectrum of a batch of activities is from the power law γ_n = c n^{−α}.

    .. math::
        \text{log:} \quad \frac{1}{\lvert S\rvert} \sum_{n \in S} \Big(\log\frac{\lambda_n}{\gamma_n}\Big)^2, \qquad
        \text{nassar:} \quad \frac{1}{H} \sum_{n=\text{first}}^{\text{last}}
            \Big(\frac{\lambda_n}{\gamma_n} - 1\Big)^2 + \max\Big(0, \frac{\lambda_n}{\gamma_n} - 1\Big)

    The form of Nassar et al. punishes an eigenvalue that is a hundred times too large ten thousand times as much as one that is
    far too small, and its first batches may shake an optimizer for epochs. The logarithm treats both alike. S are the ranks from
    ``first`` to ``last`` whose eigenvalues are above the rounding of h: with B samples of a layer that reads D inputs linearly,
    at most min(B − 1, H, D) are.

    **A start.** Where all eigenvalues of the population are equal, no direction is the n-th one: every batch ranks the directions
    anew, and on average over batches the gradient is 0. Independent units of one scale are therefore at a saddle. Chance leads
    off it, as some units come to be larger than others, but the first tens of steps are lost. Random weights before data with a
    decaying spectrum start beside the saddle; for white inputs, give unit μ a scale such as μ^{−0.15} first.

    Args:
        h: (..., B, H), activities of B samples; leading dimensions are replicas.
        alpha: α, the wanted exponent.
        first, last: the window of ranks, from 1, both included. Default of ``last``: the largest rank.
        form: "log" or "nassar".
        scale: c. Default: in the log form the c that fits best, so that only the shape counts; in Nassar's form the c with
            γ_first = λ_first, held constant. The published code of arXiv 2405.00679 has c = 1.

    Returns:
        (...,), one number per replica, in the dtype of h. The eigenvalues are computed in float64.

    Raises:
        ValueError: no (..., B, H) of finite floating-point numbers, a window that does not fit, fewer than two eigenvalues of the
            window above rounding (log) or none at ``first`` (nassar), another form or scale. TypeError: no tensor.

    Source: Nassar et al., NeurIPS 2020 (ranks from 10 on, full batches); arXiv 2405.00679, where it stands with first = 2 and
    α = 1; the log form is this book's.

    Example:
        >>> h = torch.randn(100, 20, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 21.0) ** -0.5
        >>> bool(spectral_penalty(h, alpha=1.0, first=2) < spectral_penalty(h, alpha=3.0, first=2))
        True
    """
    one_of("form", form, FORMS)
    check_floats("h", h, "(..., B, H)", dims=2)
    samples, units = h.shape[-2:]
    if samples < 2:
        raise ValueError(f"h: got shape {tuple(h.shape)}, one sample, which has no covariance; expected (..., B, H) with B >= 2")
    largest = min(samples - 1, units) if form == "log" else units
    check_integers(first=(first, 1))
    if last is None and first + (form == "log") > largest:
        raise ValueError(
            f"first: got {first}, but {samples} samples of {units} units have eigenvalues up to rank {largest}; use a "
            "smaller first, or more samples in a batch"
        )
    last = largest if last is None else last
    check_integers(last=(last, first + (form == "log")))
    if last > largest:
        raise ValueError(
            f"last: got rank {last}, but {samples} samples of {units} units have at most {largest} eigenvalues above 0; "
            "use more samples in a batch, or a smaller last"
        )
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
        raise ValueError(f"alpha: got {alpha!r}, expected a finite number")
    if scale is not None and (isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale < math.inf):
        raise ValueError(f"scale: got {scale!r}, expected a finite number > 0, or None")
    eigenvalues, floor = _eigenvalues(h)
    shape = _log_form if form == "log" else _nassar_form
    penalty = shape(eigenvalues, floor, units, float(alpha), first, last, scale).to(h.dtype)
    if not bool(torch.isfinite(penalty).all()):
        raise ValueError(
            f"alpha, scale: got {alpha:g} and {scale}, with which the penalty leaves the range of {h.dtype}; use an alpha "
            "of a few units, and a scale as large as the eigenvalues are"
        )
    return penalty


def _eigenvalues(h: Tensor) -> tuple[Tensor, Tensor]:
    """Covariance eigenvalues (..., min(B, H)), descending, float64; and the rounding (..., 1) below which they mean nothing.

    The smaller of the two products is decomposed: in a training loop a singular value decomposition takes several times as long.
    """
    centred = h.double() - h.double().mean(-2, keepdim=True)
    samples, units = h.shape[-2:]
    gram = centred @ centred.mT if samples <= units else centred.mT @ centred
    if not bool(torch.isfinite(gram).all()):
        raise ValueError("h: its squares leave the range of float64; divide h by its largest size, which the log form ignores")
    eigenvalues = torch.linalg.eigvalsh(gram / max(1, samples - 1)).flip(-1)
    size = max(samples, units)
    rounding = max((size * torch.finfo(h.dtype).eps) ** 2, size * torch.finfo(torch.float64).eps)
    return eigenvalues, rounding * eigenvalues[..., :1].detach()


def _log_form(
    eigenvalues: Tensor, floor: Tensor, units: int, alpha: float, first: int, last: int, scale: float | None
) -> Tensor:  # fmt: skip
    eigenvalues = eigenvalues[..., first - 1 : last]
    above = eigenvalues > floor
    count = above.sum(-1, keepdim=True)
    if (count < 2).any():
        raise ValueError(
            f"h: has {int(count.min())} eigenvalues above rounding from rank {first} to {last}, expected at least 2; use a "
            "smaller first, more samples in a batch, or float64; a unit that is never active adds no eigenvalue"
        )
    ranks = torch.arange(first, first + eigenvalues.shape[-1], device=eigenvalues.device, dtype=eigenvalues.dtype)
    logs = torch.where(above, eigenvalues, 1.0).log() + alpha * ranks.log()
    height = (logs * above).sum(-1, keepdim=True) / count if scale is None else math.log(scale)
    return (((logs - height) * above).square().sum(-1, keepdim=True) / count).squeeze(-1)


def _nassar_form(
    eigenvalues: Tensor, floor: Tensor, units: int, alpha: float, first: int, last: int, scale: float | None
) -> Tensor:  # fmt: skip
    anchor = torch.full_like(floor, scale or 1.0)
    if scale is None:
        if first > eigenvalues.shape[-1] or not bool((eigenvalues[..., first - 1 : first] > floor).all()):
            raise ValueError(
                f"first: the eigenvalue of rank {first} is 0 up to rounding, so that it cannot set the scale; use a smaller "
                "first, more samples in a batch, or give scale="
            )
        anchor = eigenvalues[..., first - 1 : first].detach() * first**alpha
        first += 1  # the anchor is at the corner of max(0, .), where rounding would choose the slope; its own term is 0
    missing = max(0, last - max(first - 1, eigenvalues.shape[-1]))  # ranks that so few samples cannot reach: λ = 0 adds 1 each
    ranks = torch.arange(first, last + 1 - missing, device=eigenvalues.device, dtype=eigenvalues.dtype)
    off = eigenvalues[..., first - 1 : last].clamp_min(0) * ranks**alpha / anchor - 1
    return ((off.square() + off.clamp_min(0)).sum(-1) + missing) / units


def sensitivity_penalty(net: HiddenNet, x: Tensor, *, target: float = 1.0) -> Tensor:
    r"""Sensitivity adjustment as a penalty: each hidden unit's mean sensitivity is drawn towards a target, from both sides.

    .. math:: \sum_\mu (\bar s_\mu - s^*)^2, \qquad
        \bar s_\mu = \frac{1}{B} \sum_b \lvert g'(h_{b\mu})\rvert\, \lVert w_\mu\rVert, \quad g = f^n

    Args:
        net: a ``HiddenNet``. x: (B, D), shared by the replicas, or (..., B, D).
        target: s*, dimensionless, at least 0.

    Returns:
        (...,), one number per replica.

    Raises:
        ValueError: inputs that do not fit the network, a target below 0. TypeError: no tensor, no HiddenNet.

    Source: this book; the sensitivity is that of Shibata et al., Neural Networks 143 (2021), where a local rule sets it.

    Example:
        >>> net = HiddenNet.from_weight(torch.tensor([[3.0, 4.0]]), 2, activation="identity")
        >>> sensitivity_penalty(net, torch.ones(5, 2), target=2.0)
        tensor(9.)
    """
    check_net(net)
    if isinstance(target, bool) or not isinstance(target, (int, float)) or not 0 <= target < math.inf:
        raise ValueError(f"target: got {target!r}, expected a finite sensitivity >= 0")
    check_floats("x", x, "(B, D) or (..., B, D)", dims=2)
    sensitivity = neuron_sensitivity(net.hidden_weight, net.pre(x), net.response)
    return (sensitivity.mean(-2) - target).square().sum(-1)
