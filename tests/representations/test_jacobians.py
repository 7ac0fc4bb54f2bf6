"""The Jacobian of the hidden layer against automatic differentiation, its estimates within their standard error."""

import math

import pytest
import torch

from salnb import neuron_sensitivity
from salnb.representations.hidden_net import HiddenNet
from salnb.representations.jacobians import jacobian_map, jacobian_squared_norm, published_projection_loop
from tests.problems import random, seeded
from tests.tolerances import sampling, within

DOUBLE = dict(dtype=torch.float64)
KINDS = [(1.0, "relu"), (4.5, "relu"), (1.5, "relu"), (1.0, "tanh"), (2.0, "sigmoid"), (1.0, "gelu")]


def a_net(device="cpu", units=7, **given):
    return HiddenNet(5, units, 4, generator=seeded(1), device=device, **{"power": 4.5, "replicas": (3,), **DOUBLE, **given})


def by_autograd(net, x, at="hidden"):
    """‖J‖²_F of each replica (R,) at one sample (D,), from all rows of the Jacobian."""
    layer = getattr(net, at)
    rows = torch.func.jacrev(lambda sample: layer(sample.unsqueeze(0))[..., 0, :])(x)  # (..., H, D)
    return rows.square().sum((-2, -1))


@pytest.mark.parametrize("power, activation", KINDS)
@pytest.mark.parametrize("at", ["pre", "hidden"])
def test_the_exact_norm_is_that_of_all_rows(device, power, activation, at):
    net, x = a_net(device, power=power, activation=activation), random(6, 5, seed=2, device=device)
    expected = torch.stack([by_autograd(net, sample, at) for sample in x], -1)
    found = jacobian_squared_norm(net, x, at=at)
    assert found.shape == (3, 6) and (found > 0).any()
    torch.testing.assert_close(found, expected, **within(expected, 5 * 7 + 10))


@pytest.mark.parametrize("replicas", [(), (3,), (2, 3)])
def test_replicas_are_a_loop(replicas):
    net = a_net(replicas=replicas)
    x, shared = random(*replicas, 6, 5, seed=3), random(6, 5, seed=4)
    for given in (x, shared):
        found = jacobian_squared_norm(net, given)
        assert found.shape == (*replicas, 6)
        weights = net.hidden_weight.flatten(0, -3) if replicas else net.hidden_weight.unsqueeze(0)
        inputs = given.expand(*replicas, 6, 5).reshape(-1, 6, 5)
        for weight, own, value in zip(weights, inputs, found.reshape(-1, 6), strict=True):
            alone = jacobian_squared_norm(HiddenNet.from_weight(weight, 4, power=4.5), own)
            torch.testing.assert_close(value, alone, **within(alone, 12))


def test_at_the_pre_activation_it_is_the_squared_weights():
    net = a_net()
    expected = net.hidden_weight.square().sum((-2, -1))
    found = jacobian_squared_norm(net, random(6, 5), at="pre")
    torch.testing.assert_close(found, expected.unsqueeze(-1).expand(3, 6), **within(expected, 35))


@pytest.mark.parametrize("power, activation", [kind for kind in KINDS if kind[0] == 1])
def test_it_is_the_sum_of_squared_sensitivities(power, activation):
    net, x = a_net(power=power, activation=activation), random(6, 5)
    sensitivity = neuron_sensitivity(net.hidden_weight, net.pre(x), activation)
    found = jacobian_squared_norm(net, x)
    torch.testing.assert_close(found, sensitivity.square().sum(-1), **within(found, 20))
    torch.testing.assert_close(found.mean() / 7, sensitivity.square().mean(), **within(found, 20))


@pytest.mark.parametrize("power", [1.0, 2.0, 4.5])
def test_the_norm_of_a_scaled_input(power):
    """z is homogeneous of degree n in x, so its Jacobian is homogeneous of degree n − 1."""
    net, x, c = a_net(power=power), random(6, 5), 1.7
    expected = c ** (2 * (power - 1)) * jacobian_squared_norm(net, x)
    torch.testing.assert_close(jacobian_squared_norm(net, c * x), expected, **within(expected, 40))


def spread_of(net, x, at="hidden"):
    """Standard deviation (..., B) of an estimate from one probe: √(2 (H tr A² − (tr A)²) / (H + 2)), A = J Jᵀ."""
    layer, units = getattr(net, at), net.hidden_weight.shape[-2]
    jacobians = [torch.func.jacrev(lambda sample: layer(sample.unsqueeze(0))[..., 0, :])(sample) for sample in x]
    a = torch.stack([jacobian @ jacobian.mT for jacobian in jacobians], -3)
    trace, of_square = a.diagonal(dim1=-2, dim2=-1).sum(-1), (a @ a).diagonal(dim1=-2, dim2=-1).sum(-1)
    return (2 * (units * of_square - trace.square()) / (units + 2)).sqrt()


@pytest.mark.parametrize("at, power", [("pre", 1.0), ("hidden", 1.0), ("hidden", 4.5)])
def test_estimates_have_the_right_mean_and_spread(at, power):
    net, x, n = a_net(power=power), random(4, 5, seed=6), 4000
    exact, deviation = jacobian_squared_norm(net, x, at=at), spread_of(net, x, at)
    many = x.repeat_interleave(n, -2)
    estimates = jacobian_squared_norm(net, many, at=at, probes=1, generator=seeded(7)).unflatten(-1, (4, n))
    active = deviation > 0  # a sample at which no unit is active has the norm 0 in every estimate
    assert active.any() and not estimates[~active].any()
    error = (estimates.mean(-1) - exact).abs() / deviation
    assert error[active].max() < sampling(1, n)
    # The variance of n squares: their kurtosis is below that of a squared normal number, which is 15.
    assert ((estimates.var(-1) / deviation.square()) - 1)[active].abs().max() < sampling(math.sqrt(15), n)


def test_more_probes_average():
    net, x, n = a_net(replicas=()), random(1, 5, seed=6), 2000
    estimates = jacobian_squared_norm(net, x.expand(n, 5), probes=5, generator=seeded(8))
    deviation = spread_of(net, x).item() / math.sqrt(5)
    assert abs(estimates.mean().item() - jacobian_squared_norm(net, x).item()) < sampling(deviation, n)
    assert abs(estimates.std().item() / deviation - 1) < sampling(math.sqrt(15) / 2, n)


@pytest.mark.parametrize("batch, probes", [(100, 3), (10, 3), (10, 5), (7, 1)])
def test_the_published_loop_gives_its_share(batch, probes):
    """(1 + (probes − 1)/B)/probes of the mean of ‖J‖²_F: .34 with three probes and a batch of 100."""
    n = 400
    net = HiddenNet(16, 40, 3, generator=seeded(2), **DOUBLE)
    x = random(n, batch, 16, seed=3)
    found = published_projection_loop(net, x, probes=probes, generator=seeded(4))
    ratio = found / jacobian_squared_norm(net, x, at="pre").mean(-1)
    share = (1 + (probes - 1) / batch) / probes
    assert found.shape == (n,) and abs(ratio.mean().item() - share) < sampling(ratio.std().item(), n)
    assert sampling(ratio.std().item(), n) < 0.1 * share


def test_the_unbiased_estimate_at_the_same_batches_is_not_a_third():
    net = HiddenNet(16, 40, 3, generator=seeded(2), **DOUBLE)
    x = random(100, 16, seed=3)
    ratio = jacobian_squared_norm(net, x.expand(200, 100, 16), at="pre", probes=3, generator=seeded(4)).mean(-1)
    ratio = ratio / jacobian_squared_norm(net, x, at="pre").mean()
    assert abs(ratio.mean().item() - 1) < sampling(ratio.std().item(), 200)


@pytest.mark.parametrize("at", ["pre", "hidden"])
@pytest.mark.parametrize("probes", [None, 2])
def test_gradients_by_the_weights(at, probes):
    x = random(4, 5, seed=5)
    net = a_net(power=2.5, replicas=(2,), units=3)

    def function(weight):
        twin = HiddenNet.from_weight(weight, 4, power=2.5)
        del twin.hidden_weight
        twin.hidden_weight = weight  # the same network, as a function of its weights
        return jacobian_squared_norm(twin, x, at=at, probes=probes, generator=seeded(3))

    assert torch.autograd.gradcheck(function, (net.hidden_weight.detach().requires_grad_(),))


def test_only_the_generator_decides(device):
    net, x = a_net(device), random(6, 5, device=device)
    state = torch.get_rng_state()
    one, two = (jacobian_squared_norm(net, x, probes=2, generator=seeded(5)) for _ in range(2))
    assert torch.equal(one, two) and torch.equal(torch.get_rng_state(), state)


def test_a_map_is_the_norm_on_a_plane(device, monkeypatch):
    net = a_net(device)
    x, u, v = (random(5, seed=seed, device=device) for seed in (2, 3, 4))
    found = jacobian_map(net, x, u, v, half=2.0, n=5)
    assert found.shape == (3, 5, 5) and not found.requires_grad
    for i, b in enumerate((-2.0, -1.0, 0.0, 1.0, 2.0)):
        for j, a in enumerate((-2.0, -1.0, 0.0, 1.0, 2.0)):
            expected = by_autograd(net, x + a * u + b * v).sqrt()
            torch.testing.assert_close(found[:, i, j], expected, **within(expected, 60))
    monkeypatch.setattr("salnb.representations.jacobians.NUMBERS_AT_ONCE", 1)
    torch.testing.assert_close(jacobian_map(net, x, u, v, half=2.0, n=5), found, **within(found, 60))
    own = random(3, 5, seed=7, device=device)
    each = jacobian_map(net, own, u, v, half=2.0, n=5)
    torch.testing.assert_close(each[1], jacobian_map(net, own[1], u, v, half=2, n=5)[1], **within(each, 60))
    assert jacobian_map(a_net(device, replicas=()), x, u, v, half=1.0, n=4).shape == (4, 4)


VECTOR = torch.ones(5, **DOUBLE)


@pytest.mark.parametrize("given, error, words", [
    (dict(at="logits"), ValueError, "at: got 'logits', expected one of pre, hidden"),
    (dict(probes=0), ValueError, "probes: got 0"),
    (dict(probes=2.0), ValueError, "probes: got 2.0"),
    (dict(x=torch.zeros(6, 4)), ValueError, "x: got shape"),
    (dict(x=torch.zeros(6, 5), at="pre"), ValueError, "x: got dtype torch.float32"),
    (dict(x=[1.0]), TypeError, "x: got list"),
    (dict(net=torch.nn.Linear(5, 3)), TypeError, "net: got Linear, expected a HiddenNet"),
])  # fmt: skip
@pytest.mark.parametrize("function", [jacobian_squared_norm, published_projection_loop])
def test_arguments_that_do_not_fit(function, given, error, words):
    with pytest.raises(error, match=words):
        function(**{"net": a_net(), "x": random(6, 5), **given})


@pytest.mark.parametrize("given, error, words", [
    (dict(u=torch.zeros(5, **DOUBLE)), ValueError, "u: got shape .* length 0"),
    (dict(v=torch.ones(3, 5, **DOUBLE)), ValueError, "v: got shape"),
    (dict(u=torch.ones(4, **DOUBLE)), ValueError, "u: got shape"),
    (dict(v=torch.full((5,), torch.inf, **DOUBLE)), ValueError, "v: got 5 of 5 numbers"),
    (dict(x=torch.ones(5)), ValueError, "x: got dtype"),
    (dict(x=torch.ones(2, 5, **DOUBLE)), ValueError, "x: got leading dimensions"),
    (dict(half=0.0), ValueError, "half: got 0.0"),
    (dict(half="1"), ValueError, "half: got '1'"),
    (dict(n=1), ValueError, "n: got 1"),
    (dict(at="x"), ValueError, "at: got 'x'"),
    (dict(net=None), TypeError, "net: got NoneType"),
    (dict(x=VECTOR.numpy()), TypeError, "x: got numpy.ndarray"),
])  # fmt: skip
def test_maps_that_do_not_fit(given, error, words):
    with pytest.raises(error, match=words):
        jacobian_map(**{"net": a_net(), "x": VECTOR, "u": VECTOR, "v": VECTOR, "half": 1.0, "n": 3, **given})
