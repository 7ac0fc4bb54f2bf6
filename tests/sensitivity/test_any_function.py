"""Lengths of Jacobian rows: against the formula of a neuron, against torch.func, and the root's bias with random tangents."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from salnb import neuron_sensitivity
from salnb.sensitivity.any_function import sensitivity_of
from tests.problems import random, seeded
from tests.tolerances import close

DOUBLE = {"dtype": torch.float64}


def rows_of(function, inputs):
    """Each sample's Jacobian by torch.func, whatever it costs."""
    flat = inputs.flatten(0, -2)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x: function(x.unsqueeze(0)).squeeze(0)))(flat)
    return jacobian.norm(dim=-1).detach().view(*inputs.shape[:-1], -1)


@pytest.mark.parametrize("n", [3, 9])  # fewer and more outputs than inputs: two ways to compute it
@pytest.mark.parametrize("name", ["tanh", "relu", "gelu", "silu"])
def test_of_neurons_it_is_the_slope_times_the_length_of_the_weights(n, name):
    layer, x = nn.Linear(5, n, **DOUBLE), random(2, 7, 5)
    function = getattr(F, name, torch.tanh)
    u = layer(x).detach()
    found = sensitivity_of(lambda x: function(layer(x)), x)
    torch.testing.assert_close(found, neuron_sensitivity(layer.weight.detach(), u, name), **close(torch.float64, 10))
    assert not found.requires_grad


LAYERS = {
    "layer norm": (lambda: nn.Sequential(nn.Linear(5, 9), nn.LayerNorm(9), nn.Tanh()), 5),
    "layer norm, narrow": (lambda: nn.Sequential(nn.Linear(9, 4), nn.LayerNorm(4), nn.Tanh()), 9),
    "frozen batch norm": (lambda: nn.Sequential(nn.Linear(5, 9), nn.BatchNorm1d(9)).eval(), 5),
    "two layers and a shortcut": (lambda: Shortcut(6), 6),
    "softmax": (lambda: nn.Sequential(nn.Linear(5, 4), nn.Softmax(-1)), 5),
}


class Shortcut(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(n, 2 * n), nn.Linear(2 * n, n)

    def forward(self, x):
        return x + self.b(torch.tanh(self.a(x)))


@pytest.mark.parametrize("name", LAYERS)
def test_of_any_layer_it_is_the_length_of_the_jacobians_rows(name):
    make, n_in = LAYERS[name]
    layer, x = make().double(), random(6, n_in)
    torch.testing.assert_close(sensitivity_of(layer, x), rows_of(layer, x), **close(torch.float64, 100))


def test_with_probes_the_square_is_unbiased_and_the_mean_too_low():
    layer, x = LAYERS["layer norm"][0]().double(), random(3, 5)
    right = sensitivity_of(layer, x)
    draws = torch.stack([sensitivity_of(layer, x, probes=1, generator=seeded(i)) for i in range(2000)]) / right
    # (J v)_i is normal with variance s_i²: its square has mean 1 and variance 2, its absolute value the mean √(2/π).
    n = draws.numel() / x.shape[-1]  # the entries of one sample share its tangent; at most M of them are independent
    assert abs(draws.square().mean() - 1) < 5 * math.sqrt(2 / n)
    assert abs(draws.mean() - math.sqrt(2 / math.pi)) < 5 * math.sqrt((1 - 2 / math.pi) / n)
    many = sensitivity_of(layer, x, probes=4000, generator=seeded(9)) / right
    assert (many - 1).abs().max() < 6 / math.sqrt(2 * 4000)


def test_replicas_float32_inference_mode_and_no_grad():
    weight = random(4, 6, 5).float()
    x = random(4, 7, 5).float()
    function = lambda x: torch.tanh(x @ weight.mT)  # noqa: E731
    expected = neuron_sensitivity(weight, x @ weight.mT)
    with torch.no_grad():
        torch.testing.assert_close(sensitivity_of(function, x), expected, **close(torch.float32, 10))
    with torch.inference_mode():
        torch.testing.assert_close(sensitivity_of(function, x.clone()), expected, **close(torch.float32, 10))


def test_bad_input_is_answered_in_words():
    x, layer = torch.ones(7, 5), nn.Linear(5, 3)
    for bad, kind, words in (
        (lambda: sensitivity_of(nn.BatchNorm1d(5), x), ValueError, r"depend on other samples.*BatchNorm.*\.eval\(\)"),
        (lambda: sensitivity_of(lambda x: x.detach(), x), ValueError, "does not depend on the inputs"),
        (lambda: sensitivity_of(lambda x: x.sum(), x), ValueError, r"gave shape \(\) for inputs \(7, 5\)"),
        (lambda: sensitivity_of(lambda x: (x, x), x), TypeError, "got tuple from it, expected a tensor"),
        (lambda: sensitivity_of(nn.Linear(4, 3), x), ValueError, r"could not be called with inputs of shape \(7, 5\)"),
        (lambda: sensitivity_of(3, x), TypeError, "function: got int"),
        (lambda: sensitivity_of(layer, x[0]), ValueError, r"inputs: got shape \(5,\)"),
        (lambda: sensitivity_of(layer, x.long()), ValueError, "inputs: got dtype torch.int64"),
        (lambda: sensitivity_of(layer, x, probes=0), ValueError, "probes: got 0"),
        (lambda: sensitivity_of(layer, [1.0]), TypeError, "inputs: got list"),
    ):
        with pytest.raises(kind, match=words):
            bad()
