"""Training: the schedule, the order of the images, the history, and that the digits are learned."""

import math

import pytest
import torch
from sklearn.datasets import load_digits

from salnb.representations.krotov_hopfield import KrotovHopfieldLayer
from salnb.representations.krotov_hopfield_training import train_krotov_hopfield
from salnb.representations.normalization import lp_normalize
from tests.problems import random, seeded


class Watched(KrotovHopfieldLayer):
    """A layer that writes down what it is given."""

    def update_(self, x, lr):
        self.__dict__.setdefault("seen", []).append((x.clone(), lr))
        return super().update_(x, lr)


def images(*shape, seed=1, **given):
    return lp_normalize(random(*shape, seed=seed, **given))


def a_layer(kind=KrotovHopfieldLayer, device="cpu", **given):
    return kind(9, 12, **{**dict(replicas=(3,), generator=seeded(1), device=device, dtype=torch.float64), **given})


def test_the_rate_falls_linearly_to_0():
    layer = a_layer(Watched)
    train_krotov_hopfield(layer, images(10, 9), updates=8, lr=0.4, batch=5, generator=seeded(2))
    assert [lr for _, lr in layer.seen] == pytest.approx([0.4 * (8 - t) / 8 for t in range(8)])


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("replicas", [(), (3,), (2, 2)])
def test_every_image_comes_once_before_any_comes_again(own, replicas):
    layer, x = a_layer(Watched, replicas=replicas), images(*(replicas if own else ()), 12, 9)
    train_krotov_hopfield(layer, x, updates=6, lr=0.1, batch=4, generator=seeded(3))
    seen = torch.stack([x for x, _ in layer.seen])
    assert seen.shape == (6, *replicas, 4, 9)
    passes = seen.view(2, 3, -1, 4, 9).transpose(1, 2).flatten(2, 3)  # two passes, (2, R, 12, 9)
    given = x.expand(*replicas, 12, 9).reshape(-1, 12, 9)
    number = (passes.unsqueeze(-2) == given.unsqueeze(1)).all(-1).long().argmax(-1)  # which image stands where
    assert torch.equal(passes, given.expand(2, -1, -1, -1).gather(2, number.unsqueeze(-1).expand(-1, -1, -1, 9)))
    assert torch.equal(number.sort(-1).values, torch.arange(12).expand_as(number))
    assert len(number.flatten(0, 1).unique(dim=0)) == number.flatten(0, 1).shape[0]  # another order in each pass and replica


def test_training_is_its_steps(device):
    # What is learned is what the layer's own step learns from the same batches.
    layer, x = a_layer(Watched, device=device), images(10, 9, device=device)
    train_krotov_hopfield(layer, x, updates=7, lr=0.2, batch=4, generator=seeded(4))
    again = a_layer(device=device)
    for batch, lr in layer.seen:
        again.step(batch, lr)
    assert torch.equal(again.weight, layer.weight)


def test_the_same_generator_draws_the_same_training(device):
    results = []
    for seed in (5, 5, 6):
        layer = a_layer(device=device)
        train_krotov_hopfield(layer, images(10, 9, device=device), updates=7, lr=0.2, batch=4, generator=seeded(seed))
        results.append(layer.weight)
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


@pytest.mark.parametrize("updates", [1, 3, 20, 50])
def test_the_history(updates):
    layer, x, rows = a_layer(Watched), images(10, 9), sorted({updates * k // 20 for k in range(1, 21)} - {0})
    history = train_krotov_hopfield(layer, x, updates=updates, lr=0.2, batch=4, generator=seeded(7))
    assert history["updates"].tolist() == rows and list(history) == ["updates", "unconverged", "silent"]
    assert history["unconverged"].shape == history["silent"].shape == (len(rows), 3)
    again, start = a_layer(), 0
    for row, end in enumerate(rows):
        won = torch.zeros(3, 12)
        for batch, lr in layer.seen[start:end]:
            won.scatter_(-1, again(batch).argmax(-1), 1.0)
            again.step(batch, lr)
        start = end
        torch.testing.assert_close(history["silent"][row], 1 - won.double().mean(-1), rtol=0, atol=1e-6)
        torch.testing.assert_close(history["unconverged"][row], again.unconverged(), rtol=0, atol=1e-6)


def test_digits_without_their_mean_are_learned():
    # The whole recipe is 8,000 updates and leaves 2 % unconverged and 2 % silent, ± 2 % from layer to layer. With 3,000 it is 2 %
    # and 1 %, ± 2 %, so that the mean over eight layers has a standard error of 0.7 %, and 6 % are more than five of them away.
    pixels, generator = torch.tensor(load_digits().data, dtype=torch.float32), seeded(8)
    training = torch.stack([pixels[torch.randperm(1797, generator=generator)[:1347]] for _ in range(8)])
    x = lp_normalize(training - training.mean(-2, keepdim=True))
    layer = KrotovHopfieldLayer(64, 200, replicas=(8,), generator=generator)
    history = train_krotov_hopfield(layer, x, updates=3000, lr=0.04, batch=100, generator=generator)
    assert layer.unconverged().mean() < 0.06 and layer.silent(x).mean() < 0.06
    assert history["unconverged"][0].min() > 0.5  # they were not so at first


def test_a_short_start_collapses_and_is_refused():
    layer, x = KrotovHopfieldLayer(9, 30, generator=seeded(9)), images(200, 9, dtype=torch.float32).abs()
    layer.weight.mul_(0.2)
    with pytest.raises(ValueError, match="layer: half of the units or more are shorter.*collapses"):
        train_krotov_hopfield(layer, x, updates=5, lr=0.1, batch=20)
    for t in range(600):  # what it is refused for
        layer.step(x[torch.randperm(200, generator=seeded(t))[:20]], 0.05 * (1 - t / 600))
    assert layer.silent(x) > 0.9


def test_a_trained_layer_may_be_trained_on():
    layer, x = KrotovHopfieldLayer(9, 12, generator=seeded(10)), images(100, 9, dtype=torch.float32)
    for _ in range(2):
        train_krotov_hopfield(layer, x, updates=600, lr=0.1, batch=20, generator=seeded(11))
    layer.weight.copy_(images(12, 9, seed=12, dtype=torch.float32))  # and one whose units are images
    train_krotov_hopfield(layer, x, updates=5, lr=0.1, batch=20)
    alone = KrotovHopfieldLayer(9, 1, std=0.1, rank=1)
    train_krotov_hopfield(alone, x, updates=5, lr=0.1, batch=20)


def test_what_cannot_be_trained_is_refused():
    layer, x = a_layer(), images(10, 9)
    before, given = layer.weight.clone(), dict(updates=5, lr=0.1, batch=4)
    hole, dark = x.clone(), x.clone()
    hole[3, 2], dark[1] = math.nan, 0.0
    cases = [
        (dict(updates=0), ValueError, "updates: got 0"), (dict(updates=2.5), ValueError, "updates: got 2.5"),
        (dict(batch=0), ValueError, "batch: got 0"), (dict(batch=11), ValueError, "batch: got 11, but x has only 10 images"),
        (dict(lr=0), ValueError, "lr: got 0"), (dict(lr=math.nan), ValueError, "lr: got nan"), (dict(lr="a"), ValueError, "lr"),
        (dict(lr=10**400), ValueError, "lr: got a number beyond the range of floats"),
        (dict(progress="no"), TypeError, "progress: got"),
        (dict(batch=10**5000), ValueError, "batch: got a number beyond"),
        (dict(updates=10**20), ValueError, "updates: got 10{20}, e"),
        (dict(generator=0), TypeError, "generator: got int"), (dict(layer=torch.nn.Linear(9, 2)), TypeError, "layer: got Linear"),
        (dict(x=x.numpy()), TypeError, "numpy"), (dict(x=x.long()), ValueError, "int64"), (dict(x=x[0]), ValueError, "unsqueeze"),
        (dict(x=hole), ValueError, r"NaN or infinite, the first at \(3, 2\)"), (dict(x=dark), ValueError, "every pixel is 0"),
        (dict(x=x.expand(2, 10, 9)), ValueError, "are not the replicas"), (dict(x=x[:, :8]), ValueError, r"\(10, 8\)"),
        (dict(x=x.float()), ValueError, "float32"), (dict(x=x[:0]), ValueError, "holds no number"),
    ]  # fmt: skip
    for changed, kind, message in cases:
        arguments = {"layer": layer, "x": x, **given, **changed}
        with pytest.raises(kind, match=message):
            train_krotov_hopfield(arguments.pop("layer"), arguments.pop("x"), **arguments)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize(
    "given, lr, updates", [(dict(dtype=torch.float16, std=3.0), 0.04, 40), (dict(), 1e30, 40), (dict(), 1e30, 1)]
)
def test_training_that_overflows_is_told(given, lr, updates):
    layer = KrotovHopfieldLayer(64, 50, generator=seeded(1), **given)
    x = images(100, 64, dtype=torch.float32).to(layer.weight.dtype)
    x = x * {(torch.float16, 40): 1e4, (torch.float32, 40): 1.0, (torch.float32, 1): 1e38}[x.dtype, updates]
    message = rf"NaN or infinite after \d+ of {updates} updates with lr .*{layer.weight.dtype}; .*smaller lr"
    with pytest.raises(RuntimeError, match=message):
        train_krotov_hopfield(layer, x, updates=updates, lr=lr, batch=20, generator=seeded(2))


@pytest.mark.parametrize("place", [(slice(None),), (1, 0, 0)])
def test_training_from_weights_that_are_not_finite_is_refused(place):
    layer = a_layer()
    layer.weight[place] = math.nan
    with pytest.raises(RuntimeError, match="layer: .* weights are NaN or infinite, in torch.float64"):
        train_krotov_hopfield(layer, images(10, 9), updates=5, lr=0.1, batch=4)


def test_training_inside_and_outside_of_inference_mode():
    layer, other, x = a_layer(), a_layer(), images(10, 9)
    for one, mode in ((layer, True), (layer, False), (other, False), (other, False)):
        with torch.inference_mode(mode):
            train_krotov_hopfield(one, x, updates=5, lr=0.1, batch=4, generator=seeded(3))
    assert torch.equal(layer.weight, other.weight)
    with torch.inference_mode():
        inner = a_layer()
    with pytest.raises(RuntimeError, match="layer: its weights were made in torch.inference_mode"):
        train_krotov_hopfield(inner, x, updates=5, lr=0.1, batch=4)
