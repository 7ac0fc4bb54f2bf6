"""The update against the rule written plainly, its equation for the norm, and its fixed points."""

import numpy
import pytest
import torch
from torch import Tensor

from salnb.representations.krotov_hopfield_rule import Rule, Workspace, checked_rule, effective_weight, powered_norms, update_
from tests.problems import random
from tests.tolerances import rounding, within

RULES = [
    Rule(3.0, 2, 0.4, 1.0, "drive"), Rule(2.0, 2, 0.4, 1.0, "drive"), Rule(2.5, 7, 0.1, 1.0, "drive"),
    Rule(4.0, 3, 0.4, 2.0, "drive"), Rule(3.0, 1, 0.4, 1.5, "drive"), Rule(3.0, 2, 0.4, 0.5, "Q"),
]  # fmt: skip


def written_plainly(weight: Tensor, x: Tensor, lr: float, rule: Rule) -> Tensor:
    """One replica, as in the papers: a dense matrix g, gᵀv, and the whole update scaled to lr."""
    effective = weight.sign() * weight.abs() ** (rule.p - 1)
    drive = x @ effective.mT
    ranked = drive / (weight * effective).sum(-1) ** ((rule.p - 1) / rule.p) if rule.ranking == "Q" else drive
    order = ranked.argsort(dim=1, descending=True)
    g = torch.zeros_like(drive)
    for b in range(len(x)):
        g[b, order[b, 0]] = 1.0
        if rule.rank > 1:
            g[b, order[b, rule.rank - 1]] = -rule.delta
    change = rule.radius**rule.p * g.mT @ x - (g * drive).sum(0).unsqueeze(1) * weight
    return weight + lr * change / change.abs().max().clamp_min(1e-9)


def updated(weight: Tensor, x: Tensor, lr: float, rule: Rule) -> Tensor:
    weight = weight.clone()
    update_(weight, x, lr, rule, Workspace(weight, x.shape[-2]))
    return weight


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_an_update_is_the_rule_written_plainly(device, rule):
    weight, batches = random(3, 12, 9, seed=1, device=device), random(4, 3, 20, 9, seed=2, device=device)
    found, expected, space = weight.clone(), weight.clone(), Workspace(weight, 20)
    for x in batches:  # several, so that a workspace that keeps something from one update to the next is seen
        update_(found, x, 0.1, rule, space)
        expected = torch.stack([written_plainly(w, v, 0.1, rule) for w, v in zip(expected, x, strict=True)])
    # 20 images, 9 products each, 4 updates; the division by max |ΔW| makes an error of ΔW one of 0.1 times its relative size.
    torch.testing.assert_close(found, expected, **within(expected, 4 * (20 + 9 + 3 * rule.p)))
    assert (found - weight).abs().amax((1, 2)).min() > 0.05


def test_an_update_in_single_precision_is_that_in_double_precision_to_rounding(device):
    rule, weight, x = RULES[0], random(2, 12, 9, seed=3, device=device), random(2, 20, 9, seed=4, device=device)
    exact, found = updated(weight, x, 0.1, rule), updated(weight.float(), x.float(), 0.1, rule)
    drive = (x @ effective_weight(weight, 3.0).mT).topk(3, dim=-1).values
    assert (drive[..., :2] - drive[..., 1:]).min() > rounding(torch.float32, 9, drive.abs().max().item())  # nobody's rank is open
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=rounding(torch.float32, 40, weight.abs().max().item()))


def test_only_the_winner_and_the_unit_of_rank_k_move():
    weight, x = random(1, 12, 9, seed=5), random(1, 1, 9, seed=6)
    order = (x[0] @ effective_weight(weight[0], 3.0).mT).argsort(dim=-1, descending=True)[0].tolist()
    for rank in (1, 2, 5):
        moved = (updated(weight, x, 0.1, RULES[0]._replace(rank=rank)) != weight).any(-1)[0].nonzero().flatten().tolist()
        assert moved == sorted({order[0], order[rank - 1]})


def test_winners_are_counted_through_all_replicas():
    weight, x = random(3, 5, 4, seed=7), random(3, 6, 4, seed=8)
    winners = update_(weight.clone(), x, 0.1, RULES[0], Workspace(weight, 6))
    expected = (x @ effective_weight(weight, 3.0).mT).argmax(-1) + 5 * torch.arange(3).unsqueeze(-1)
    assert torch.equal(winners, expected.flatten())


@pytest.mark.parametrize("p", [2.0, 2.5, 3.0, 4.0])
def test_effective_weights_and_norms(p):
    weight = random(3, 4, 5, seed=9)
    weight[0, 0, 0] = 0.0
    given = weight.clone()
    expected = weight * weight.abs() ** (p - 2)
    torch.testing.assert_close(effective_weight(weight, p), expected, **within(expected, 4))
    norms = (weight * expected).sum(-1)
    torch.testing.assert_close(powered_norms(weight, p), norms, **within(norms, 12))
    assert torch.equal(weight, given)


@pytest.mark.parametrize("p", [2.0, 3.0, 4.5])
def test_the_equation_of_the_norm(p):
    # d‖W‖^p = p Σ W|W|^{p−2} dW = p g h (R^p − ‖W‖^p): the derivative of the p-th power of the norm along the step, by autograd.
    radius, weight, x = 1.3, random(1, 6, 7, seed=10), random(1, 1, 7, seed=11)
    rule = Rule(p, 2, 0.4, radius, "drive")
    drive = (x[0] @ effective_weight(weight[0], p).mT)[0]
    order = drive.argsort(descending=True)
    step = updated(weight, x, 1.0, rule) - weight  # ΔW / max |ΔW|
    leaf = weight.clone().requires_grad_()
    (slope,) = torch.autograd.grad(powered_norms(leaf, p).sum(), leaf)
    found = (slope * step).sum(-1)[0]
    g = torch.zeros(6, dtype=weight.dtype)
    g[order[0]], g[order[1]] = 1.0, -0.4
    change = g.unsqueeze(1) * (radius**p * x[0] - drive.unsqueeze(1) * weight[0])
    expected = p * g * drive * (radius**p - powered_norms(weight[0], p)) / change.abs().max()
    scale = slope.abs().sum(-1).max().item() * weight.abs().max().item()
    torch.testing.assert_close(found, expected, **within(expected, 7 + 4 * p, scale))


def test_the_radius_is_stable_where_the_drive_is_positive_and_unstable_where_it_is_negative():
    for sign in (1.0, -1.0):
        image = torch.tensor([[[0.6, -0.3, 0.7]]], dtype=torch.float64)
        direction = sign * image[:, 0] / powered_norms(image[:, 0], 3.0) ** (1 / 3)
        for length in (0.95, 1.05):
            weight = (length * direction).unsqueeze(1)
            after = powered_norms(updated(weight, image, 1e-3, Rule(3.0, 1, 0.0, 1.0, "drive")), 3.0).item() ** (1 / 3)
            assert (abs(after - 1) < 0.05) == (sign > 0)


def test_a_unit_that_sees_one_image_becomes_it():
    for p in (2.0, 3.0, 4.0):
        image, radius = random(1, 1, 10, seed=12), 1.4
        weight = random(1, 1, 10, seed=13)
        weight *= torch.sign((image * effective_weight(weight, p)).sum())  # with a negative drive the fixed point is unstable
        rule, space = Rule(p, 1, 0.4, radius, "drive"), Workspace(weight, 1)
        for t in range(1300):
            # An update scaled to the rate never comes nearer than the rate itself; so the rate falls, faster than the distance.
            update_(weight, image, 0.3 * 0.97**t, rule, space)
        expected = radius * image[0] / powered_norms(image[0], p) ** (1 / p)
        torch.testing.assert_close(weight[0], expected, **within(expected, 10))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_an_update_that_changes_nothing_leaves_the_weights(dtype):
    weight = torch.eye(3, dtype=dtype).unsqueeze(0)
    assert torch.equal(updated(weight, weight[:, :2], 0.1, Rule(3.0, 1, 0.4, 1.0, "drive")), weight)  # each winner is its image


@pytest.mark.parametrize("given, message", [
    (dict(p=1.5), "p: got 1.5"), (dict(p="3"), "p: got '3'"), (dict(p=float("inf")), "p: got inf"), (dict(rank=0), "rank: got 0"),
    (dict(rank=6), "only 5 units"), (dict(rank=2.0), "rank: got 2.0"), (dict(delta=-0.1), "delta: got -0.1"),
    (dict(delta=float("nan")), "delta: got nan"), (dict(radius=0), "radius: got 0"), (dict(ranking="h"), "ranking: got 'h'"),
    (dict(ranking=numpy.array(["Q", "drive"])), "ranking: got array"), (dict(rank=10**5000), "rank: got a number beyond"),
])  # fmt: skip
def test_constants_out_of_range_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        checked_rule(**{**dict(p=3.0, rank=2, delta=0.4, radius=1.0, ranking="drive", units=5), **given})
