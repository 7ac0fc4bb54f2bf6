"""Patches against the photographs themselves; nothing shared between training and test; the generator decides everything."""

import sys

import numpy
import pytest
import torch
from sklearn.datasets import load_sample_images

from salnb.representations.images import natural_images
from salnb.representations.images.natural_images import natural_patches
from salnb.representations.normalization import lp_normalize
from tests.problems import seeded
from tests.tolerances import counted, rounding

PHOTOS = [torch.from_numpy(image.copy()).double() / 255 for image in load_sample_images().images]  # (height, width, 3)


@pytest.mark.parametrize("size", [1, 5, 16, 427])
@pytest.mark.parametrize("centre", [True, False])
def test_patches_are_cut_from_the_photographs(size, centre):
    if size == 1 and centre:
        pytest.skip("nothing is left of one pixel")
    x, places = natural_patches(30, size=size, centre=centre, generator=seeded(), positions=True)
    assert x.shape == (30, 3 * size * size) and x.dtype == torch.float32 and places.dtype == torch.int64
    for patch, (photo, row, column) in zip(x, places.tolist(), strict=True):
        expected = PHOTOS[photo][row : row + size, column : column + size]
        assert expected.shape == (size, size, 3)
        if centre:
            expected = expected - expected.mean((0, 1))
        torch.testing.assert_close(patch.double(), expected.permute(2, 0, 1).flatten(), rtol=0, atol=rounding(torch.float32, 2))


def test_centring_is_of_each_patch_and_channel_alone():
    centred = natural_patches(200, generator=seeded())
    raw = natural_patches(200, centre=False, generator=seeded()).view(200, 3, 256)
    assert 0 <= raw.min() and raw.max() <= 1
    expected = (raw - raw.mean(-1, keepdim=True)).flatten(1)
    torch.testing.assert_close(centred, expected, rtol=0, atol=rounding(torch.float32, 256))
    means = centred.view(200, 3, 256).double().mean(-1)
    assert means.abs().max() < rounding(torch.float32, 1)  # rounded once, from whole numbers
    # Which other patches were drawn does not matter.
    assert torch.equal(natural_patches(1, generator=seeded(3)), natural_patches(1, generator=seeded(3)))


@pytest.mark.parametrize("size", [1, 16, 63, 64])
def test_training_and_test_share_no_pixel(size):
    seen = torch.zeros(2, 2, 427, 640, dtype=torch.bool)
    for i, part in enumerate(("train", "test")):
        _, places = natural_patches(3000, size=size, centre=False, stripes=part, generator=seeded(i), positions=True)
        assert set((places[:, 2] // 64 % 2).tolist()) == {i}
        for photo, row, column in places.tolist():
            seen[i, photo, row : row + size, column : column + size] = True
    assert not (seen[0] & seen[1]).any()
    columns = seen.any(2)  # (part, photograph, column)
    if size > 60:  # between them they reach every column; of smaller ones, few patches begin at the edge of a stripe
        assert columns.any(0).all()


def test_labels_are_photograph_and_third_of_the_height():
    x, labels, places = natural_patches(2000, labels=True, positions=True, generator=seeded())
    assert x.shape == (2000, 768) and labels.dtype == torch.int64
    photo, row, _ = places.unbind(-1)
    assert torch.equal(labels, 3 * photo + ((row + 8) / (427 / 3)).floor().long())
    rows = torch.arange(412)
    for third in range(3):
        low, high = counted(float((((rows + 8) * 3 // 427) == third).double().mean()) / 2, 2000)
        assert low <= int((labels == third).sum()) <= high and low <= int((labels == 3 + third).sum()) <= high
    for part in ("train", "test"):
        assert natural_patches(500, labels=True, stripes=part, generator=seeded())[1].unique().tolist() == [0, 1, 2, 3, 4, 5]


def test_what_is_returned_depends_on_what_is_asked_for_and_the_patches_do_not():
    alone = natural_patches(9, generator=seeded())
    with_labels = natural_patches(9, labels=True, generator=seeded())
    with_both = natural_patches(9, labels=True, positions=True, generator=seeded())
    assert isinstance(alone, torch.Tensor) and len(with_labels) == 2 and len(with_both) == 3
    assert torch.equal(alone, with_labels[0]) and torch.equal(alone, with_both[0]) and torch.equal(with_labels[1], with_both[1])


def test_the_generator_decides_and_pytorchs_own_is_untouched():
    state = torch.get_rng_state()
    first, second = natural_patches(9, generator=seeded(1)), natural_patches(9, generator=seeded(2))
    assert not torch.equal(first, second) and torch.equal(first, natural_patches(9, generator=seeded(1)))
    assert torch.equal(state, torch.get_rng_state())
    natural_patches(9)
    assert not torch.equal(state, torch.get_rng_state())


def test_patches_are_on_the_generators_device(device):
    x, labels = natural_patches(5, labels=True, generator=torch.Generator(device).manual_seed(0))
    assert x.device.type == labels.device.type == device.type


@pytest.mark.parametrize("size", [2, 4, 8])
def test_small_patches_are_never_flat_when_centred(size):
    raw = natural_patches(20_000, size=size, centre=False, generator=seeded()).view(20_000, 3, -1)
    flat = (raw == raw[..., :1]).all(-1).all(-1)
    x, places = natural_patches(20_000, size=size, generator=seeded(), positions=True)
    assert bool((x.abs().amax(-1) > 0).all())
    lp_normalize(x)
    # The other patches are those that were drawn without centring.
    kept = natural_patches(20_000, size=size, centre=False, generator=seeded(), positions=True)[1][~flat]
    assert torch.equal(places[~flat], kept) and (size > 2 or flat.any())


def test_photographs_are_read_once_and_not_changed():
    before = natural_images.photographs().clone()
    x = natural_patches(5, centre=False, generator=seeded())
    x.zero_()
    assert torch.equal(natural_images.photographs(), before) and natural_images.photographs() is natural_images.photographs()


@pytest.mark.parametrize("missing", ["PIL", "sklearn.datasets"])
def test_what_is_not_installed_is_named(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)  # Python's own way to say that it cannot be imported
    natural_images.photographs.cache_clear()
    with pytest.raises(ImportError, match=f"read with pillow; {missing} is not installed; .*pip install scikit-learn pillow"):
        natural_patches(3)
    natural_images.photographs.cache_clear()


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: natural_patches(0), ValueError, "n: got 0, expected an integer >= 1"),
        (lambda: natural_patches(3.0), ValueError, "n: got 3.0"),
        (lambda: natural_patches(3, size=1), ValueError, "size: got 1, expected an integer >= 2"),
        (lambda: natural_patches(3, size=0, centre=False), ValueError, "size: got 0"),
        (lambda: natural_patches(3, size=428), ValueError, "size: got 428, expected at most 427 pixels, the height"),
        (lambda: natural_patches(3, size=65, stripes="test"), ValueError, "size: got 65, expected at most 64 pixels, the width"),
        (lambda: natural_patches(3, stripes="valid"), ValueError, "stripes: got 'valid', expected 'train', 'test' or None"),
        (lambda: natural_patches(10**20), ValueError, "n: got 10{20} patches of size 16, expected at most 13020833 of them"),
        (lambda: natural_patches(10**5000), ValueError, "n: got a number beyond the range of floats"),
        (lambda: natural_patches(3, size=10**5000), ValueError, "size: got a number beyond"),
        (lambda: natural_patches(3, stripes=numpy.array(["train", "test"])), ValueError, "stripes: got array"),
        (lambda: natural_patches(3, centre="no"), TypeError, "centre: got 'no', expected True or False"),
        (lambda: natural_patches(3, labels="no"), TypeError, "labels: got 'no', expected True or False"),
        (lambda: natural_patches(3, positions=1), TypeError, "positions: got 1, expected True or False"),
        (lambda: natural_patches(3, stripes=True), ValueError, "stripes: got True"),
        (lambda: natural_patches(3, generator=0), TypeError, "generator: got int, expected a torch.Generator"),
        (lambda: natural_patches(3, generator=numpy.random.default_rng(0)), TypeError, "generator: got Generator"),
    ],
)
def test_bad_input_is_refused_in_words(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
