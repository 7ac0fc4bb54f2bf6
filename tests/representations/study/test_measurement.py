"""What is measured on a network, where algebra knows the answer."""

import math
from functools import partial

import pytest
import torch

from salnb.representations.attacks import fgsm, gaussian_noise
from salnb.representations.hidden_net import HiddenNet
from salnb.representations.study import measurement as measure
from salnb.representations.study.data import Samples, Split


def linear_net(replicas: int, generator: torch.Generator) -> HiddenNet:
    """Two classes, logits V x: W is the identity and its negative, which makes of ReLU the identity."""
    eye = torch.cat([torch.eye(6), -torch.eye(6)])
    net = HiddenNet.from_weight(eye.expand(replicas, 12, 6), 2, generator=generator)
    with torch.no_grad():
        half = torch.randn(replicas, 2, 6, generator=generator)
        net.readout_weight.copy_(torch.cat([half, -half], -1))
    return net.eval()


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(1)
    net, x = linear_net(3, generator), torch.randn(3, 40, 6, generator=generator)
    with torch.no_grad():
        y = net(x).argmax(-1)
    y[:, :5] = 1 - y[:, :5]
    weight = net.readout_weight[..., :6]
    across = (weight[:, 0] - weight[:, 1]).detach()
    margin = (x @ across.unsqueeze(-1)).squeeze(-1).abs()
    return net, Samples(x, y), across, margin


def test_critical_length_on_a_linear_network(case):
    """The margin over the L1 norm, times the root of the dimension, found from above and to a step of the finest grid."""
    net, samples, across, margin = case
    exact = math.sqrt(6) * margin / across.abs().sum(-1, keepdim=True)
    found = measure.critical_length(net, samples, fgsm, 1e-6, 100.0)
    assert (found[:, :5] == 0).all()
    ratio = (found / exact)[:, 5:]
    finest = measure.COARSE ** (0.5**measure.HALVINGS)
    assert ratio.min() > 1 - 1e-4 and ratio.max() < finest + 1e-4


def test_what_nothing_flips_is_infinite(case):
    net, samples, _, margin = case
    found = measure.critical_length(net, samples, fgsm, 1e-8, 1e-7)
    assert torch.isinf(found[:, 5:][margin[:, 5:] > 1e-5]).all()
    direction = torch.zeros_like(samples.images)
    assert torch.isinf(measure.critical_length(net, samples, partial(gaussian_noise, direction=direction), 0.1, 1.0)[:, 5:]).all()


def test_medians_are_over_the_chosen_samples_of_each_replica():
    lengths = torch.tensor([[0.0, 1.0, 2.0, 9.0], [0.0, 0.0, 0.0, 0.0]])
    assert measure.median_of(lengths, lengths > 0) == [2.0, 0.0]
    assert measure.median_of(lengths, lengths >= 0) == [1.0, 0.0]


def test_geometry_of_a_known_spectrum():
    """Weights that scale white inputs by n^(-a / 2): exponent a over white noise; and over images whose exponent is b, a + b."""
    generator = torch.Generator().manual_seed(2)
    ranks = torch.arange(1, 41, dtype=torch.float32)
    net = HiddenNet.from_weight(torch.diag(ranks**-0.5).expand(2, 40, 40), 3, generator=generator)
    images = torch.randn(2, 4000, 40, generator=generator) * ranks**-0.4
    samples = Samples(images, torch.zeros(2, 4000, dtype=torch.int64))
    found = measure.geometry(net, Split(samples, samples, samples, 3, (4, 30)), generator)
    # The error of a log eigenvalue is about sqrt(2 / N); the slope of 27 of them over a log range of 2 has less than 0.03.
    assert max(abs(a - 1.8) for a in found["alpha"]) < 0.05 and max(abs(a - 1.0) for a in found["alpha_noise"]) < 0.05
    assert max(map(abs, found["bend"])) < 0.25 and len(found["spectrum"]) == 40
    assert abs(found["weight_norm"][0] - (1 / ranks).sum().sqrt()) < 1e-4


def test_a_layer_of_fewer_dimensions_than_the_window_has_no_exponent():
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(2, 40, 5, generator=generator) @ torch.randn(2, 5, 30, generator=generator)
    net = HiddenNet.from_weight(weight, 3, generator=generator)
    samples = Samples(torch.randn(2, 200, 30, generator=generator), torch.zeros(2, 200, dtype=torch.int64))
    found = measure.geometry(net, Split(samples, samples, samples, 3, (4, 20)), generator)
    assert all(math.isnan(value) for key in ("alpha", "r2", "alpha_noise", "bend") for value in found[key])
    assert min(found["roughness"]) > 0


def test_all_attacks_are_measured_and_pgd_is_not_weaker_than_fgsm(case):
    net, samples, *_ = case
    found = measure.robustness(net, samples, torch.Generator().manual_seed(3), search=True, box=(-9.0, 9.0))
    assert {"noise", "fgsm", "pgd", "pgd_few", "search", "pgd_five", "pgd_clamped", "masked"} <= set(found)
    for pgd, fast in zip(found["pgd"], found["fgsm"], strict=True):
        assert pgd <= fast * measure.COARSE ** (0.5**measure.HALVINGS)
    for pgd, search in zip(found["pgd_few"], found["search"], strict=True):
        assert abs(math.log(pgd / search)) < 1e-4  # on a linear network both are exact
    assert found["masked"] == [0.0, 0.0, 0.0]
