"""The same logits for every input, another spectrum: exact where the units lie along the axes of the covariance."""

import math

import numpy
import pytest
import torch

from salnb.representations.covariance_spectrum import covariance_spectrum
from salnb.representations.gauge import regauge
from salnb.representations.hidden_net import HiddenNet
from salnb.representations.power_law import power_law
from tests.problems import random, seeded
from tests.tolerances import rounding


def scale_of(*shape: int, seed: int = 7, dtype=torch.float64) -> torch.Tensor:
    return random(*shape, seed=seed, dtype=dtype).exp()


def logit_error(net: HiddenNet, x: torch.Tensor) -> float:
    """How far logits may differ by rounding: sums over units of powers of sums over inputs, at the size of all their terms."""
    hidden = (x.abs() @ net.hidden_weight.abs().mT) ** net.power
    size = (hidden @ net.readout_weight.abs().mT).max().item() + net.readout_bias.abs().max().item()
    units, inputs = net.hidden_weight.shape[-2:]
    return rounding(x.dtype, net.power * (inputs + 4) + units + 8, size)


@pytest.mark.parametrize("replicas", [(), (3,), (2, 3)])
@pytest.mark.parametrize("power", [1.0, 2.0, 4.5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_logits_are_the_same(replicas, power, dtype, device):
    net = HiddenNet(6, 9, 4, power=power, replicas=replicas, generator=seeded(), device=device, dtype=dtype)
    with torch.no_grad():
        net.readout_bias.copy_(random(*replicas, 4, seed=5))
    x = random(11, 6, seed=6, dtype=dtype, device=device)
    for scale in (scale_of(9), scale_of(*replicas, 9), scale_of(*replicas[-1:], 9).to(dtype)):
        other = regauge(net, scale.to(device))
        with torch.no_grad():
            assert (other(x) - net(x)).abs().max().item() < logit_error(net, x)
            expected = net.pre(x) * scale.to(device, dtype).unsqueeze(-2)
            error = rounding(dtype, 10, float((x.abs() @ net.hidden_weight.abs().mT).max() * scale.max()))
            assert (other.pre(x) - expected).abs().max().item() < error


@pytest.mark.parametrize(("activation", "power"), [("relu", 1.0), ("relu", 3.0), ("leaky_relu", 1.0), ("identity", 1.0)])
def test_powers_of_two_round_nothing(activation, power):
    net = HiddenNet(5, 4, 3, power=power, activation=activation, generator=seeded())
    x = random(20, 5).float()
    other = regauge(net, torch.tensor([2.0, 0.25, 1.0, 16.0]))
    assert torch.equal(net(x), other(x)) and not torch.equal(net.hidden(x), other.hidden(x))


def test_the_gradient_by_the_inputs_is_the_same_so_that_attacks_are():
    net = HiddenNet(5, 8, 3, power=2.0, generator=seeded(), dtype=torch.float64)
    other, x = regauge(net, scale_of(8)), random(7, 5)
    gradients = []
    for each in (net, other):
        leaf = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(torch.nn.functional.cross_entropy(each(leaf), torch.arange(7) % 3), leaf)[0])
    # The loss is as smooth as a softmax, and a power of 2 times as many terms as a logit; no weight is larger than 5.
    torch.testing.assert_close(*gradients, rtol=0, atol=2 * 5 * 8 * logit_error(net, x))


def aligned(units: int, alpha: float, n: int) -> tuple[HiddenNet, torch.Tensor]:
    """A network and inputs for which the covariance of h is diagonal, with eigenvalues μ^(−α), exactly."""
    columns = torch.cat([torch.ones(n, 1).double(), random(n, units)], 1)
    x = torch.linalg.qr(columns).Q[:, 1:] * math.sqrt(n - 1)
    ranks = torch.arange(1, units + 1).double()
    turn = torch.linalg.qr(random(units, units, seed=1)).Q
    return HiddenNet.from_weight((ranks ** (-alpha / 2)).unsqueeze(-1) * turn.mT, 3, generator=seeded(2)), x @ turn.mT


@pytest.mark.parametrize(("exponent", "alpha"), [(0.5, 3.5), (1.0, 4.5), (-0.5, 1.5), (-1.25, 0.0)])
def test_a_scale_makes_any_exponent(exponent, alpha):
    net, x = aligned(120, 2.5, 300)
    other = regauge(net, torch.arange(1, 121).double() ** -exponent)
    error = rounding(torch.float64, 300, 100 ** (max(alpha, 2.5) / 2))  # relative to λ, at the end of the window
    assert abs(float(power_law(covariance_spectrum(net.pre(x)), 11, 100).alpha) - 2.5) < error
    assert abs(float(power_law(covariance_spectrum(other.pre(x)), 11, 100).alpha) - alpha) < error
    assert (other(x) - net(x)).abs().max().item() < logit_error(net, x)


def test_units_that_do_not_lie_along_the_axes_gain_less():
    """c = 1/μ adds 2 to the exponent of aligned units; of others about 1, as with trained networks: 2.5 → 3.5."""
    net, x = aligned(200, 2.5, 500)
    turn = torch.linalg.qr(random(200, 200, seed=3)).Q
    net = HiddenNet.from_weight(turn @ net.hidden_weight, 3, generator=seeded(2))
    other = regauge(net, 1 / torch.arange(1, 201).double())
    assert (other(x) - net(x)).abs().max().item() < logit_error(net, x)
    assert abs(float(power_law(covariance_spectrum(net.pre(x)), 11, 100).alpha) - 2.5) < 1e-9
    assert 3.0 < float(power_law(covariance_spectrum(other.pre(x)), 11, 100).alpha) < 4.0
    # Sizes change as well: the same function, with a small part of the squared weights.
    assert float(other.hidden_weight.square().sum()) < 0.1 * float(net.hidden_weight.square().sum())


def test_there_and_back_and_the_first_net_stays():
    net = HiddenNet(4, 5, 2, power=2.0, replicas=(2,), generator=seeded(), dtype=torch.float64)
    net.hidden_weight.requires_grad_(False)
    net(random(3, 4)).sum().backward()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    other = regauge(net, scale := scale_of(2, 5))
    back = regauge(other, 1 / scale)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
        torch.testing.assert_close(back.state_dict()[name], value, rtol=rounding(torch.float64, 4), atol=0)
    assert not other.hidden_weight.requires_grad and other.readout_weight.requires_grad
    assert other.readout_weight.grad is None and net.readout_weight.grad is not None
    assert other.readout_weight.data_ptr() != net.readout_weight.data_ptr()
    assert torch.equal(other.readout_bias, net.readout_bias) and other.power == 2.0 and other.replicas == (2,)


NET = HiddenNet(4, 3, 2, power=4.5)
C = torch.ones(3)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: regauge(HiddenNet(4, 3, 2, activation="tanh"), C), ValueError, "the activation 'tanh', expected one of relu"),
        (lambda: regauge(HiddenNet(4, 3, 2, activation="softplus", power=2.0), C), ValueError, "the activation 'softplus'"),
        (lambda: regauge(torch.nn.Linear(4, 3), C), TypeError, "net: got Linear, expected a HiddenNet"),
        (lambda: regauge(NET, torch.tensor([1.0, 0.0, 1.0])), ValueError, "scale: got 0, expected numbers > 0"),
        (lambda: regauge(NET, -C), ValueError, "scale: got -1, expected numbers > 0"),
        (lambda: regauge(NET, C[:2]), ValueError, r"scale: got shape \(2,\), expected \(3,\) or \(3,\)"),
        (lambda: regauge(NET, C[:1]), ValueError, r"scale: got shape \(1,\)"),
        (lambda: regauge(NET, torch.ones(2, 3)), ValueError, r"scale: got shape \(2, 3\)"),
        (lambda: regauge(HiddenNet(4, 3, 2, replicas=(2,)), torch.ones(3, 3)), ValueError, r"expected \(3,\) or \(2, 3\)"),
        (lambda: regauge(NET, C.long()), ValueError, "scale: got dtype torch.int64"),
        (lambda: regauge(NET, C * torch.nan), ValueError, "scale: got 3 of 3 numbers that are NaN"),
        (lambda: regauge(NET, 2.0), TypeError, "scale: got float"),
        (lambda: regauge(NET, numpy.ones(3)), TypeError, "scale: got numpy.ndarray"),
        (lambda: regauge(NET, 1e-10 * C), ValueError, "powers -4.5 or the scaled weights leave the range of torch.float32"),
        (lambda: regauge(NET, 1e10 * C), ValueError, "scale: got numbers from 1e\\+10 to 1e\\+10"),
        (lambda: regauge(NET, 1e-300 * C.double()), ValueError, "leave the range"),
    ],
)
def test_bad_input_is_refused_in_words(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_a_network_that_is_not_finite_is_blamed_itself():
    net = HiddenNet(4, 3, 2)
    with torch.no_grad():
        net.readout_bias[0] = math.nan
    with pytest.raises(ValueError, match="net: its readout_bias holds numbers that are not finite"):
        regauge(net, torch.ones(3))
