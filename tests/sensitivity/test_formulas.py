"""The formulas against automatic differentiation in float64."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from salnb import log_sensitivity, neuron_sensitivity, sensitivity_gradient
from tests.problems import autograd_sensitivity, random
from tests.tolerances import close, rounding

# Four products, the activation and two derivatives of it, a norm, a mean over seven samples, of numbers up to 10.
EXACT = close(torch.float64, 100, 10)
FUNCTIONS = {
    "tanh": ("tanh", torch.tanh),
    "sigmoid": ("sigmoid", torch.sigmoid),
    "relu": ("relu", torch.relu),
    "leaky_relu": ("leaky_relu", F.leaky_relu),
    "gelu": ("gelu", F.gelu),
    "softplus": ("softplus", F.softplus),
    "identity": ("identity", lambda u: 1.0 * u),
    "module": (nn.Sigmoid(), torch.sigmoid),
    "leaky_relu 0.3": (nn.LeakyReLU(0.3), lambda u: F.leaky_relu(u, 0.3)),
    "leaky_relu falling": (nn.LeakyReLU(-0.4), lambda u: torch.where(u > 0, u, -0.4 * u)),
    "gelu tanh": (nn.GELU("tanh"), lambda u: F.gelu(u, approximate="tanh")),
    "softplus beyond its threshold": (nn.Softplus(threshold=1.0), lambda u: F.softplus(u, threshold=1.0)),
    "softplus beta": (nn.Softplus(2.5, 3.0), lambda u: F.softplus(u, beta=2.5, threshold=3.0)),
}


def layer(*lead: int, device, n: int = 6, m: int = 4, batch: int = 7):
    weight = random(*lead, n, m, seed=1, device=device)
    inputs = random(*lead, batch, m, seed=2, device=device)
    pre = torch.einsum("...nm,...bm->...bn", weight, inputs) + random(*lead, 1, n, seed=3, device=device)
    return weight, inputs, pre


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
@pytest.mark.parametrize("case", FUNCTIONS)
def test_sensitivity_and_its_gradient_equal_autograd(case, lead, device):
    activation, function = FUNCTIONS[case]
    weight, inputs, pre = layer(*lead, device=device)
    sensitivity, by_weight, by_bias = autograd_sensitivity(weight, inputs, pre, function)
    torch.testing.assert_close(neuron_sensitivity(weight, pre, activation), sensitivity, **EXACT)
    found = sensitivity_gradient(weight, inputs, pre, activation)
    assert found[0].shape == (*lead, 6, 4) and found[1].shape == (*lead, 6)
    torch.testing.assert_close(found[0], by_weight, **EXACT)
    torch.testing.assert_close(found[1], by_bias, **EXACT)


@pytest.mark.parametrize("leads", [((), (3,), (3,)), ((3,), (), (3,)), ((2, 1), (3,), (2, 3)), ((2, 3), (), (3,))])
def test_leading_dimensions_broadcast(leads, device):
    by_weight, by_inputs, by_pre = leads
    weight, inputs, pre = random(*by_weight, 5, 4), random(*by_inputs, 6, 4, seed=1), random(*by_pre, 6, 5, seed=2)
    weight, inputs, pre = (tensor.to(device) for tensor in (weight, inputs, pre))
    expected = autograd_sensitivity(weight, inputs, pre, torch.tanh)
    torch.testing.assert_close(neuron_sensitivity(weight, pre).expand_as(expected[0]), expected[0], **EXACT)
    for found, wanted in zip(sensitivity_gradient(weight, inputs, pre), expected[1:], strict=True):
        torch.testing.assert_close(found, wanted, **EXACT)


def test_tanh_gradient_is_the_papers_formula(device):
    weight, inputs, pre = layer(device=device, batch=1)
    x, output, norm = inputs[0], torch.tanh(pre[0]), weight.square().sum(-1).sqrt()
    slope = 1 - output**2
    by_weight, by_bias = sensitivity_gradient(weight, inputs, pre)
    expected = (slope / norm)[:, None] * weight - (2 * output * slope * norm)[:, None] * x
    torch.testing.assert_close(by_weight, expected, **EXACT)
    torch.testing.assert_close(by_bias, -2 * output * slope * norm, **EXACT)


def test_sensitivity_by_hand():
    found = neuron_sensitivity(torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[0.0, 0.0], [100.0, -100.0]]))
    assert found.tolist() == [[5.0, 2.0], [0.0, 0.0]]


def test_a_small_step_along_the_gradient_raises_the_mean_by_its_squared_length(device):
    weight, inputs, pre = layer(device=device)
    by_weight, by_bias = sensitivity_gradient(weight, inputs, pre)
    eps, expected = 1e-5, by_weight.square().sum(-1) + by_bias.square()

    def mean(step: float) -> torch.Tensor:
        moved = pre + step * (inputs @ by_weight.mT + by_bias)
        return neuron_sensitivity(weight + step * by_weight, moved).mean(-2)

    # Both ways, so that what remains is of the second order in the step, times a third derivative along a gradient as long as
    # its square root: expected². And the rounding of two numbers of the size of the weights' norm, over the step.
    size = 1 + expected.max().item()
    error = eps**2 * size**2 + rounding(torch.float64, 20, size) / eps
    torch.testing.assert_close((mean(eps) - mean(-eps)) / (2 * eps), expected, rtol=0, atol=error)


@pytest.mark.parametrize("case", FUNCTIONS)
def test_gradient_is_0_where_a_row_has_norm_0(case, device):
    weight, inputs, pre = layer(2, device=device)
    weight[0, 2] = 0
    by_weight, by_bias = sensitivity_gradient(weight, inputs, pre, FUNCTIONS[case][0])
    assert by_weight[0, 2].abs().max() == 0 and by_bias[0, 2] == 0
    assert bool(torch.isfinite(by_weight).all()) and by_weight[1, 2].abs().max() > 0
    assert neuron_sensitivity(weight, pre)[0, :, 2].abs().max() == 0


@pytest.mark.parametrize("dim", [-1, (-2, -1), 0, (0, 2)])
def test_log_sensitivity_is_half_the_log_of_the_mean_square(dim, device):
    sensitivity = random(3, 4, 5, device=device).abs()
    dims = dim if isinstance(dim, tuple) else (dim,)
    count = torch.tensor([sensitivity.shape[d] for d in dims]).prod()
    torch.testing.assert_close(log_sensitivity(sensitivity, dim=dim), ((sensitivity**2).sum(dim) / count).log() / 2, **EXACT)


def test_log_sensitivity_defaults_to_the_neurons_and_is_minus_infinity_at_0(device):
    found = log_sensitivity(torch.tensor([[2.0, 2.0], [0.0, 0.0]], device=device))
    torch.testing.assert_close(found, torch.tensor([0.6931472, -torch.inf], device=device))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_comes_from_the_tensors(dtype, device):
    weight, inputs, pre = (t.to(dtype) for t in layer(device=device))
    for activation in ("tanh", "leaky_relu", "softplus", "gelu"):
        found = (neuron_sensitivity(weight, pre, activation), *sensitivity_gradient(weight, inputs, pre, activation))
        assert {t.dtype for t in found} == {dtype} and {t.device for t in found} == {weight.device}


def test_arguments_are_left_as_they_are(device):
    weight, inputs, pre = layer(device=device)
    before = [t.clone() for t in (weight, inputs, pre)]
    neuron_sensitivity(weight, pre)
    sensitivity_gradient(weight, inputs, pre)
    assert all(torch.equal(a, b) for a, b in zip(before, (weight, inputs, pre), strict=True))


W, U, X = torch.ones(3, 4), torch.ones(5, 3), torch.ones(5, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: neuron_sensitivity(W, torch.ones(5, 4)), "pre_activation: got 4 neurons .* weight has 3 rows"),
        (lambda: neuron_sensitivity(W[0], U), r"weight: got shape \(4,\), expected \(\.\.\., N, M\)"),
        (lambda: neuron_sensitivity(W, U[0]), r"pre_activation: got shape \(3,\).*unsqueeze"),
        (lambda: neuron_sensitivity(torch.ones(2, 3, 4), torch.ones(3, 5, 3)), r"leading replica dim.*\(2,\).*\(3,\)"),
        (lambda: neuron_sensitivity(W.long(), U), "weight: got dtype torch.int64, expected a floating-point tensor"),
        (lambda: neuron_sensitivity(W, U, "swish"), "activation: got 'swish', expected one of tanh, sigmoid, relu"),
        (lambda: neuron_sensitivity(W, U, nn.Softmax(-1)), "activation: Softmax is no elementwise function"),
        (lambda: neuron_sensitivity(W, U, None), "activation: got None, expected one of tanh"),
        (lambda: sensitivity_gradient(W, torch.ones(5, 3), U), r"inputs: got shape \(5, 3\), expected \(\.\.\., 5, 4\)"),
        (lambda: sensitivity_gradient(W, torch.ones(6, 4), U), r"inputs: got shape \(6, 4\), expected \(\.\.\., 5, 4\)"),
        (lambda: sensitivity_gradient(W, X.int(), U), "inputs: got dtype torch.int32"),
        (lambda: sensitivity_gradient(W, X, torch.ones(5, 2)), "pre_activation: got 2 neurons"),
    ],
)
def test_bad_input_is_a_value_error_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
