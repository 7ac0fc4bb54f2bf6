"""Attacks against networks whose worst perturbation is known, and against loops over replicas."""

import functools

import pytest
import torch
from torch import nn

from salnb.representations.attacks import fgsm, gaussian_noise, masked_gradients, pgd, sign_search
from tests.problems import random, seeded, sequential
from tests.tolerances import rounding

ATTACKS = {
    "fgsm": fgsm,
    "pgd": pgd,
    "restarted": lambda *given, **more: pgd(*given, steps=5, restarts=3, generator=seeded(8), **more),
    "sign search": lambda *given, **more: sign_search(*given, queries=60, generator=seeded(9), **more),
}
LINEAR = {**ATTACKS, "one step": functools.partial(pgd, steps=1)}


def linear(*replicas, classes=2, n=7, batch=20, seed=0, dtype=torch.float64, device="cpu"):
    """Logits W x + b, images, and the labels that they have without an attack; and W and b."""
    weight = random(*replicas, classes, n, seed=seed, dtype=dtype, device=device)
    bias = random(*replicas, 1, classes, seed=seed + 1, dtype=dtype, device=device)
    x = random(*replicas, batch, n, seed=seed + 2, dtype=dtype, device=device)
    logits = lambda x: x @ weight.mT + bias  # noqa: E731
    return logits, x, logits(x).argmax(-1), weight, bias


def bound(logits, x, y, weight):
    """What no change of each coordinate by at most ε can beat: min over the classes of margin_j / ‖w_y − w_j‖₁, (..., B)."""
    z = logits(x)
    classes = weight.shape[-2]
    own = torch.nn.functional.one_hot(y, classes).to(z)
    difference = own @ weight
    length = (difference.unsqueeze(-2) - weight.unsqueeze(-3)).abs().sum(-1)  # (..., B, C), 0 at the label itself
    margin = (z * own).sum(-1, keepdim=True) - z
    return torch.where(own == 0, margin / length, torch.inf).amin(-1)


def curved(replicas=(3,), n=8, units=16, classes=4, batch=12, dtype=torch.float64, device="cpu", seed=20):
    """A network of one hidden layer for each replica, images from −3 to 3 shared by all, labels of which a third are wrong."""
    hidden = random(*replicas, units, n, seed=seed, dtype=dtype, device=device)
    readout = random(*replicas, classes, units, seed=seed + 1, dtype=dtype, device=device)
    x = random(batch, n, seed=seed + 2, dtype=dtype, device=device).clamp(-3, 3)
    logits = lambda x: torch.relu(x @ hidden.mT) @ readout.mT  # noqa: E731
    y = logits(x).argmax(-1)
    return logits, x, torch.where(torch.arange(batch, device=device) % 3 == 0, (y + 1) % classes, y)


def standing(logits, x, y):
    """By PyTorch's cross entropy: the class is wrong, and the loss."""
    z = logits(x)
    y = y.expand(z.shape[:-1])
    loss = nn.functional.cross_entropy(z.flatten(0, -2), y.flatten(), reduction="none").view(y.shape)
    return z.argmax(-1) != y, loss


@pytest.mark.parametrize("name", LINEAR)
def test_two_classes_of_a_linear_network_flip_exactly_at_the_margin_over_the_l1_norm(name, device):
    logits, x, y, weight, _ = linear(3, device=device)
    critical = bound(logits, x, y, weight)
    # z is a sum of n products, x' another rounding; the smallest margin decides how much of ε that is.
    edge = rounding(torch.float64, 10, float(logits(x).abs().max() + 1)) / float(critical.min())
    assert edge < 1e-6
    below = LINEAR[name](logits, x, y, critical * (1 - edge))
    above = LINEAR[name](logits, x, y, critical * (1 + edge))
    assert torch.equal(logits(below).argmax(-1), y) and torch.equal(logits(above).argmax(-1), 1 - y)


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_beats_the_bound_of_several_classes(name):
    logits, x, y, weight, _ = linear(classes=5, batch=200, seed=3)
    critical = bound(logits, x, y, weight)
    assert torch.equal(logits(ATTACKS[name](logits, x, y, critical * (1 - 1e-6))).argmax(-1), y)
    flipped = logits(ATTACKS[name](logits, x, y, critical * 3)).argmax(-1) != y
    assert flipped.double().mean() > 0.5


def test_fgsm_is_the_sign_of_the_gradient_of_the_cross_entropy():
    logits, x, y = curved(())
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits(leaf), y), leaf)
    assert torch.equal(fgsm(logits, x, y, 0.3), x + 0.3 * gradient.sign())


def test_a_confident_network_has_a_gradient_all_the_same():
    logits, x, y, weight, _ = linear(dtype=torch.float32)
    confident = lambda x: 1e4 * logits(x)  # noqa: E731
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(confident(leaf), y), leaf)
    assert not gradient.all(-1).any()  # the cross entropy of every sample is flat
    expected = fgsm(logits, x, y, 0.5)
    assert torch.equal(fgsm(confident, x, y, 0.5), expected) and not masked_gradients(confident, x, y).any()
    torch.testing.assert_close(pgd(confident, x, y, 0.5), expected, rtol=0, atol=rounding(torch.float32, 20, 5.0))


@pytest.mark.parametrize("more", [{}, {"restarts": 3}, {"steps": 1}, {"steps": 7}, {"clamp": (-3.0, 3.0)}], ids=str)
def test_pgd_is_never_weaker_than_fgsm_nor_than_nothing(more, device):
    logits, x, y = curved((40,), batch=25, device=device)
    box = {"clamp": more["clamp"]} if "clamp" in more else {}
    for epsilon in (0.05, 0.3, 1.0):
        best = standing(logits, pgd(logits, x, y, epsilon, generator=seeded(3), **more), y)
        for weaker in (x, fgsm(logits, x, y, epsilon, **box)):
            other = standing(logits, weaker, y)
            assert (best[0] | ~other[0]).all()
            slack = rounding(torch.float64, 30, float(logits(x).abs().max()) * 10)
            assert (best[0] & ~other[0] | (best[1] >= other[1] - slack)).all()


@pytest.mark.parametrize("box", [None, (-3.0, 3.0)])
def test_pgd_visits_the_points_of_the_formula_and_returns_the_best(box):
    logits, x, y = curved((), batch=200)
    epsilon, steps, (low, high) = 0.4, 7, box or (-99, 99)
    point, seen = x, [x, fgsm(logits, x, y, epsilon, clamp=box)]
    for _ in range(steps):
        leaf = point.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits(leaf), y), leaf)
        point = x + (point + 2.5 * epsilon / steps * gradient.sign() - x).clamp(-epsilon, epsilon)
        point = point.clamp(low, high)
        seen.append(point)
    ranks = [loss + 1000 * wrong for wrong, loss in (standing(logits, point, y) for point in seen)]
    best = torch.stack(seen)[torch.stack(ranks).argmax(0), torch.arange(200)]
    found = pgd(logits, x, y, epsilon, steps=steps, clamp=box)
    torch.testing.assert_close(found, best, rtol=0, atol=rounding(torch.float64, 20, 5))
    assert len(torch.stack(ranks).argmax(0).unique()) > 3  # the best is not always the last


def test_a_wrong_class_comes_before_a_higher_loss():
    # At 1 two classes come near to the first one together; at -1 a single one overtakes it, and the loss is lower.
    logits = lambda x: torch.cat([0 * x, -0.1 * x, 4.95 * x - 5.05], -1)  # noqa: E731
    x, y = torch.zeros(1, 1), torch.tensor([0])
    (right, high), (wrong, low) = (standing(logits, torch.tensor([[end]]), y) for end in (1.0, -1.0))
    assert wrong and not right and high > low
    assert sign_search(logits, x, y, 1.0, queries=3) == -1
    assert pgd(logits, x, y, 1.0, restarts=20, generator=seeded(7)) == -1


def test_more_steps_and_restarts_find_more():
    logits, x, y = curved((40,), batch=25)
    loss = [standing(logits, pgd(logits, x, y, 0.5, generator=seeded(1), **more), y)[1].mean()
            for more in ({"steps": 1}, {"steps": 20}, {"steps": 20, "restarts": 6})]  # fmt: skip
    assert loss[0] < loss[1] < loss[2]


def test_a_restart_repeats_the_first_run_and_adds_to_it():
    logits, x, y = curved()
    one, more = (standing(logits, pgd(logits, x, y, 0.5, restarts=n, generator=seeded(2)), y) for n in (1, 4))
    assert (more[0] | ~one[0]).all()


def test_the_search_finds_the_best_corner_of_a_linear_network():
    logits, x, y, *_ = linear(2, n=11)
    worst = fgsm(logits, x, y, 0.4)
    round_of = 1 + 1 + 1 + 2 + 4 + 6 + 11  # x, the first corner, then blocks of 11, 6, 3, 2 and 1
    assert torch.equal(sign_search(logits, x, y, 0.4, queries=round_of), worst)
    assert not torch.equal(sign_search(logits, x, y, 0.4, queries=round_of // 2), worst)


@pytest.mark.parametrize("queries", [1, 2, 3, 17, 120])
def test_the_search_keeps_to_its_queries(queries):
    net, x, y = curved()
    calls = []

    def counted(x):
        calls.append(x.requires_grad)
        return net(x)

    found = sign_search(counted, x, y, 0.5, queries=queries)
    assert len(calls) == queries and not any(calls)
    assert (standing(net, found, y)[0] | ~standing(net, x, y)[0]).all()


def test_the_search_finds_what_a_network_without_gradients_hides():
    logits, x, y, *_ = linear(n=6, batch=30)
    stairs = lambda x: logits(torch.floor(8 * x) / 8)  # noqa: E731
    y = stairs(x).argmax(-1)
    assert masked_gradients(stairs, x, y).all() and not masked_gradients(logits, x, y).any()
    half = lambda x: logits(x * torch.arange(6).ge(3))  # noqa: E731
    assert not masked_gradients(half, x, y).any()
    assert torch.equal(fgsm(stairs, x, y, 5.0), x) and torch.equal(pgd(stairs, x, y, 5.0), x)
    assert (stairs(sign_search(stairs, x, y, 5.0)).argmax(-1) != y).all()


def test_noise_follows_its_direction(device):
    logits, x, y = curved(device=device)
    direction, epsilon = random(12, 8, device=device), torch.linspace(0, 3, 12, dtype=torch.float64, device=device)
    noisy = gaussian_noise(logits, x, y, epsilon, direction=direction)
    assert torch.equal(noisy, (x + epsilon.unsqueeze(-1) * direction).expand(3, 12, 8))
    cut = gaussian_noise(logits, x, y, epsilon, direction=direction, clamp=(-3, 3))
    assert torch.equal(cut, noisy.clamp(-3, 3)) and not torch.equal(cut, noisy)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ATTACKS)
def test_what_comes_back_lies_in_the_ball_and_the_box_and_is_new(name, dtype, device):
    logits, x, y = curved(dtype=dtype, device=device)
    x = x.sigmoid()
    epsilon = torch.linspace(0, 0.9, 12, dtype=dtype, device=device)
    before = x.clone(), y.clone(), epsilon.clone()
    moved = ATTACKS[name](logits, x, y, epsilon, clamp=(0.0, 1.0))
    assert moved.shape == (3, 12, 8) and moved.dtype == dtype and moved.device == x.device and not moved.requires_grad
    assert moved.min() >= 0 and moved.max() <= 1
    assert ((moved - x).abs() <= epsilon.unsqueeze(-1) + rounding(dtype, 1)).all()
    assert torch.equal(moved[:, 0], x[0].expand(3, -1))  # ε = 0
    assert all(torch.equal(now, then) for now, then in zip((x, y, epsilon), before, strict=True))
    alone = sign_search(logits, x, y, epsilon, queries=1)
    for result in (moved, alone):
        result.add_(1)
    assert torch.equal(x, before[0])


@pytest.mark.parametrize("name", ATTACKS)
def test_replicas_are_a_loop(name):
    """A generator's numbers for a tensor are those for its parts in turn, so that a loop draws the same.

    25 queries on eight coordinates are x, a corner, 15 blocks and one random round.
    """
    n, batch = 8, 12
    hidden, readout = random(3, 16, n, seed=1), random(3, 4, 16, seed=2)
    network = lambda w, v: lambda x: torch.relu(x @ w.mT) @ v.mT  # noqa: E731
    x, epsilon = random(3, batch, n, seed=3), 0.2 + torch.rand(3, batch, generator=seeded(4), dtype=torch.float64)
    y = network(hidden, readout)(x).argmax(-1)
    attack = {"restarted": functools.partial(pgd, restarts=2), "sign search": functools.partial(sign_search, queries=25)}.get(
        name, ATTACKS[name]
    )
    draws = {} if name in ("fgsm", "pgd") else {"generator": seeded(5)}
    together = attack(network(hidden, readout), x, y, epsilon, **draws)
    draws = {} if name in ("fgsm", "pgd") else {"generator": seeded(5)}
    alone = [attack(network(*parts[:2]), *parts[2:], **draws) for parts in zip(hidden, readout, x, y, epsilon, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=0, atol=rounding(torch.float64, 40, 5.0))


def test_sizes_may_have_dimensions_of_their_own():
    logits, x, y = curved()
    sizes = torch.tensor([0.1, 0.5], dtype=torch.float64)
    both = pgd(logits, x, y, sizes.view(2, 1, 1))
    assert both.shape == (2, 3, 12, 8)
    for row, size in zip(both, sizes.tolist(), strict=True):
        torch.testing.assert_close(row, pgd(logits, x, y, size), rtol=0, atol=rounding(torch.float64, 40, 5.0))


@pytest.mark.parametrize("name", ATTACKS)
def test_the_network_keeps_no_trace(name):
    net = nn.Sequential(nn.ReLU(inplace=True), sequential(8, 16, 4, dtype=torch.float64)).eval()
    net[1][0].weight.requires_grad_(False)
    x = random(12, 8).requires_grad_()
    y = net(x.detach().clone()).argmax(-1)
    before = {name: value.clone() for name, value in net.state_dict().items()}, x.detach().clone()
    moved = ATTACKS[name](net, x, y, 0.5)
    assert moved.grad_fn is None and x.grad is None and x.requires_grad and torch.equal(x.detach(), before[1])
    assert all(parameter.grad is None for parameter in net.parameters())
    assert [parameter.requires_grad for parameter in net.parameters()] == [False, True, True, True]
    assert all(torch.equal(value, before[0][name]) for name, value in net.state_dict().items())
    with torch.no_grad():
        assert torch.equal(ATTACKS[name](net, x, y, 0.5), moved)
    with torch.inference_mode():
        assert torch.equal(ATTACKS[name](net, x.clone(), y.clone(), 0.5), moved)


def test_an_attack_draws_from_its_generator_alone():
    logits, x, y = curved()
    before = torch.get_rng_state()
    for attack in (functools.partial(pgd, restarts=3), functools.partial(sign_search, queries=20)):
        one, same, other = (attack(logits, x, y, 0.5, generator=seeded(seed)) for seed in (1, 1, 2))
        assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_labels_may_be_shared_or_be_those_of_each_replica():
    logits, x, y = curved()
    shared = y[0]
    assert torch.equal(fgsm(logits, x, shared, 0.1), fgsm(logits, x, shared.expand(3, -1).int(), 0.1))
