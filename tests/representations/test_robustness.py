"""Critical perturbations of linear networks, for which they are known, and the scan against one that leaves nothing out."""

import functools
import math

import pytest
import torch

from salnb.representations.attacks import fgsm, gaussian_noise, pgd, sign_search
from salnb.representations.robustness import critical_norm, critical_perturbation, worst_case
from tests.problems import random, seeded
from tests.representations.test_attacks import bound, curved, linear
from tests.tolerances import rounding


def above(exact, grid):
    """The first of the grid (G,) above each exact critical ε, or ∞."""
    place = torch.searchsorted(grid, exact, right=True)
    return torch.where(place < len(grid), grid[place.clamp(max=len(grid) - 1)], torch.inf)


@pytest.mark.parametrize("attack", [fgsm, pgd, functools.partial(sign_search, queries=40)], ids=["fgsm", "pgd", "sign search"])
def test_the_smallest_of_the_grid_above_margin_over_l1_norm(attack, device):
    logits, x, y, weight, _ = linear(3, device=device)
    y = y.clone()
    y[:, ::5] = 1 - y[:, ::5]  # wrong without an attack
    mended = torch.where(torch.arange(20, device=device) % 5 == 0, 0.0, bound(logits, x, y, weight))
    grid = torch.linspace(0.01, 0.4, 14, dtype=torch.float64, device=device)
    expected = torch.where(mended > 0, above(mended, grid), 0.0)
    found = critical_perturbation(logits, x, y, attack, grid)
    assert torch.equal(found, expected) and found.isinf().any() and (found == 0).sum() == 12
    length = critical_norm(logits, x, y, attack, grid)
    torch.testing.assert_close(length, expected * math.sqrt(7), rtol=0, atol=rounding(torch.float64, 10, 5.0))
    assert torch.equal(critical_perturbation(logits, x, y, attack, grid.tolist()), found)


def test_grids_by_sample_close_in_on_the_exact_value():
    logits, x, y, weight, _ = linear(2)
    exact = bound(logits, x, y, weight)
    edge = rounding(torch.float64, 10, float(logits(x).abs().max() + 1)) / float(exact.min())
    assert edge < 1e-6
    grid = torch.stack([0.5 * exact, (1 - edge) * exact, (1 + edge) * exact, 2 * exact])
    for attack in (fgsm, pgd, lambda *given: fgsm(*given)):
        assert torch.equal(critical_perturbation(logits, x, y, attack, grid), grid[2])


def test_noise_of_a_fixed_direction_flips_where_its_line_meets_the_boundary():
    logits, x, y, weight, _ = linear(3)
    direction = random(20, 7, seed=9)
    z, along = logits(x), direction @ weight.mT  # how the logits grow with ε
    margin = z.gather(-1, y[..., None]) - z.gather(-1, 1 - y[..., None])
    falls = along.gather(-1, 1 - y[..., None]) - along.gather(-1, y[..., None])
    exact = torch.where(falls > 0, margin / falls, torch.inf).squeeze(-1)
    grid = torch.logspace(-2, 1, 40, dtype=torch.float64)
    noise = functools.partial(gaussian_noise, direction=direction)
    expected = above(exact, grid)
    assert torch.equal(critical_perturbation(logits, x, y, noise, grid), expected) and expected.isinf().any()
    length = critical_norm(logits, x, y, noise, grid)
    torch.testing.assert_close(length, expected * direction.norm(dim=-1), rtol=rounding(torch.float64, 10), atol=1e-12)


def everything(logits, x, y, attack, grid):
    """ε* and the length there, from every sample at every ε."""
    right = logits(x).argmax(-1) == y
    critical = torch.where(right, torch.inf, 0.0).double()
    length = critical.clone()
    for epsilon in grid.flip(0):
        moved = attack(logits, x, y, epsilon)
        flipped = (logits(moved).argmax(-1) != y) & right
        critical = torch.where(flipped, epsilon, critical)
        length[flipped] = (moved - x).norm(dim=-1)[flipped]
    return critical, length


@pytest.mark.parametrize("by_sample", [False, True])
@pytest.mark.parametrize("attack", [fgsm, pgd, functools.partial(functools.partial(pgd, steps=5), clamp=(-3, 3))])
def test_leaving_out_what_has_flipped_changes_nothing(attack, by_sample):
    logits, x, y = curved((5,), batch=40)
    grid = torch.logspace(-2, 0.5, 12, dtype=torch.float64)
    grid = grid.unsqueeze(-1) * torch.linspace(0.5, 1, 40, dtype=torch.float64) if by_sample else grid
    seen = []

    def counted(x):
        seen.append(x.shape[-2])
        return logits(x)

    critical, length = everything(logits, x, y, attack, grid)
    assert torch.equal(critical_perturbation(counted, x, y, attack, grid), critical)
    assert min(seen) < 20 and len(critical.unique()) > 4
    torch.testing.assert_close(critical_norm(logits, x, y, attack, grid), length, rtol=0, atol=rounding(torch.float64, 100))


def test_an_attack_of_another_kind_gets_all_samples_and_the_grid_as_it_stands():
    logits, x, y = curved()
    sizes, shapes = [], set()

    def own(f, images, labels, epsilon):
        assert f is logits and images is x and labels is y
        sizes.append(epsilon)
        shapes.add(images.shape)
        return images

    assert critical_perturbation(logits, x, y, own, [0.1, 0.2]).isinf().any()
    assert sizes == [0.1, 0.2] and shapes == {x.shape}


def test_the_scan_ends_when_every_class_has_flipped():
    logits, x, y, *_ = linear(2)
    calls = []
    attack = lambda f, x, y, epsilon: calls.append(epsilon) or fgsm(f, x, y, 100.0)  # noqa: E731
    assert (critical_perturbation(logits, x, y, attack, [0.1, 0.2, 0.3]) == 0.1).all() and calls == [0.1]
    calls.clear()
    assert not critical_perturbation(logits, x, 1 - y, attack, [0.1, 0.2]).any() and not calls


def test_replicas_are_a_loop():
    hidden, readout = random(3, 16, 8, seed=1), random(3, 4, 16, seed=2)
    network = lambda w, v: lambda x: torch.relu(x @ w.mT) @ v.mT  # noqa: E731
    x, grid = random(12, 8, seed=3), torch.logspace(-2, 0.5, 9, dtype=torch.float64)
    y = network(hidden, readout)(x).argmax(-1)
    together = critical_perturbation(network(hidden, readout), x, y, pgd, grid)
    each = [(network(w, v), x, labels) for w, v, labels in zip(hidden, readout, y, strict=True)]
    assert torch.equal(together, torch.stack([critical_perturbation(*one, pgd, grid) for one in each]))
    attacks = {"a": fgsm, "b": pgd}
    together, alone = worst_case(network(hidden, readout), x, y, attacks, 0.2), [worst_case(*one, attacks, 0.2) for one in each]
    for name, accuracy in together.items():
        assert torch.equal(accuracy, torch.stack([one[name] for one in alone]))


def test_the_worst_case_is_right_under_every_attack(device):
    logits, x, y = curved((4,), batch=50, device=device)
    halves = {
        "none": lambda logits, x, y, epsilon: x,
        "first": lambda logits, x, y, epsilon: torch.cat([pgd(logits, x, y, epsilon)[:, :25], x[25:].expand(4, -1, -1)], 1),
        "last": lambda logits, x, y, epsilon: torch.cat([x[:25].expand(4, -1, -1), pgd(logits, x, y, epsilon)[:, 25:]], 1),
        "pgd": pgd,
    }
    found = worst_case(logits, x, y, halves, 0.1)
    assert list(found) == ["none", "first", "last", "pgd", "worst"]
    right = lambda moved: (logits(moved).argmax(-1) == y).double().mean(-1)  # noqa: E731
    assert torch.equal(found["none"], right(x)) and torch.equal(found["pgd"], right(pgd(logits, x, y, 0.1)))
    assert torch.equal(found["worst"], found["pgd"]) and (found["worst"] < found["first"]).any()
    total, expected = found["first"] + found["last"], found["none"] + found["pgd"]
    torch.testing.assert_close(total, expected, rtol=0, atol=rounding(torch.float64, 2))
    curve = worst_case(logits, x, y, {"pgd": pgd}, torch.tensor([[[0.0]], [[0.1]]], dtype=x.dtype, device=device))
    assert torch.equal(curve["pgd"], torch.stack([right(x), found["pgd"]]))


def test_one_network_has_one_number():
    logits, x, y = curved((), dtype=torch.float32)
    accuracy = worst_case(logits, x, y, {"fgsm": fgsm}, 0.1)["fgsm"]
    assert accuracy.shape == () and accuracy.dtype == torch.float32
    critical = critical_perturbation(logits, x, y, functools.partial(pgd, generator=seeded(1), restarts=2), [1, 2, 3])
    assert critical.shape == (12,) and critical.dtype == torch.float32 and set(critical.tolist()) <= {0, 1, 2, 3, math.inf}


GRIDS = [([], "got an empty list, which holds no number"), ((), "got an empty tuple"), ([0.1, 0.1], "ascend strictly"),
         ([0.2, 0.1], "ascend"), ([-0.1, 0.1], "0 or more"),
         ([0.1, math.nan], "finite"), ([0.1, math.inf], "finite"), (torch.zeros(0), "holds no number"),
         (torch.tensor([1.0, 1.0 + 1e-9], dtype=torch.float64), "ascend strictly in torch.float32"),
         ([torch.ones(12), torch.tensor(2.0)], "entries of the shapes"),
         ([0.1, -0.5], "entry 1: got -0.5"), ([0.1, torch.zeros(0)], r"entry 1: got a tensor of shape \(0,\)"),
         (torch.tensor([0.1, 0.2]).to_sparse(), "got layout torch.sparse_coo, expected a dense tensor"),
         ([torch.ones(12).to_sparse()], "entry 0: got layout torch.sparse_coo"),
         (torch.ones(3, 5).cumsum(0), r"got leading dimensions \(5,\)"),
         ([torch.ones(5), 2 * torch.ones(5)], r"got leading dimensions \(5,\)")]  # fmt: skip


@pytest.mark.parametrize("grid, words", GRIDS, ids=str)
def test_a_grid_that_is_none(grid, words):
    logits, x, y = curved((), dtype=torch.float32)
    with pytest.raises(ValueError, match=f"^epsilons: .*{words}"):
        critical_perturbation(logits, x, y, fgsm, grid)


@pytest.mark.parametrize("grid", [0.1, torch.tensor(0.1), "abc", None, ["a"], [True], torch.linspace(0, 1, 3).numpy()], ids=repr)
def test_a_grid_of_another_kind(grid):
    logits, x, y = curved((), dtype=torch.float32)
    with pytest.raises(TypeError, match="epsilons: (entry 0: )?got"):
        critical_norm(logits, x, y, fgsm, grid)


RETURNS = [(lambda f, x, y, e: None, TypeError, "attack: returned NoneType"),
           (lambda f, x, y, e: x.double(), TypeError, "attack: returned torch.float64"),
           (lambda f, x, y, e: x[:, :3], ValueError, r"attack: returned the shape \(12, 3\)"),
           (lambda f, x, y, e: x[:1], ValueError, r"attack: returned the shape \(1, 8\)"),
           (lambda f, x, y, e: x.expand(4, 12, 8), ValueError, r"attack: returned the shape \(4, 12, 8\)"),
           (lambda f, x, y, e: x / 0, ValueError, "attack: the images that it returned: .* NaN or infinite"),
           (0.1, TypeError, "attack: got float")]  # fmt: skip


@pytest.mark.parametrize("attack, kind, words", RETURNS, ids=[words for *_, words in RETURNS])
def test_an_attack_that_is_none(attack, kind, words):
    logits, x, y = curved(dtype=torch.float32)
    with pytest.raises(kind, match=words):
        critical_perturbation(logits, x, y, attack, [0.1])
    with pytest.raises(kind, match=words.replace("attack", r"attacks\['mine'\]")):
        worst_case(logits, x, y, {"mine": attack}, 0.1)


UNBOUND = [gaussian_noise, functools.partial(fgsm, epsilon=0.1), functools.partial(pgd, X=1), lambda f, x: x, lambda: None,
           functools.partial(fgsm, 1), lambda f, x, y, epsilon, *, size: x]  # fmt: skip


@pytest.mark.parametrize("attack", UNBOUND, ids=range(7))
def test_an_attack_that_cannot_be_called_with_four_arguments(attack):
    logits, x, y = curved(dtype=torch.float32)
    words = r": must be callable as \(logits, x, y, epsilon\), .* partial\(gaussian_noise, direction=…\)"
    for labels in (y, (y + 1) % 4):
        for function in (critical_perturbation, critical_norm):
            with pytest.raises(TypeError, match="^attack" + words):
                function(logits, x, labels, attack, [0.1])
        with pytest.raises(TypeError, match=r"^attacks\['mine'\]" + words):
            worst_case(logits, x, labels, {"fgsm": fgsm, "mine": attack}, 0.1)


def test_an_error_of_the_attack_itself_passes_unchanged():
    logits, x, y = curved(dtype=torch.float32)

    def own(*given):
        raise TypeError("attack() takes 2 positional arguments but 4 were given")

    with pytest.raises(TypeError, match="^attack.. takes 2 positional"):
        critical_perturbation(logits, x, y, own, [0.1])
    with pytest.raises(TypeError, match="^direction: got NoneType"):
        critical_perturbation(logits, x, y, functools.partial(gaussian_noise, direction=None), [0.1])
    with pytest.raises(TypeError, match="^generator: got int"):
        worst_case(logits, x, y, {"mine": functools.partial(sign_search, generator=3)}, 0.1)


def test_attacks_that_are_no_dictionary_or_have_the_name_that_is_taken():
    logits, x, y = curved()
    cases = ({}, ValueError, "at least one"), ({"worst": fgsm}, ValueError, "'worst'"), ([fgsm], TypeError, "list")
    for attacks, kind, words in cases:
        with pytest.raises(kind, match=f"attacks: got.*{words}"):
            worst_case(logits, x, y, attacks, 0.1)
