"""The network of one hidden layer against its formula, written for one sample and one replica."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from salnb.representations.hidden_net import HiddenNet, raised_to_power
from salnb.sensitivity.activations import ACTIVATIONS
from tests.problems import random, seeded
from tests.tolerances import counted, rounding, spread, within

DOUBLE = dict(dtype=torch.float64)


def a_net(device="cpu", **given):
    settings = {"power": 4.5, "replicas": (3,), "generator": seeded(1), "device": device, **DOUBLE, **given}
    net = HiddenNet(5, 7, 4, **settings)
    with torch.no_grad():
        net.readout_bias.copy_(random(*net.readout_bias.shape, seed=9, device=device))
    return net


@pytest.mark.parametrize("power, activation", [(1.0, "relu"), (4.5, "relu"), (1.0, "tanh"), (2.0, "sigmoid"), (1, nn.Tanh())])
def test_a_net_is_its_formula(device, power, activation):
    net = a_net(device, power=power, activation=activation)
    function = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}[net.activation]
    own, shared = random(3, 6, 5, seed=2, device=device), random(6, 5, seed=3, device=device)
    for x in (own, shared):
        for r in range(3):
            for b, sample in enumerate(x[r] if x.ndim == 3 else x):
                pre = net.hidden_weight[r] @ sample
                hidden = function(pre) ** power
                logits = net.readout_weight[r] @ hidden + net.readout_bias[r]
                for found, expected in ((net.pre(x), pre), (net.hidden(x), hidden), (net(x), logits)):
                    scale = 10 + expected.abs().max().item()  # at least that of the bias and the terms that cancel
                    torch.testing.assert_close(found[r, b], expected, **within(expected, 12 + 2 * power, scale))


@pytest.mark.parametrize("replicas", [(), (2,), (2, 3), 4])
def test_shapes_for_any_replicas(replicas):
    net, lead = HiddenNet(5, 7, 4, replicas=replicas), (replicas,) if isinstance(replicas, int) else replicas
    assert net.hidden_weight.shape == (*lead, 7, 5) and net.readout_weight.shape == (*lead, 4, 7)
    assert net.readout_bias.shape == (*lead, 4) and net.replicas == lead and net.power == 1.0 and net.activation == "relu"
    assert net(torch.zeros(6, 5)).shape == (*lead, 6, 4) and net(torch.zeros(*lead, 6, 5)).shape == (*lead, 6, 4)
    assert not net.readout_bias.any()


def test_the_start_is_that_of_he():
    net = HiddenNet(50, 400, 10, replicas=(5,), generator=seeded(2))
    for weight, fan_in in ((net.hidden_weight, 50), (net.readout_weight, 400)):
        n, variance = weight.numel(), weight.double().square().mean().item()
        assert abs(variance * fan_in / 2 - 1) < spread(n)
        assert abs(weight.double().mean().item()) < 5 * math.sqrt(2 / fan_in / n)
    low, high = counted(0.5, net.hidden_weight.numel())
    assert low <= int((net.hidden_weight > 0).sum()) <= high


def test_only_the_generator_decides(device):
    state = torch.get_rng_state()
    first, again = (HiddenNet(5, 7, 4, generator=seeded(4), device=device) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b) and a.device.type == device.type
    on_cpu = HiddenNet(5, 7, 4, generator=seeded(4))
    assert torch.equal(first.hidden_weight.cpu(), on_cpu.hidden_weight)


def test_relu_and_power_are_homogeneous():
    net, x, c = a_net(power=4.5), random(6, 5), 1.7
    expected = c**4.5 * net.hidden(x)
    torch.testing.assert_close(net.hidden(c * x), expected, **within(expected, 20))


@pytest.mark.parametrize("name", ["relu", "sigmoid", "softplus"])
@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 4.5])
def test_the_response_and_its_derivatives(name, power):
    response = raised_to_power(ACTIVATIONS[name], power)
    u = random(50, seed=5).requires_grad_()
    (slope,) = torch.autograd.grad(response.function(u).sum(), u, create_graph=True)
    torch.testing.assert_close(response.slope(u), slope, **within(slope, 20))
    if slope.requires_grad:
        (curvature,) = torch.autograd.grad(slope.sum(), u)
        torch.testing.assert_close(response.curvature(u), torch.nan_to_num(curvature), **within(curvature, 20))


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 4.5])
def test_a_silent_unit_has_derivatives_of_zero(power):
    response = raised_to_power(ACTIVATIONS["relu"], power)
    u = torch.tensor([-1.0, 0.0], **DOUBLE).requires_grad_()
    assert not response.function(u).any() and not response.slope(u).any() and not response.curvature(u).any()
    for value in (response.function(u), response.slope(u)):
        if value.requires_grad:
            assert not torch.autograd.grad(value.sum(), u)[0].any()


def test_given_weights_are_copied_and_frozen():
    weight = random(2, 7, 5)
    net = HiddenNet.from_weight(weight, 4, power=4.5, generator=seeded(3))
    assert torch.equal(net.hidden_weight, weight) and net.replicas == (2,) and net.power == 4.5
    assert net.hidden_weight.dtype == net.readout_bias.dtype == torch.float64
    weight.zero_()
    assert net.hidden_weight.any()
    net(random(6, 5)).sum().backward()
    assert net.hidden_weight.grad is None and net.readout_weight.grad is not None
    assert HiddenNet.from_weight(random(7, 5).requires_grad_(), 4, trainable=True).hidden_weight.requires_grad
    as_he = HiddenNet(5, 7, 4, generator=seeded(3))
    after = HiddenNet.from_weight(as_he.hidden_weight, 4)
    assert torch.equal(after.pre(torch.ones(1, 5)), as_he.pre(torch.ones(1, 5)))


def test_a_net_can_be_copied_stored_and_loaded():
    net, x = a_net(power=4.5), random(6, 5)
    other = a_net(power=4.5, generator=seeded(8))
    assert not torch.equal(other(x), net(x))
    other.load_state_dict(net.state_dict())
    for twin in (other, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin(x), net(x)) and twin.power == 4.5
    assert "power=4.5" in repr(net)


def test_the_readout_of_the_hidden_layer_is_the_output():
    for replicas in ((), (3,), (2, 3)):
        net, x = a_net(replicas=replicas), random(6, 5)
        torch.testing.assert_close(net.readout(net.hidden(x)), net(x), rtol=0, atol=rounding(torch.float64, 7, 10))


@pytest.mark.parametrize("arguments, error, words", [
    (dict(power=0.5), ValueError, "power: got 0.5, expected a finite number >= 1"),
    (dict(power=True), ValueError, "power: got True"),
    (dict(power=float("nan")), ValueError, "power: got nan"),
    (dict(power="2"), ValueError, "power: got '2'"),
    (dict(power=2, activation="tanh"), ValueError, "power: got 2 with the activation 'tanh', which has negative outputs"),
    (dict(power=2, activation="gelu"), ValueError, "relu, sigmoid or softplus"),
    (dict(activation="swish"), ValueError, "activation: got 'swish'"),
    (dict(replicas=(0,)), ValueError, "replicas: got"),
])  # fmt: skip
def test_settings_that_do_not_fit(arguments, error, words):
    with pytest.raises(error, match=words.replace("(", r"\(")):
        HiddenNet(5, 7, 4, **arguments)


@pytest.mark.parametrize("sizes, name", [((0, 7, 4), "inputs"), ((5, 7.0, 4), "units"), ((5, 7, -1), "classes")])
def test_sizes_that_do_not_fit(sizes, name):
    with pytest.raises(ValueError, match=f"{name}: got"):
        HiddenNet(*sizes)


@pytest.mark.parametrize("x, error, words", [
    (torch.zeros(5), ValueError, r"x: got shape \(5,\), expected \(B, 5\).*x.unsqueeze\(0\)"),
    (torch.zeros(6, 4), ValueError, r"x: got shape \(6, 4\)"),
    (torch.zeros(0, 5), ValueError, "holds no number"),
    (torch.zeros(2, 6, 5), ValueError, r"x: got leading dimensions \(2,\)"),
    (torch.zeros(6, 5).long(), ValueError, "x: got dtype torch.int64"),
    (torch.zeros(6, 5).double(), ValueError, "x: got dtype torch.float64, but the network has torch.float32"),
    (torch.zeros(6, 5, device="meta"), ValueError, "x: got device meta"),
    (torch.zeros(6, 5).numpy(), TypeError, "x: got numpy.ndarray, expected a tensor"),
])  # fmt: skip
def test_inputs_that_do_not_fit(x, error, words):
    net = HiddenNet(5, 7, 4, replicas=(3,))
    for method in (net, net.pre, net.hidden):
        with pytest.raises(error, match=words):
            method(x)


@pytest.mark.parametrize("weight, error, words", [
    (torch.zeros(5), ValueError, r"weight: got shape \(5,\), expected \(..., units, inputs\)"),
    (torch.zeros(0, 5), ValueError, "holds no number"),
    (torch.zeros(7, 5).long(), ValueError, "weight: got dtype"),
    (torch.full((7, 5), torch.nan), ValueError, "weight: got 35 of 35 numbers that are NaN"),
    ([[1.0]], TypeError, "weight: got list"),
])  # fmt: skip
def test_given_weights_that_do_not_fit(weight, error, words):
    with pytest.raises(error, match=words):
        HiddenNet.from_weight(weight, 4)


def test_what_is_no_generator_dtype_or_shape_of_replicas_gets_words():
    for call, error, message in (
        (lambda: HiddenNet(4, 6, 3, generator=0), TypeError, "generator: got int, expected a torch.Generator or None"),
        (lambda: HiddenNet(4, 6, 3, dtype=torch.int64), ValueError, "dtype: got torch.int64, expected a real floating-point"),
        (lambda: HiddenNet(4, 6, 3, dtype="float32"), ValueError, "dtype: got 'float32', expected a real floating-point"),
        (lambda: HiddenNet(4, 6, 3, replicas=1.5), ValueError, "replicas: got 1.5, expected a positive integer"),
        (lambda: HiddenNet(4, 6, 3, replicas=None), ValueError, "replicas: got None, expected a positive integer"),
        (lambda: HiddenNet.from_weight(torch.eye(3), 2, trainable="no"), ValueError, "trainable: got 'no'"),
        (lambda: HiddenNet(4, 6, 3).readout(torch.zeros(5, 3)), ValueError, r"hidden: got \(5, 3\), expected activities"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            call()
