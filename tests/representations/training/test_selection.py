"""The choice of a strength: the same as training each alone, and never by the samples to judge by."""

import pytest
import torch

from salnb.representations.training import choose_strength, train_hidden
from salnb.representations.training import selection as module
from tests.problems import random, seeded
from tests.representations.training.test_train import SMALL, samples


def test_the_largest_strength_within_the_margin_is_taken(monkeypatch):
    table = torch.tensor([[0.8, 0.9], [0.9, 1.0], [0.9, 0.98], [0.5, 0.6]])
    monkeypatch.setattr(module, "train_hidden", lambda *a, **k: type("Run", (), {"history": {"select": [None, table]}}))
    x, y = samples(2)
    strengths = torch.tensor([0.0, 0.1, 0.2, 0.3], dtype=torch.float64)
    for margin, expected in ((0.0, 0.1), (0.005, 0.1), (0.02, 0.2), (0.5, 0.3)):
        chosen = choose_strength(x, y, strengths, select=(x, y), margin=margin, model="decay")
        assert chosen.strength == pytest.approx(expected) and torch.equal(chosen.accuracy, table)


@pytest.mark.parametrize("lead, replicas", [((2,), None), ((), 2), ((), None)])
def test_all_strengths_are_trained_side_by_side(lead, replicas):
    x, y = samples(*lead)
    select = samples(n=9, seed=5)
    strengths = torch.tensor([0.0, 0.01, 10.0], dtype=torch.float64)
    chosen = choose_strength(x, y, strengths, select=select, replicas=replicas, model="decay", generator=seeded(3), **SMALL)
    wide = (3,) if replicas is None and not lead else (3, 2)
    assert chosen.accuracy.shape == wide and chosen.strength in strengths.tolist()
    shared = (x, y) if not lead else (x.expand(3, *x.shape), y.expand(3, *y.shape))
    net, history = train_hidden(
        *shared, select=select, strength=strengths.view(3, *[1] * (len(wide) - 1)), replicas=wide, model="decay",
        generator=seeded(3), **SMALL,
    )  # fmt: skip
    assert torch.equal(history["select"][-1], chosen.accuracy)


def test_given_weights_are_those_of_every_strength():
    x, y = samples(2)
    settings = {key: value for key, value in SMALL.items() if key != "units"}
    chosen = choose_strength(
        x, y, torch.tensor([0.0, 1.0]), select=(x, y), model="krotov_hopfield", penalty="weight",
        hidden_weight=random(2, 7, 5), generator=seeded(3), **settings,
    )  # fmt: skip
    assert chosen.accuracy.shape == (2, 2)


@pytest.mark.parametrize("given, error, words", [
    (dict(judge=samples()), ValueError, "judge: has no part in the choice"),
    (dict(strength=1.0), ValueError, "strength: has no part"),
    (dict(strengths=torch.ones(2, 2)), ValueError, r"strengths: got shape \(2, 2\)"),
    (dict(strengths=[1.0]), TypeError, "strengths: got list"),
    (dict(strengths=torch.tensor([-1.0])), ValueError, "strength: got"),
    (dict(margin=-0.1), ValueError, "margin: got -0.1"),
    (dict(select=None), TypeError, "select: got NoneType"),
    (dict(model="backprop"), ValueError, "but this model has no penalty"),
])  # fmt: skip
def test_arguments_that_do_not_fit(given, error, words):
    x, y = samples()
    with pytest.raises(error, match=words):
        choose_strength(x, y, **{"strengths": torch.ones(2), "select": (x, y), "model": "decay", **SMALL, **given})
