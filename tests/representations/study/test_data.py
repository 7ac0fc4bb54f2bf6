"""The three data sets of the comparison: parts that share nothing, images of norm 1, and no seed left behind."""

import numpy as np
import pytest
import torch

from salnb.representations.study import data
from tests.tolerances import rounding


@pytest.mark.parametrize("name", ["digits", "patches"])
@pytest.mark.parametrize("centre", [True, False])
def test_parts_have_their_sizes_and_images_of_norm_one(name, centre):
    split = data.split_of(name, 2, torch.Generator().manual_seed(1), centre=centre)
    for part, size in zip(split[:3], data.SIZES[name], strict=True):
        assert part.images.shape[:2] == part.labels.shape == (2, size)
        norms = part.images.double().abs().pow(3).sum(-1).pow(1 / 3)
        assert (norms - 1).abs().max() < rounding(torch.float32, part.images.shape[-1])
        assert part.labels.unique().tolist() == list(range(split.classes))
    assert not torch.equal(split.fit.images[0], split.fit.images[1])
    if not centre:
        assert split.fit.images.mean(-2).abs().max() > 0.1 and split.fit.images.min() >= 0


def test_no_digit_is_in_two_parts():
    split = data.split_of("digits", 2, torch.Generator().manual_seed(2), centre=False)
    for replica in range(2):
        rows = torch.cat([part.images[replica] for part in split[:3]])
        assert len(torch.unique(rows, dim=0)) == len(rows)  # scikit-learn's 1,797 digits are all different


def test_patches_to_select_on_and_to_judge_by_lie_in_other_stripes(monkeypatch):
    seen = []
    monkeypatch.setattr(data, "natural_patches", lambda *args, **kw: seen.append(natural(*args, **kw)) or seen[-1])
    natural = __import__("salnb.representations.images.natural_images", fromlist=["natural_patches"]).natural_patches
    parts = data._patches(torch.Generator().manual_seed(3), (50, 20, 30), True)
    (_, _), (images, _, places) = seen
    where = {row.numpy().tobytes(): int(place[2]) // 64 for row, place in zip(images, places, strict=True)}
    stripes = [{where[row.numpy().tobytes()] for row in part} for part, _ in parts[1:]]
    assert [len(part) for part, _ in parts] == [50, 20, 30]
    assert stripes[0] <= {3, 7} and stripes[1] <= {1, 5, 9}


def test_a_generated_set_leaves_numpys_generator_alone():
    pytest.importorskip("mnist1d")
    np.random.seed(5)
    expected = np.random.RandomState(5).rand()
    images, labels = data._mnist1d(torch.Generator().manual_seed(4), (30, 10, 10), True)[0]
    assert np.random.rand() == expected
    assert images.shape == (30, 40) and labels.shape == (30,)
    again = data._mnist1d(torch.Generator().manual_seed(5), (30, 10, 10), True)[0][0]
    assert not torch.equal(images, again)


def test_an_unknown_set_is_refused():
    with pytest.raises(ValueError, match="name: got 'mnist', expected one of digits, patches, mnist1d"):
        data.split_of("mnist", 1, torch.Generator())
