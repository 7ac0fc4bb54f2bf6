"""A layer of units that learn by the Krotov–Hopfield rule, or many independent layers in one tensor."""

import math

import torch
from torch import Tensor, nn

from ..common.arguments import as_float, as_shape, check_sizes, shown
from ..common.tensors import check_floats
from ..networks.linear import normal
from .krotov_hopfield_rule import (
    Workspace,
    check_range,
    checked_rule,
    effective_weight,
    largest,
    powered_norms,
    ranked_by,
    update_,
)

ROWS = 4096  # images whose winners are looked for at once, so that memory does not grow with their number
LEAST_START = 1.1  # in units of R^{p−1}, see ``least_std``
MOST_NUMBERS = 10**11  # weights of a layer: 400 gigabytes in float32


class KrotovHopfieldLayer(nn.Module):
    r"""Units that compete for images: the winner moves towards the image, the unit of rank k moves away from it. No labels.

    .. math:: \tau \dot W_\mu = g_\mu \left(R^p v - h_\mu W_\mu\right), \qquad h_\mu = \sum_i W_{\mu i} |W_{\mu i}|^{p-2} v_i

    with g = 1 for the winner, −Δ for the unit of rank k and 0 for all others. For the length of a unit this says
    d‖W‖_p^p / dt = p g h (R^p − ‖W‖_p^p) / τ: R is a fixed point, stable if g h > 0 on the whole over the images. Units also come
    there in a layer that has collapsed, in which one unit wins all images and all others have only moved away from them. So
    ``unconverged`` tells whether learning has worked only together with ``silent``, the share of units that win no image.

    Args:
        inputs, units: D and the number of units, whose weights start as N(0, std²).
        p: ≥ 2, of the Lp norm in which lengths are measured. rank: k; with 1 the winner alone learns. delta: Δ ≥ 0.
        radius: R > 0, the Lp norm that units converge to.
        std: the units must start long. Otherwise the first ones that win reach R, from then on answer every image with the
            largest drive, and win for ever (``least_std``).
        replicas: leading dimensions of independent layers, for instance (8,).
        ranking: "drive": units are ranked by h, as in the source's fast rule; "Q": by h / ‖W‖_p^{p−1}, which does not depend on
            the unit's length. With Q, units that start long and win nothing stay as they are.
        generator, device, dtype: as in torch; the numbers are drawn on the generator's device.

    Returns:
        ``layer(x)``: x (B, D), shared by the replicas, or (..., B, D) -> h (..., B, units), linear in x, and automatic
        differentiation passes through x. ``layer.weight`` (..., units, D) is W, which takes no gradient.

    Raises:
        ValueError: a size below 1, a constant out of range, also of the dtype's, a rank above the number of units, a ``std``
            known to end in collapse or so large that powers of the weights overflow; x of another shape, dtype or device, or
            integers. ``layer(x)`` does not look at the numbers in x: NaN gives NaN, and an image of zeros the drives 0. The
            methods that choose winners or signs look, and refuse both. TypeError: no tensor.

    Source: Krotov and Hopfield, PNAS 116 (2019), 7723, arXiv 1806.10181, equations 1 to 3; constants and start as in the code of
    arXiv 2405.00679.

    Example:
        >>> layer = KrotovHopfieldLayer(64, 20, replicas=(3,), generator=torch.Generator().manual_seed(0))
        >>> layer.step(torch.rand(10, 64), lr=0.02)
        >>> layer(torch.rand(5, 64)).shape, layer.norms().shape, layer.silent(torch.rand(5, 64)).shape
        (torch.Size([3, 5, 20]), torch.Size([3, 20]), torch.Size([3]))
    """

    def __init__(
        self, inputs: int, units: int, *, p: float = 3.0, rank: int = 2, delta: float = 0.4, radius: float = 1.0,
        std: float = 1.0, replicas: int | tuple[int, ...] = (), generator: torch.Generator | None = None, ranking: str = "drive",
        device=None, dtype=None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_sizes(inputs=inputs, units=units)
        self.replicas = as_shape("replicas", replicas)
        if math.prod((*self.replicas, units, inputs)) > MOST_NUMBERS:
            raise ValueError(
                f"inputs, units, replicas: got {shown(inputs)}, {shown(units)} and {self.replicas if self.replicas else 'none'}, "
                f"expected at most {MOST_NUMBERS:.0e} weights in all"
            )
        self.rule = checked_rule(p, rank, delta, radius, ranking, units)
        kind = torch.get_default_dtype() if dtype is None else dtype
        if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
            raise ValueError(f"dtype: got {dtype!r}, expected a floating-point dtype, such as torch.float32")
        check_range(self.rule, kind)
        _check_std(std, inputs, units, self.rule.p, self.rule.radius)
        std = float(std)
        if std > torch.finfo(kind).max:
            raise ValueError(_too_long(std, self.rule.p, kind))
        weight = normal((*self.replicas, units, inputs), generator, device, dtype).mul_(std)
        if not weight.is_meta and not bool(torch.isfinite(powered_norms(weight, self.rule.p)).all()):
            raise ValueError(_too_long(std, self.rule.p, kind))
        self.weight = nn.Parameter(weight, requires_grad=False)
        self._space: Workspace | None = None

    def effective_weight(self) -> Tensor:
        r"""The weights that act on an image, (..., units, D), as a new tensor: h = effective weight · x.

        .. math:: \tilde W_{\mu i} = W_{\mu i} \, |W_{\mu i}|^{p-2}
        """
        return effective_weight(self.weight.detach().clone(), self.rule.p)

    def forward(self, x: Tensor) -> Tensor:
        self.check_images(x)
        return x @ effective_weight(self.weight, self.rule.p).mT

    def step(self, x: Tensor, lr: float) -> None:
        """One update by a batch: the entry that changes most changes by ``lr``, in each replica.

        Args:
            x: (B, D), shared by the replicas, or (..., B, D). lr: ≥ 0, in the unit of the weights.

        Raises:
            ValueError: as the layer, numbers in x that are not finite, images of zeros. RuntimeError: weights that are NaN or
                infinite before the update or after it. The checks wait for x's device.
        """
        if not 0 <= as_float(lr) <= torch.finfo(self.weight.dtype).max:
            raise ValueError(f"lr: got {shown(lr)}, expected a finite number >= 0, of {self.weight.dtype} as the weights")
        self.check_images(x)
        check_values(x)
        self.check_weights(writing=True)
        self.update_(x, float(lr))
        self.check_weights(f"after an update with lr {float(lr):g}")

    def update_(self, x: Tensor, lr: float) -> Tensor:
        """``step`` without its checks; returns the winners (R · B,), counted through all units of all replicas."""
        weight = self._stacked()
        x = x.expand(*self.replicas, *x.shape[-2:]).reshape(len(weight), *x.shape[-2:])
        if self._space is None or not self._space.fits(weight, x.shape[-2]):
            self._space = Workspace(weight, x.shape[-2])
        return update_(weight, x, lr, self.rule, self._space)

    @torch.no_grad()
    def norms(self) -> Tensor:
        """‖W_μ‖_p of every unit, (..., units)."""
        return powered_norms(self.weight, self.rule.p).pow_(1 / self.rule.p)

    def unconverged(self, tol: float = 1e-2) -> Tensor:
        """Share (...) of the units with ``|‖W‖_p / R − 1| > tol``. The source calls a layer converged below 0.1 (``tol`` 1e-2).

        A collapsed layer passes as well, so look at ``silent`` beside it.
        """
        if not as_float(tol) >= 0:
            raise ValueError(f"tol: got {shown(tol)}, expected a number >= 0")
        near = (self.norms() / self.rule.radius - 1).abs() <= float(tol)
        return (~near).to(self.weight.dtype).mean(-1)  # a norm that is NaN is far

    @torch.no_grad()
    def silent(self, x: Tensor) -> Tensor:
        """Share (...) of the units that win no row of x, (N, D) or (..., N, D): with few rows, also units that have learned.

        Raises:
            ValueError: as ``step``.
        """
        self.check_images(x)
        check_values(x)
        self.check_weights()
        weight, units = self.weight, self.weight.shape[-2]
        effective = effective_weight(weight, self.rule.p)
        won = weight.new_zeros(*self.replicas, units)
        for rows in x.split(ROWS, dim=-2):
            winners = largest(ranked_by(rows @ effective.mT, weight, self.rule))
            won.scatter_(-1, winners.squeeze(-1), 1.0)
        return 1 - won.mean(-1)

    @torch.no_grad()
    def align_signs(self, x: Tensor) -> Tensor:
        """Turns the sign of every unit whose mean drive by x, (N, D) or (..., N, D), is negative: for the start, before any step.

        Where images have a mean, as raw ones do, half of a random start answers nearly all of them with a negative drive and so
        never wins: on raw digits 17 % of the units are silent after training, and 9 % after aligned signs. Images without a mean
        do not need it.

        Returns:
            (..., units), True where a unit was turned.

        Raises:
            ValueError: as ``step``.
        """
        self.check_images(x)
        check_values(x)
        self.check_weights(writing=True)
        drive = x.mean(-2, keepdim=True) @ effective_weight(self.weight, self.rule.p).mT
        turned = drive.squeeze(-2).expand(*self.replicas, -1) < 0
        self.weight.mul_(torch.where(turned, -1.0, 1.0).to(self.weight.dtype).unsqueeze(-1))
        return turned

    def check_images(self, x: Tensor) -> None:
        """Checks that x (B, D) or (..., B, D) fits the layer in type, width, replicas, dtype and device. Values are not read."""
        weight = self.weight
        width = weight.shape[-1]
        expected = f"(B, {width}) or (..., B, {width})"
        check_floats("x", x, expected, finite=False)
        if x.ndim < 2 or x.shape[-1] != width:
            hint = "; for one image add a dimension with x.unsqueeze(0)" if x.ndim == 1 else ""
            raise ValueError(f"x: got shape {tuple(x.shape)}, expected {expected}{hint}")
        lead = tuple(x.shape[:-2])
        if lead and lead != self.replicas:
            raise ValueError(
                f"x: got leading dimensions {lead}, which are not the replicas {self.replicas} of the layer; expected {expected}"
            )
        if x.dtype != weight.dtype:
            raise ValueError(f"x: got dtype {x.dtype}, but the layer has {weight.dtype}; convert one of them")
        if x.device != weight.device:
            raise ValueError(f"x: got device {x.device}, but the layer is on {weight.device}; move one of them")

    def check_weights(self, when: str = "", *, writing: bool = False) -> None:
        """Checks that all weights are finite, which waits for the device; with ``writing`` also the constants and the memory.

        ``when`` says in the message what came before, for instance "after an update with lr 0.1".
        """
        weight = self.weight.detach()
        if writing:
            check_range(self.rule, weight.dtype)  # the layer may have been converted since it was made
            if weight.is_inference() and not torch.is_inference_mode_enabled():
                raise RuntimeError(
                    "layer: its weights were made in torch.inference_mode(), and PyTorch lets nobody change them outside of it; "
                    "make the layer outside, or go on with layer.weight = torch.nn.Parameter(layer.weight.clone(), False)"
                )
        if bool(torch.isfinite(weight.sum())) or bool(torch.isfinite(weight).all()):  # a sum may overflow where no weight does
            return
        wrong = int((~torch.isfinite(weight)).sum())
        raise RuntimeError(
            f"layer: {wrong} of {weight.numel()} weights are NaN or infinite {when}".rstrip()
            + f", in {weight.dtype}; they are lost: make a new layer, or load weights that are finite, and take a smaller lr, "
            "images divided by their norm (lp_normalize), a smaller std or a wider dtype"
        )

    def _stacked(self) -> Tensor:
        """The weights as (R, units, D), the same memory."""
        if not self.weight.is_contiguous():
            with torch.inference_mode(False):
                self.weight.data = self.weight.data.contiguous()
        return self.weight.detach().view(-1, *self.weight.shape[-2:])

    def __getstate__(self) -> dict:
        """Copies and pickles without the workspace."""
        return {**super().__getstate__(), "_space": None}

    def extra_repr(self) -> str:
        *_, units, inputs = self.weight.shape
        constants = ", ".join(f"{name}={value}" for name, value in self.rule._asdict().items())
        return f"inputs={inputs}, units={units}, {constants}, replicas={self.replicas}"


def check_values(x: Tensor, name: str = "x") -> None:
    """Checks that every image is finite and has a pixel that is not 0; this waits once for x's device."""
    size = x.detach().square().sum(-1)  # one pass finds both; squares of very small or large pixels are looked at again
    if bool((size.amin() > 0) & (size.amax() < math.inf)):
        return
    check_floats(name, x, "(..., N, D)")
    empty = ~x.any(-1)
    if bool(empty.any()):
        place = tuple(empty.nonzero()[0].tolist())
        raise ValueError(
            f"{name}: got {int(empty.sum())} of {empty.numel()} images in which every pixel is 0, the first at {place}; expected "
            f"images that some unit can win; leave them out, as by {name}[{name}.any(-1)]"
        )


def least_std(inputs: int, units: int, p: float, radius: float) -> float:
    r"""The smallest standard deviation of a start in which units outlast the first winner.

    A unit that has converged answers an image with a drive of at most :math:`R^{p-1} \lVert v \rVert_p`. The largest drive of a
    random start is about

    .. math:: \sigma^{p-1} \sqrt{\mathrm E z^{2p-2}}\; \lVert v \rVert_2 \sqrt{2 \ln \text{units}}, \qquad
        \lVert v \rVert_2 \le D^{1/2-1/p} \lVert v \rVert_p .

    If it is the smaller one, the first units that converge win every image from then on. The factor ``LEAST_START`` is measured,
    with 200 units on the digits (D = 64, p = 3, R = 1), 3,000 updates. On raw digits one unit wins all images from a start with
    σ up to 0.26, and 91 % of the units win none with 0.31, 64 % with 0.43; on centred ones 84 % with 0.21, 20 % with 0.31, 2 %
    with 0.43. The formula gives 0.31; it leaves out that collapse is milder where images have little in common.

    >>> round(least_std(64, 200, 3.0, 1.0), 2)
    0.31
    """
    if units == 1:
        return 0.0
    power = p - 1
    # E z^{2(p-1)} of a standard normal z; in logarithms, because it leaves the range of floats from p = 150 on
    moment = power * math.log(2) + math.lgamma(power + 0.5) - math.log(math.pi) / 2
    drive = moment / 2 + (0.5 - 1 / p) * math.log(inputs) + math.log(2 * math.log(units)) / 2
    return radius * math.exp((math.log(LEAST_START) - drive) / power)


def _check_std(std: float, inputs: int, units: int, p: float, radius: float) -> None:
    """Checks that the start is a number and long enough."""
    if not 0 < as_float(std) < math.inf:
        raise ValueError(f"std: got {shown(std)}, expected a finite number > 0")
    least = least_std(inputs, units, p, radius)
    if std < least:
        raise ValueError(
            f"std: got {std:g}, a start from which learning collapses: the first units that reach the norm {radius:g} answer "
            f"all images with a larger drive than the others, and win all of them; expected at least "
            f"{math.ceil(least * 100) / 100:g}, better {radius:g} or more"
        )


def _too_long(std: float, p: float, dtype: torch.dtype) -> str:
    return (
        f"std: got {std:g}, a start whose norms to the power p = {p:g} are beyond the range of {dtype}, so that nothing can be "
        "learned from it; expected a smaller std or p, or a wider dtype"
    )
