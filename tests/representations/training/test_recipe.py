"""Recipes: what they refuse, the learning rate, the penalty that each model pays."""

import math
from dataclasses import replace

import pytest
import torch

from salnb.representations.hidden_net import HiddenNet
from salnb.representations.penalties import jacobian_penalty, sensitivity_penalty, spectral_penalty, weight_penalty
from salnb.representations.training.recipe import MODELS, Recipe, as_recipe
from tests.problems import random, seeded


def test_the_rate_falls_to_zero_over_the_end():
    recipe = Recipe(lr=0.4, fall=0.5)
    assert [recipe.rate(done) for done in (0.0, 0.5, 0.75, 1.0)] == [0.4, 0.4, 0.2, 0.0]
    assert Recipe(lr=0.4, fall=0).rate(0.99) == 0.4
    assert Recipe(lr=0.4).rate(0.25) == pytest.approx(0.3)


def test_costs_are_those_of_the_penalties():
    net = HiddenNet(5, 7, 3, replicas=(2,), generator=seeded(1), dtype=torch.float64)
    x, draw = random(12, 5), lambda: seeded(4)
    pairs = [
        (MODELS["decay"], weight_penalty(net)),
        (MODELS["jacobian"], jacobian_penalty(net, x)),
        (replace(MODELS["jacobian"], at="hidden", probes=2), jacobian_penalty(net, x, at="hidden", probes=2, generator=draw())),
        (MODELS["jacobian_published"], jacobian_penalty(net, x, probes=3, published=True, generator=draw())),
        (replace(MODELS["spectral"], alpha=2.0, first=2, last=4), spectral_penalty(net.pre(x), alpha=2.0, first=2, last=4)),
        (Recipe(penalty="spectral", at="hidden", first=1, last=5, form="nassar", scale=1.0),
         spectral_penalty(net.hidden(x), first=1, last=5, form="nassar", scale=1.0)),
        (MODELS["sensitivity"], sensitivity_penalty(net, x, target=0.5)),
    ]  # fmt: skip
    for recipe, expected in pairs:
        assert torch.equal(recipe.cost(net, x, draw()), expected), recipe.penalty
    assert MODELS["backprop"].cost(net, x, None) is None


def test_the_published_settings():
    assert MODELS["decay"].strength == 5e-4 and MODELS["jacobian"].strength == MODELS["jacobian_published"].strength == 1e-3
    assert MODELS["krotov_hopfield"].power == MODELS["exemplars"].power == 4.5 and MODELS["backprop"].power == 1
    assert MODELS["sensitivity"].strength == 0.03


def test_changes_are_taken():
    assert as_recipe("decay", dict(units=50)) == replace(MODELS["decay"], units=50)
    assert as_recipe(Recipe(units=3), dict(power=2.0)) == Recipe(units=3, power=2.0)
    assert as_recipe("backprop", dict(penalty="sensitivity", strength=0.1, target=2.0)).target == 2.0


@pytest.mark.parametrize("model, changes, words", [
    ("backprop", dict(target=1.0), "target: got 1.0, which is not read with penalty=None and hidden='learned'"),
    ("backprop", dict(strength=1.0), "strength: got 1.0, which is not read"),
    ("decay", dict(alpha=1.0), "alpha: got 1.0, which is not read with penalty='weight'"),
    ("backprop", dict(components=4), "components: got 4, which is not read"),
    ("random", dict(p=2.0), "p: got 2.0, which is not read"),
    ("krotov_hopfield", dict(units=5), "units: got 5, which is not read"),
    ("backprop", dict(momentum=0.9), "momentum: is no setting of a recipe"),
    ("random", dict(penalty="sensitivity"), "penalty: got 'sensitivity' with hidden='random'"),
    ("backprop", dict(penalty="spectrum"), "penalty: got 'spectrum', expected one of weight, jacobian, spectral, sensitivity"),
    ("backprop", dict(hidden="learnt"), "hidden: got 'learnt'"),
    ("backprop", dict(units=0), "units: got 0"),
    ("backprop", dict(epochs=1.5), "epochs: got 1.5"),
    ("backprop", dict(batch=True), "batch: got True"),
    ("backprop", dict(lr=0.0), "lr: got 0.0, expected a finite number > 0"),
    ("backprop", dict(lr=math.nan), "lr: got nan"),
    ("backprop", dict(fall=1.5), "fall: got 1.5, expected a number from 0 to 1"),
    ("decay", dict(strength=-1.0), "strength: got -1.0, expected a finite number >= 0"),
    ("exemplars", dict(p=1.0), "p: got 1.0"),
    ("backprop", dict(clip=0), "clip: got 0"),
])  # fmt: skip
def test_changes_that_do_not_fit(model, changes, words):
    with pytest.raises(ValueError, match=words):
        as_recipe(model, changes)
