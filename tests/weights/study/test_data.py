"""Splits share nothing, and nothing that is tested was fitted, not even as its mirror image."""

import numpy as np
import pytest
import torch

from salnb.weights.study.data import SETS, addition, split_of
from tests.problems import seeded
from tests.tolerances import rounding


@pytest.mark.parametrize("name", SETS)
def test_each_replica_has_a_split_of_its_own(name):
    if name == "mnist1d":
        pytest.importorskip("mnist1d")
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    split = split_of(name, 2, seeded())
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    n_fit, n_test = SETS[name]
    assert split.fit.inputs.shape[:2] == (2, n_fit) and split.test.labels.shape == (2, n_test)
    for part in split:
        assert part.inputs.dtype == torch.float32 and set(part.labels.unique().tolist()) == set(range(10))
    scale = rounding(torch.float32, 10)
    assert split.fit.inputs.mean((1, 2)).abs().max() < scale * 10
    assert (split.fit.inputs.std((1, 2)) - 1).abs().max() < scale * 10
    for r in range(2):
        rows = torch.cat([split.fit.inputs[r], split.test.inputs[r]])
        assert len(rows.unique(dim=0)) == len(rows)  # no sample is in both parts
    assert not torch.equal(split.fit.inputs[0], split.fit.inputs[1])
    again = split_of(name, 2, seeded())
    assert torch.equal(again.fit.inputs, split.fit.inputs) and torch.equal(again.test.labels, split.test.labels)


def test_permuted_labels_are_the_same_labels_elsewhere():
    plain, permuted = split_of("digits", 2, seeded()), split_of("digits", 2, seeded(), permuted=True)
    assert torch.equal(plain.fit.inputs, permuted.fit.inputs) and torch.equal(plain.test.labels, permuted.test.labels)
    assert torch.equal(plain.fit.labels.sort(-1).values, permuted.fit.labels.sort(-1).values)
    same = (plain.fit.labels == permuted.fit.labels).float().mean(-1)
    assert ((same > 0.05) & (same < 0.15)).all()  # a tenth by chance: 5 standard errors of 1437 draws are 0.04


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_no_pair_to_test_is_fitted_in_either_order(share):
    data = addition(13, share, 3, seeded())
    assert data.fit.inputs.shape == (3, round(share * 169), 2)
    for r in range(3):
        fitted = {tuple(pair) for pair in data.fit.inputs[r].tolist()}
        tested = [tuple(pair) for pair in data.test.inputs[r].tolist()]
        assert len(fitted) == round(share * 169) and len(set(tested)) == len(tested) > 0
        assert not any((a, b) in fitted or (b, a) in fitted for a, b in tested)
    for part in (data.fit, data.test):
        assert torch.equal(part.labels, (part.inputs[..., 0] + part.inputs[..., 1]) % 13)
    few = addition(13, share, 1, seeded())
    free = 169 - len({p for a, b in few.fit.inputs[0].tolist() for p in ((a, b), (b, a))})
    assert few.test.labels.shape[-1] == free  # of one replica all that are free


def test_words():
    with pytest.raises(ValueError, match="name: got 'mnist', expected one of digits, mnist1d"):
        split_of("mnist", 1, seeded())
    for share in (0.0, 1.0, float("nan"), "half"):
        with pytest.raises(ValueError, match="share: got .* expected a share in"):
            addition(7, share, 1, seeded())
    with pytest.raises(ValueError, match="share: got 0.98, which leaves no pair to test"):
        addition(7, 0.98, 1, seeded(3))
