r"""The Krotov–Hopfield rule: units compete for each image, the winner moves towards it and the unit of rank k moves away.

With the inner product of a unit, ⟨a, b⟩_μ = Σ_i |W_μi|^{p−2} a_i b_i, its drive by an image v is h_μ = ⟨W, v⟩_μ. An update is

    ΔW_μ = Σ_images g_μ (R^p v − h_μ W_μ),    g = 1 for the winner, −Δ for the unit of rank k, 0 for all others,
    W ← W + lr ΔW / max |ΔW|.

For a whole batch the sum over images is a product gᵀv, with a matrix g (batch, units) that is 0 except for two entries a row.
Here it is never formed: each image is added to the rows of its two units. What remains is the product that gives the drives, and
a few passes over the weights, in place.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..common.arguments import as_float, check_integers, one_of, shown

RANKINGS = ("drive", "Q")
SMALLEST = 1e-9  # an update in which no entry changes by more than this is not scaled up to lr any further, as in the source
MOST_P = 1000  # far beyond it powers of weights leave the range of every dtype


class Rule(NamedTuple):
    """The constants: the norm's p, the rank k, the strength Δ of unlearning, the radius R, and what units are ranked by."""

    p: float
    rank: int
    delta: float
    radius: float
    ranking: str


def checked_rule(p: float, rank: int, delta: float, radius: float, ranking: str, units: int) -> Rule:
    """The constants after a check of each; with k = 1 nothing is unlearned."""
    if not 2 <= as_float(p) <= MOST_P:
        raise ValueError(f"p: got {shown(p)}, expected a finite number >= 2, and at most {MOST_P}")
    if not 0 <= as_float(delta) < math.inf:
        raise ValueError(f"delta: got {shown(delta)}, expected a finite number >= 0")
    if not 0 < as_float(radius) < math.inf:
        raise ValueError(
            f"radius: got {shown(radius)}, expected a finite number > 0, the Lp norm that the rule brings every unit to"
        )
    check_integers(rank=(rank, 1))
    if rank > units:
        raise ValueError(
            f"rank: got {shown(rank)}, but there are only {units} units; expected a rank from 1 (the winner alone learns) "
            f"to {units}"
        )
    one_of("ranking", ranking, RANKINGS)
    return Rule(float(p), rank, float(delta), float(radius), ranking)


def check_range(rule: Rule, dtype: torch.dtype) -> None:
    """Checks that R^p, by which images are multiplied, and Δ R^p are numbers of the dtype; no tensor is looked at."""
    limits = torch.finfo(dtype)
    power = rule.p * math.log(rule.radius)  # of R^p, which may leave the range of floats itself
    if not math.log(limits.tiny) <= power < math.log(limits.max):
        raise ValueError(
            f"radius: got {rule.radius:g}, whose power R^p with p = {rule.p:g} is out of the range of {dtype}; expected a radius "
            "nearer to 1, a smaller p or a wider dtype"
        )
    if rule.delta > 0 and not math.log(rule.delta) + power < math.log(limits.max) or not rule.delta < limits.max:
        raise ValueError(
            f"delta: got {rule.delta:g}, which with R^p (R = {rule.radius:g}, p = {rule.p:g}) is out of the range of {dtype}; "
            "expected a smaller number, about 0.4 in the source"
        )


def effective_weight(weight: Tensor, p: float, out: Tensor | None = None) -> Tensor:
    """W |W|^{p−2}, of W's shape: what an image is multiplied with to give the drives; for p = 2 it is W itself."""
    if p == 2:
        return weight
    size = torch.abs(weight, out=out)
    return size.mul_(weight) if p == 3 else size.pow_(p - 2).mul_(weight)


def powered_norms(weight: Tensor, p: float) -> Tensor:
    """Σ_i |W_i|^p = ⟨W, W⟩ of each unit, (..., units): the p-th power of its Lp norm."""
    return weight.abs().pow_(p).sum(-1)


def ranked_by(drive: Tensor, weight: Tensor, rule: Rule) -> Tensor:
    r"""The numbers (R, B, units) that units are ranked by: the drive h, or

    .. math:: Q_\mu = h_\mu / \langle W, W \rangle_\mu^{(p-1)/p}

    which does not depend on the length of a unit. (The source's fast rule takes h, its formulas take Q.)
    """
    if rule.ranking == "drive":
        return drive
    # A unit whose weights are all 0 has the drive 0; so it gets Q = 0 and not 0/0.
    norms = powered_norms(weight, rule.p).pow_((rule.p - 1) / rule.p)
    return drive / norms.clamp_min_(torch.finfo(drive.dtype).tiny).unsqueeze(-2)


class Workspace:
    """Memory for updates of weights (R, units, D) by images (R, B, D), taken once instead of in every update."""

    def __init__(self, weight: Tensor, batch: int) -> None:
        replicas, units, inputs = weight.shape
        self.key = self._key(weight, batch)
        with torch.inference_mode(False):  # memory that is taken in inference mode cannot be written to outside of it
            self.effective, self.drive = torch.empty_like(weight), weight.new_empty(replicas, batch, units)
            self.change, self.total = weight.new_empty(replicas * units, inputs), weight.new_empty(replicas * units)
            first = torch.arange(0, replicas * units, units, device=weight.device)
            self.first = first.unsqueeze(-1)  # the first unit of each replica when the units of all stand in one row

    @staticmethod
    def _key(weight: Tensor, batch: int) -> tuple:
        return tuple(weight.shape), batch, weight.dtype, weight.device

    def fits(self, weight: Tensor, batch: int) -> bool:
        """Whether it can be used for these weights and so many images."""
        return self.key == self._key(weight, batch)


def largest(values: Tensor) -> Tensor:
    """Where the largest number of each row stands, (..., 1); the tensor must not take part in automatic differentiation."""
    if values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64):
        # NumPy's search uses vector instructions, that of PyTorch 2 does not and takes ten times as long.
        return torch.from_numpy(values.numpy().argmax(-1)).unsqueeze(-1)
    return values.argmax(-1, keepdim=True)


def competing_units(drive: Tensor, ranked: Tensor, rank: int) -> list[tuple[Tensor, Tensor]]:
    """The winner of each image and, for k > 1, the unit of rank k: pairs of its number (R, B) and its drive (R, B).

    For k = 2, ``ranked``, which may be the drive itself, is −∞ at the winners afterwards.
    """
    if rank > 2:
        order = ranked.topk(rank, dim=-1).indices
        places = [order[..., :1], order[..., rank - 1 :]]
        return [(place.squeeze(-1), drive.gather(-1, place).squeeze(-1)) for place in places]
    winner = largest(ranked)
    pairs = [(winner.squeeze(-1), drive.gather(-1, winner).squeeze(-1))]
    if rank == 2:
        second = largest(ranked.scatter_(-1, winner, -torch.inf))
        pairs.append((second.squeeze(-1), drive.gather(-1, second).squeeze(-1)))
    return pairs


@torch.no_grad()
def update_(weight: Tensor, x: Tensor, lr: float, rule: Rule, space: Workspace) -> Tensor:
    """One update of the weights (R, units, D) in place, for images (R, B, D); nothing is checked, nothing waits for the device.

    Returns the winner of each image (R · B,), counted through all units of all replicas.
    """
    replicas, units, inputs = weight.shape
    effective = effective_weight(weight, rule.p, out=space.effective)
    drive = torch.bmm(x, effective.mT, out=space.drive)
    pairs = competing_units(drive, ranked_by(drive, weight, rule), rule.rank)
    images, change, total = x.reshape(-1, inputs), space.change, space.total.zero_()
    places = [(unit + space.first).flatten() for unit, _ in pairs]
    signs = (1.0, -rule.delta)
    for place, (_, drives), sign in zip(places, pairs, signs, strict=False):
        total.index_add_(0, place, drives.flatten(), alpha=-sign)
    torch.mul(weight.view_as(change), total.unsqueeze(-1), out=change)  # − Σ g h W; untouched rows become 0
    for place, sign in zip(places, signs, strict=False):
        change.index_add_(0, place, images, alpha=sign * rule.radius**rule.p)
    entries = change.view(replicas, -1)
    smallest = max(SMALLEST, torch.finfo(weight.dtype).tiny)  # in float16 the former is 0, and 0/0 no update
    largest = torch.maximum(entries.amax(-1), entries.amin(-1).neg_()).clamp_min_(smallest)
    weight.addcmul_(change.view_as(weight), (lr / largest).view(-1, 1, 1))
    return places[0]
