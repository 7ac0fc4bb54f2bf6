"""Plain layers as PyTorch starts them: what a line does, replicas against ``nn.Sequential``, SAL and training on each alone."""

import math

import pytest
import torch
from torch import nn

from salnb import SAL, sal_pretrain
from salnb.experiments.tasks.handwritten_digits import all_digits
from salnb.experiments.training.plain_layers import batches, plain_layers, side_by_side, start_plain_layers, train_plain_layers
from tests.tolerances import spread, within

SEEDS = [3, 8]


def test_pytorch_draws_the_start_and_the_line_scales_the_same_draw():
    default, xavier, tanh = (plain_layers("tanh", line, 5, depth=4) for line in ("default", "Xavier 1", "Xavier 5/3"))
    torch.manual_seed(5)
    by_hand = [nn.Linear(64, 64) for _ in range(4)]
    for own, layer in zip(default[::2], by_hand, strict=False):
        assert torch.equal(own.weight, layer.weight) and torch.equal(own.bias, layer.bias)
    for net, gain in ((xavier, 1.0), (tanh, 5 / 3)):
        for layer, plain in zip(net[::2], default[::2], strict=True):
            bound = gain * math.sqrt(6 / sum(layer.weight.shape))
            assert layer.weight.abs().max() <= bound and torch.equal(layer.bias, plain.bias)
            assert abs(layer.weight.std().item() ** 2 / (bound**2 / 3) - 1) < spread(layer.weight.numel(), 1.8)


def test_the_line_of_he_doubles_the_variance_for_relu():
    net = plain_layers("relu", "He", 5, depth=3)
    for layer in net[::2]:
        assert abs(layer.weight.var().item() / (2 / 64) - 1) < spread(layer.weight.numel())


def test_the_global_generator_is_left_as_it_was():
    before = torch.random.get_rng_state()
    plain_layers("tanh", "Xavier 1", 1, depth=2)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(("activation", "line"), [("tanh", "default"), ("tanh", "Xavier 5/3"), ("relu", "He")])
def test_replicas_are_the_networks_of_a_reader(activation, line):
    """Start by SAL, then learning: side by side as one by one with PyTorch's own loop, in double precision.

    From the lines some neurons begin above target and some below, so that it matters by which average.
    """
    images, labels = all_digits()
    images, settings = images[:200].double(), dict(depth=4, passes=30, batch=8)
    torch.set_default_dtype(torch.float64)
    try:
        net, found = start_plain_layers(images, activation=activation, line=line, sal=True, seeds=SEEDS, **settings)
        train = (images, labels[:200])
        learned = train_plain_layers(net, train, train, lr=1e-3, seeds=SEEDS, steps=10, batch=8)
        for i, seed in enumerate(SEEDS):
            alone = plain_layers(activation, line, seed, depth=4)
            sal, draw = SAL(alone, average="rms"), batches([seed], 8, 200)
            sal_pretrain(alone, lambda: images[draw()[0]], sal, steps=30)  # noqa: B023
            alone(images)  # the last pass is over all 200 images, as the measurement of the start
            assert math.isclose(sal.log_sensitivity().mean().item(), found["log_sensitivity"][i], abs_tol=1e-6)
            sal.detach()
            draw, optimizer = batches([seed + 1], 8, 200), torch.optim.Adam(alone.parameters(), lr=1e-3)
            for _ in range(10):
                chosen = draw()[0]
                optimizer.zero_grad()
                nn.functional.cross_entropy(alone(images[chosen]), labels[chosen]).backward()
                optimizer.step()
            assert learned["accuracy"][i] == (alone(images).argmax(-1) == labels[:200]).double().mean().item()
            for mine, theirs in zip([*net.hidden, net.readout], alone[::2], strict=True):
                # Adam divides by the root of the squared gradient, which does not make errors grow where gradients are not tiny
                torch.testing.assert_close(mine.weight[i], theirs.weight, **within(theirs.weight, 40 * 4 * 64 * 10))
    finally:
        torch.set_default_dtype(torch.float32)


def test_an_unknown_line_is_refused():
    with pytest.raises(ValueError, match="line"):
        plain_layers("tanh", "Glorot", 0)
    with pytest.raises(ValueError, match="activation"):
        side_by_side([plain_layers("gelu", "default", 0)], "gelu")
