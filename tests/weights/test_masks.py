"""Masks keep exactly as many weights as they should, the largest ones, and random masks know nothing of the weights."""

import pytest
import torch

from salnb.weights import magnitude_masks, random_masks_like, random_masks_of_equal_energy
from tests.problems import random, seeded
from tests.tolerances import counted


@pytest.mark.parametrize("density", [0, 0.05, 0.5, 0.999, 1])
def test_one_threshold_for_all_keeps_the_largest(density, device):
    drawn = {"a": random(7, 5), "b": 3 * random(11, seed=1), "c": 0.1 * random(2, 3, 4, seed=2)}
    weights = {name: value.to(device) for name, value in drawn.items()}
    masks = magnitude_masks(weights, density)
    assert list(masks) == ["a", "b", "c"]
    assert all(masks[n].shape == weights[n].shape and masks[n].dtype == torch.bool for n in masks)
    kept = torch.cat([weights[n][masks[n]].abs() for n in weights])
    dropped = torch.cat([weights[n][~masks[n]].abs() for n in weights])
    assert len(kept) == int(density * (35 + 11 + 24) + 0.5)
    assert not len(kept) or not len(dropped) or kept.min() >= dropped.max()
    if density == 0.5:
        assert masks["b"].float().mean() > 0.7 > 0.1 > masks["c"].float().mean()  # one threshold, not one per tensor


def test_of_equal_weights_the_first_are_kept():
    masks = magnitude_masks([torch.ones(3), -torch.ones(2, 2)], 4 / 7)
    assert [mask.tolist() for mask in masks] == [[True] * 3, [[True, False], [False, False]]]
    assert magnitude_masks([torch.ones(5000)], 0.3)[0].nonzero().flatten().tolist() == list(range(1500))


def test_each_replica_has_a_threshold_of_its_own():
    weights = [random(4, 6, 5), random(4, 9, seed=1)]
    weights[0][2] *= 100
    together = magnitude_masks(weights, 0.3, replica_dims=1)
    for i in range(4):
        alone = magnitude_masks([w[i] for w in weights], 0.3)
        assert all(torch.equal(mask[i], one) for mask, one in zip(together, alone, strict=True))


def test_random_masks_keep_as_many_of_each_tensor_and_any_of_them(device):
    masks = {"a": torch.arange(60).view(3, 20).to(device) % 20 < 4, "b": torch.ones(5, dtype=torch.bool, device=device)}
    drawn = [random_masks_like(masks, generator=seeded(i)) for i in range(300)]
    assert all(int(m["a"].sum()) == 12 and bool(m["b"].all()) for m in drawn)
    low, high = counted(12 / 60, 300, 1e-6 / 60)
    times = torch.stack([m["a"] for m in drawn]).sum(0)
    assert low <= int(times.min()) and int(times.max()) <= high
    by_replica = [random_masks_like(masks, generator=seeded(i), replica_dims=0) for i in range(2)]
    assert torch.equal(by_replica[0]["a"], drawn[0]["a"]) and not torch.equal(by_replica[1]["a"], drawn[0]["a"])
    own = random_masks_like([masks["a"]], generator=seeded(), replica_dims=1)[0]
    assert (own.sum(-1) == 4).all()


def test_masks_of_equal_energy_keep_as_much_to_the_nearest_weight():
    weights = [random(8, 30, 20), 5 * random(8, 50, seed=1)]
    masks = magnitude_masks(weights, 0.1, replica_dims=1)
    drawn = random_masks_of_equal_energy(masks, weights, generator=seeded(), replica_dims=1)
    for weight, mask, found in zip(weights, masks, drawn, strict=True):
        square = weight.square().flatten(1)
        difference = (square * found.flatten(1)).sum(-1) - (square * mask.flatten(1)).sum(-1)
        assert (difference.abs() <= square.amax(-1) / 2 * (1 + 1e-12)).all()
        assert (found.flatten(1).sum(-1) > mask.flatten(1).sum(-1)).all()  # more of them, as they are smaller
    for energy, count in ((2.4, 2), (2.6, 3)):  # of weights 1 as many as come nearest
        weight, mask, seed = torch.ones(500), torch.arange(500) == 0, 0
        weight[0] = energy**0.5
        found = mask
        while found[0]:  # as long as the heavy one is among the first
            seed, found = seed + 1, random_masks_of_equal_energy([mask], [weight], generator=seeded(seed))[0]
        assert int(found.sum()) == count
    low, high = counted(0.4, 300, 1e-6 / 10)
    chosen = [random_masks_of_equal_energy([torch.arange(10) < 4], [torch.ones(10)], generator=seeded(i))[0] for i in range(300)]
    times = torch.stack(chosen).sum(0)
    assert low <= int(times.min()) and int(times.max()) <= high  # any of them, as often
    nothing = random_masks_of_equal_energy([torch.zeros(9, dtype=torch.bool)], [torch.ones(9)])
    everything = random_masks_of_equal_energy([torch.ones(9, dtype=torch.bool)], [torch.ones(9)])
    assert not nothing[0].any() and everything[0].all()


ONE = [torch.tensor([True, False])]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: magnitude_masks([torch.ones(3)], 1.5), ValueError, r"density: got 1.5, expected a share .* in \[0, 1\]"),
        (lambda: magnitude_masks([torch.ones(3)], float("nan")), ValueError, "density: got nan"),
        (lambda: magnitude_masks(torch.ones(3), 0.5), TypeError, r"weights: got Tensor, expected a list or a dict .* \[tensor\]"),
        (lambda: magnitude_masks([], 0.5), ValueError, "weights: got none"),
        (lambda: magnitude_masks({"w": torch.tensor([torch.nan])}, 0.5), ValueError, r"weights\['w'\]: got 1 of 1 numbers"),
        (lambda: magnitude_masks([[1.0]], 0.5), TypeError, r"weights\[0\]: got list, expected a tensor"),
        (lambda: magnitude_masks([torch.ones(2, 3), torch.ones(3)], 1, replica_dims=1), ValueError, r"\[1\]: got shape \(3,\)"),
        (lambda: random_masks_like([torch.ones(3)]), ValueError, r"masks\[0\]: got dtype torch.float32, expected booleans"),
        (lambda: random_masks_like(ONE, generator=3), TypeError, "generator: got int, expected a torch.Generator or None"),
        (lambda: random_masks_like(ONE, replica_dims=-1), ValueError, "replica_dims: got -1"),
        (lambda: random_masks_of_equal_energy(ONE, [torch.ones(3)]), ValueError, r"\[0\]: got shape \(3,\), expected \(2,\)"),
        (lambda: random_masks_of_equal_energy(ONE, {"a": torch.ones(2)}), ValueError, "weights: got .*, expected one for each"),
    ],
)
def test_bad_input_is_an_error_in_words(call, error, words):
    with pytest.raises(error, match=words):
        call()
