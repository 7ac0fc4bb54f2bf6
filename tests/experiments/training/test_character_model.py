"""The character model: it sees the past alone, its loss counts every character once, SAL acts when it is told to."""

import math

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from salnb.experiments.training.character_model import (
    CharacterModel,
    drawing,
    sensitivities,
    text_loss,
    train_characters,
    windows,
)
from tests.tolerances import rounding

SIZES = dict(width=16, blocks=2, heads=2, context=8)
TEXT = torch.randint(7, (400,), generator=torch.Generator().manual_seed(2))


def small_model() -> CharacterModel:
    torch.manual_seed(1)
    return CharacterModel(7, **SIZES)


def test_a_score_depends_on_the_characters_up_to_its_place_and_on_no_later_one():
    model, text = small_model().eval(), TEXT[None, :8]
    other = text.clone()
    other[0, 5] = (text[0, 5] + 1) % 7
    first, second = model(text), model(other)
    assert torch.equal(first[0, :5], second[0, :5]) and not torch.equal(first[0, 5], second[0, 5])
    assert not torch.equal(first[0, 7], second[0, 7])


def test_the_text_loss_is_the_mean_over_windows_that_follow_each_other():
    model = small_model()
    by_hand = [F.cross_entropy(model(TEXT[None, i : i + 8])[0], TEXT[i + 1 : i + 9]).item() for i in range(0, 392, 8)]
    expected = sum(by_hand) / len(by_hand)
    assert math.isclose(text_loss(model, TEXT, 8, at_once=5), expected, rel_tol=rounding(torch.float32, 16 * 400))
    assert model.training


def test_windows_and_what_follows_them():
    seen, wanted = windows(torch.arange(20), torch.tensor([0, 11]), 8)
    assert seen.tolist() == [list(range(8)), list(range(11, 19))] and torch.equal(wanted, seen + 1)
    draw, again = drawing(torch.arange(20), 3, 8, 4), drawing(torch.arange(20), 3, 8, 4)
    starts = torch.stack([draw()[0][:, 0] for _ in range(200)])
    assert torch.equal(starts[0], again()[0][:, 0])
    assert starts.min() == 0 and starts.max() == 11  # the last window ends with the last character


@pytest.mark.parametrize("sal", ["never", "before", "throughout"])
def test_when_sal_acts(sal):
    found = train_characters(TEXT, TEXT[:100], 7, sal=sal, lr=1e-3, seed=3, passes=400, steps=60, batch=4, **SIZES)
    assert found["watched"] == ["blocks.0.units.0", "blocks.1.units.0"]
    start, end = found["log_sensitivity"]
    torch.manual_seed(3)
    default = sensitivities(CharacterModel(7, **SIZES), TEXT[:128].view(16, 8))
    if sal == "before":  # each pass lengthens the weights by at most lr
        assert all(a > b for a, b in zip(start, default.values(), strict=True))
    else:
        assert start == list(default.values())
    still = train_characters(TEXT, TEXT[:100], 7, lr=1e-3, seed=3, steps=60, batch=4, **SIZES)["log_sensitivity"][1]
    assert (end == still) == (sal == "never")


def test_xavier_sets_the_linear_layers_only():
    runs = [train_characters(TEXT, TEXT[:100], 7, line=line, lr=1e-9, seed=3, steps=1, **SIZES) for line in ("default", "Xavier")]
    narrow, wide = (run["log_sensitivity"][0] for run in runs)
    assert wide[0] > narrow[0]  # 16 -> 64: the bound is √(6/80) = 0.27 instead of 1/4
    with pytest.raises(ValueError, match="line"):
        train_characters(TEXT, TEXT, 7, line="He", lr=1e-3, seed=0)
    with pytest.raises(ValueError, match="sal"):
        train_characters(TEXT, TEXT, 7, sal="after", lr=1e-3, seed=0)
