"""Penalties against their formulas, written for one replica with other tools, and their gradients against finite differences."""

import math

import numpy as np
import pytest
import torch

from salnb import neuron_sensitivity
from salnb.representations.hidden_net import HiddenNet
from salnb.representations.jacobians import jacobian_squared_norm, published_projection_loop
from salnb.representations.penalties import jacobian_penalty, sensitivity_penalty, spectral_penalty, weight_penalty
from tests.problems import random, seeded
from tests.tolerances import sampling, within

DOUBLE = dict(dtype=torch.float64)


def a_net(device="cpu", **given):
    return HiddenNet(5, 7, 4, generator=seeded(1), device=device, **{"replicas": (3,), **DOUBLE, **given})


def as_functions_of_the_weights(net, penalty):
    """The penalty of the same network, as a function of its three parameters."""
    names = ["hidden_weight", "readout_weight", "readout_bias"]

    def function(*values):
        twin = HiddenNet.from_weight(values[0], values[1].shape[-2], power=net.power, activation=net.activation)
        for name, value in zip(names, values, strict=True):
            delattr(twin, name)
            setattr(twin, name, value)
        return penalty(twin)

    return function, tuple(getattr(net, name).detach().clone().requires_grad_() for name in names)


# --- weights, Jacobian, sensitivity --------------------------------------------------------------------------------------
def test_weight_decay_is_the_sum_of_all_squares():
    net = a_net()
    with torch.no_grad():
        net.readout_bias.add_(random(3, 4))
    expected = torch.stack([sum(p[r].square().sum() for p in net.parameters()) for r in range(3)])
    torch.testing.assert_close(weight_penalty(net), expected, **within(expected, 70))
    function, values = as_functions_of_the_weights(net, weight_penalty)
    assert torch.autograd.gradcheck(function, values)


def test_the_jacobian_penalty_is_the_mean_of_the_norms():
    net, x = a_net(power=4.5), random(3, 6, 5)
    expected = net.hidden_weight.square().sum((-2, -1))
    torch.testing.assert_close(jacobian_penalty(net, x), expected, **within(expected, 6))
    for given in (dict(at="hidden"), dict(at="hidden", probes=2), dict(probes=3)):
        found = jacobian_penalty(net, x, generator=seeded(3), **given)
        assert torch.equal(found, jacobian_squared_norm(net, x, generator=seeded(3), **{"at": "pre", **given}).mean(-1))
    published = jacobian_penalty(net, x, probes=3, published=True, generator=seeded(3))
    assert torch.equal(published, published_projection_loop(net, x, probes=3, generator=seeded(3)))
    assert published.shape == (3,)


def test_the_jacobian_penalty_is_weight_decay_of_the_hidden_layer():
    net, x = a_net(), random(6, 5)
    jacobian_penalty(net, x).sum().backward()
    torch.testing.assert_close(net.hidden_weight.grad, 2 * net.hidden_weight.detach(), **within(net.hidden_weight, 4))
    assert net.readout_weight.grad is None


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("target", [0.0, 0.5, 2])
def test_the_sensitivity_penalty_is_its_formula(activation, target):
    net, x = a_net(activation=activation), random(3, 6, 5)
    sensitivity = neuron_sensitivity(net.hidden_weight, x @ net.hidden_weight.mT, activation)
    expected = torch.stack([((one.mean(0) - target) ** 2).sum() for one in sensitivity])
    torch.testing.assert_close(sensitivity_penalty(net, x, target=target), expected, **within(expected, 70))


@pytest.mark.parametrize("power, activation", [(1.0, "relu"), (1.0, "tanh"), (2.5, "relu"), (2.0, "softplus")])
def test_with_a_power_the_sensitivity_is_that_of_the_output(power, activation):
    net, x = a_net(power=power, activation=activation, replicas=()), random(6, 5)
    rows = torch.func.vmap(torch.func.jacrev(lambda sample: net.hidden(sample.unsqueeze(0))[0]))(x)  # (B, H, D)
    expected = (torch.linalg.vector_norm(rows, dim=-1).mean(0) - 1).square().sum()
    torch.testing.assert_close(sensitivity_penalty(net, x), expected, **within(expected, 100))


@pytest.mark.parametrize("penalty", [
    lambda net, x: sensitivity_penalty(net, x, target=0.5),
    lambda net, x: jacobian_penalty(net, x, at="hidden"),
    lambda net, x: jacobian_penalty(net, x, at="hidden", probes=2, generator=seeded(4)),
    lambda net, x: jacobian_penalty(net, x, probes=2, published=True, generator=seeded(4)),
    lambda net, x: spectral_penalty(net.pre(x), first=1),
    lambda net, x: spectral_penalty(net.hidden(x), first=2, alpha=2.0, form="nassar", scale=1.0),
])  # fmt: skip
@pytest.mark.parametrize("power, activation", [(1.0, "tanh"), (2.5, "relu")])
def test_gradients_of_what_depends_on_the_inputs(penalty, power, activation):
    net, x = a_net(power=power, activation=activation, replicas=(2,)), random(12, 5)
    nearest = (x @ net.hidden_weight.mT).abs().min()  # of relu at 0, finite differences would see both sides
    assert activation == "tanh" or nearest > 1e-5
    function, values = as_functions_of_the_weights(net, lambda twin: penalty(twin, x))
    assert torch.autograd.gradcheck(function, values)


def test_a_replica_learns_as_if_alone():
    net, x = a_net(replicas=(3,)), random(3, 30, 5)
    for penalty in (
        lambda net, x: weight_penalty(net), sensitivity_penalty, lambda net, x: jacobian_penalty(net, x, at="hidden"),
        lambda net, x: spectral_penalty(net.pre(x), first=2),
    ):  # fmt: skip
        net.zero_grad()
        values = penalty(net, x)
        values.sum().backward()
        for r in range(3):
            alone = HiddenNet.from_weight(net.hidden_weight[r], 4, trainable=True)
            alone.load_state_dict({name: p[r] for name, p in net.state_dict().items()})
            value = penalty(alone, x[r])
            value.backward()
            torch.testing.assert_close(values[r], value, **within(value, 300))
            gradient = net.hidden_weight.grad[r]
            torch.testing.assert_close(gradient, alone.hidden_weight.grad, **within(gradient, 3000))


# --- spectrum -------------------------------------------------------------------------------------------------------------
def by_numpy(h, alpha, first, last, form, scale=None):
    """The spectral penalty of one replica, from singular values and loops over ranks."""
    samples, units = h.shape
    values = np.linalg.svd(h - h.mean(0), compute_uv=False) ** 2 / (samples - 1)
    values = np.concatenate([values, np.zeros(max(0, units - len(values)))])
    ranks = range(first, last + 1)
    if form == "log":
        alive = [n for n in ranks if values[n - 1] > 1e-13 * values[0]]
        c = scale or math.exp(np.mean([math.log(values[n - 1] * n**alpha) for n in alive]))
        return np.mean([math.log(values[n - 1] * n**alpha / c) ** 2 for n in alive])
    c = scale or values[first - 1] * first**alpha
    off = [values[n - 1] * n**alpha / c - 1 for n in ranks]
    return sum(d * d + max(0.0, d) for d in off) / units


@pytest.mark.parametrize("form", ["log", "nassar"])
@pytest.mark.parametrize("samples, units", [(30, 12), (12, 30), (20, 20)])
@pytest.mark.parametrize("alpha, first, scale", [(1.0, 1, None), (2.5, 4, None), (0.0, 2, 0.3)])
def test_the_spectral_penalty_is_its_formula(device, form, samples, units, alpha, first, scale):
    h = random(2, samples, units, seed=3, device=device) + 1.0
    largest = min(samples - 1, units) if form == "log" else units
    for last in (None, first + 4):
        found = spectral_penalty(h, alpha=alpha, first=first, last=last, form=form, scale=scale)
        expected = h.new_tensor([by_numpy(one.cpu().numpy(), alpha, first, last or largest, form, scale) for one in h])
        condition = largest**alpha * 1e4  # the smallest eigenvalue has lost as many digits as it is below the largest
        torch.testing.assert_close(found, expected, **within(expected, units + samples, condition * float(expected.max())))


def white(samples, units, seed=5):
    """Samples whose covariance is exactly the unit matrix."""
    z = random(samples, units, seed=seed)
    return torch.linalg.qr(z - z.mean(0))[0] * math.sqrt(samples - 1)


@pytest.mark.parametrize("alpha", [1.0, 2.0, 3.5])
def test_a_power_law_has_no_penalty(alpha):
    ranks = torch.arange(1, 21, **DOUBLE)
    h = 3 * white(100, 20) * ranks ** (-alpha / 2)
    eps = torch.finfo(torch.float64).eps
    for form in ("log", "nassar"):
        assert spectral_penalty(h, alpha=alpha, first=2, form=form) < 1e4 * eps * 20**alpha
    # Of another exponent the log form sees the variance of (α − β) log n.
    expected = (0.5 * ranks[1:].log()).var(correction=0)
    torch.testing.assert_close(spectral_penalty(h, alpha=alpha + 0.5, first=2), expected, **within(expected, 100, 20**alpha))


def test_the_log_form_counts_the_shape_alone():
    h = random(40, 12, seed=2)
    expected = spectral_penalty(h, first=2)
    torch.testing.assert_close(spectral_penalty(7 * h + 3, first=2), expected, **within(expected, 1000))
    with_scale = [spectral_penalty(c * h, first=2, scale=1.0) for c in (1.0, 7.0)]
    assert (with_scale[0] - with_scale[1]).abs() > 1
    assert min(with_scale) >= expected


@pytest.mark.parametrize("form, scale", [("log", None), ("log", 0.5), ("nassar", 0.5)])
@pytest.mark.parametrize("samples, units", [(15, 6), (6, 15)])
def test_spectral_gradients(form, scale, samples, units):
    h = random(2, samples, units, seed=6).requires_grad_()
    last = min(samples - 1, units)
    function = lambda h: spectral_penalty(h, alpha=1.5, first=2, last=last, form=form, scale=scale)  # noqa: E731
    assert torch.autograd.gradcheck(function, (h,))


def test_the_anchor_of_nassar_is_held_constant():
    """With the same number given as a scale, the gradient is the same."""
    h = random(15, 6, seed=6).requires_grad_()
    value = spectral_penalty(h, alpha=1.5, first=2, form="nassar")
    anchor = float(torch.linalg.eigvalsh(torch.cov(h.detach().T)).flip(0)[1])
    same = spectral_penalty(h, alpha=1.5, first=3, form="nassar", scale=anchor * 2**1.5)
    torch.testing.assert_close(value, same, **within(value, 300))
    one, two = (torch.autograd.grad(v, h)[0] for v in (value, same))
    torch.testing.assert_close(one, two, **within(one, 3000))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_directions_that_a_linear_layer_lacks_are_left_out(dtype):
    """200 units that read 8 inputs have 8 eigenvalues; the other ranks are rounding, and neither count nor pull."""
    x, weight = random(50, 8, seed=2).to(dtype), random(200, 8, seed=3).to(dtype).requires_grad_()
    h = x @ weight.mT
    found = spectral_penalty(h, first=2)
    expected = by_numpy(h.detach().double().numpy(), 1.0, 2, 8, "log")
    assert found.dtype == dtype and abs(float(found.detach()) - expected) < 1e3 * torch.finfo(dtype).eps * (1 + expected)
    (gradient,) = torch.autograd.grad(found, weight)
    exact = torch.autograd.grad(spectral_penalty(x @ weight.mT, first=2, last=8), weight)[0]
    torch.testing.assert_close(gradient, exact, **within(exact, 60, terms=50))
    assert torch.isfinite(gradient).all() and gradient.any()


def test_learning_imposes_an_exponent():
    """Weights drawn at random, before inputs with a decaying spectrum."""
    inputs = white(300, 12) * torch.arange(1, 13, **DOUBLE) ** -0.5
    weight = random(16, 12, seed=4).requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        value = spectral_penalty(inputs @ weight.mT, alpha=2.5, first=1)
        value.backward()
        optimizer.step()
    assert value < 1e-3
    eigenvalues = torch.linalg.eigvalsh(torch.cov((inputs @ weight.detach().mT).T)).flip(0)[:12].log()
    ranks = torch.arange(1, 13, **DOUBLE).log()
    slope = ((ranks - ranks.mean()) * eigenvalues).sum() / (ranks - ranks.mean()).square().sum()
    # A residual with the mean square v moves the slope by at most √(v / var log n).
    assert abs(slope + 2.5) < math.sqrt(1e-3 / ranks.var(correction=0))


def test_independent_units_of_one_scale_are_at_a_saddle():
    """Each unit's expected gradient is 0: all are alike, and a common factor changes nothing, so that they sum to 0."""
    n, units, logs = 400, 8, {}
    for name, decay in (("equal", 0.0), ("unequal", 0.15)):
        given = (-decay * torch.arange(1, units + 1, **DOUBLE).log()).expand(n, units).clone().requires_grad_()
        h = random(n, 60, units, seed=7) * given.exp().unsqueeze(-2)
        (logs[name],) = torch.autograd.grad(spectral_penalty(h, alpha=2.0, first=1).sum(), given)
        assert logs[name].sum(-1).abs().max() < 1e-10
    for name, gradients in logs.items():
        error = gradients.mean(0).abs() / (gradients.std(0) / math.sqrt(n))
        assert bool((error < sampling(1, 1)).all()) == (name == "equal")


@pytest.mark.parametrize("h, given, error, words", [
    (torch.ones(5), {}, ValueError, r"h: got shape \(5,\), expected \(..., B, H\)"),
    (torch.ones(40, 20).long(), {}, ValueError, "h: got dtype torch.int64"),
    (torch.full((40, 20), torch.nan), {}, ValueError, "h: got 800 of 800 numbers"),
    (torch.ones(0, 20), {}, ValueError, "holds no number"),
    (np.ones((40, 20)), {}, TypeError, "h: got numpy.ndarray"),
    (torch.ones(40, 20), {}, ValueError, "h: has 0 eigenvalues above rounding from rank 10 to 20"),
    (torch.ones(40, 20), dict(form="nassar"), ValueError, "first: the eigenvalue of rank 10 is 0"),
    (random(5, 20), dict(form="nassar"), ValueError, "first: the eigenvalue of rank 10 is 0"),
    (random(5, 20), {}, ValueError, "first: got 10, but 5 samples of"),
    (random(40, 20), dict(last=21), ValueError, "last: got rank 21, but 40 samples of 20 units"),
    (random(40, 20), dict(first=0), ValueError, "first: got 0"),
    (random(40, 20), dict(first=20), ValueError, "first: got 20, but"),
    (random(40, 20), dict(first=5, last=4, form="nassar"), ValueError, "last: got 4, expected an integer >= 5"),
    (random(40, 20), dict(form="linear"), ValueError, "form: got 'linear', expected one of log, nassar"),
    (random(40, 20), dict(alpha=math.inf), ValueError, "alpha: got inf"),
    (random(40, 20), dict(alpha="1"), ValueError, "alpha: got '1'"),
    (random(40, 20), dict(scale=0.0), ValueError, "scale: got 0.0"),
])  # fmt: skip
def test_spectra_that_do_not_fit(h, given, error, words):
    with pytest.raises(error, match=words):
        spectral_penalty(h, **given)


@pytest.mark.parametrize("call, error, words", [
    (lambda net, x: weight_penalty(x), TypeError, "net: got Tensor, expected a HiddenNet"),
    (lambda net, x: jacobian_penalty(net, x, published=True), ValueError, "probes: got None with published=True"),
    (lambda net, x: jacobian_penalty(net, x, published=1, probes=3), ValueError, "published: got 1"),
    (lambda net, x: jacobian_penalty(net, x, at="z"), ValueError, "at: got 'z'"),
    (lambda net, x: jacobian_penalty(net, x.float()), ValueError, "x: got dtype"),
    (lambda net, x: sensitivity_penalty(net, x, target=-1.0), ValueError, "target: got -1.0"),
    (lambda net, x: sensitivity_penalty(net, x, target=math.nan), ValueError, "target: got nan"),
    (lambda net, x: sensitivity_penalty(net, x[0]), ValueError, r"x: got shape \(5,\)"),
    (lambda net, x: sensitivity_penalty(torch.nn.Linear(2, 2), x), TypeError, "net: got Linear"),
])  # fmt: skip
def test_arguments_that_do_not_fit(call, error, words):
    with pytest.raises(error, match=words):
        call(a_net(), random(6, 5))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_image_that_is_not_finite_is_refused_and_not_counted_as_flat(bad):
    """The slope of ReLU at NaN is 0: without a look at the image the penalty would be a plausible number."""
    net, x = HiddenNet(4, 6, 3), torch.ones(5, 4)
    x[2, 1] = bad
    for penalty in (
        lambda: sensitivity_penalty(net, x), lambda: jacobian_penalty(net, x, at="hidden"), lambda: jacobian_penalty(net, x),
        lambda: jacobian_penalty(net, x, probes=2), lambda: jacobian_penalty(net, x, probes=2, published=True),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="x: got 1 of 20 numbers that are NaN or infinite"):
            penalty()


def test_spectral_penalty_refuses_what_has_no_spectrum_or_leaves_the_numbers():
    h = torch.randn(30, 8, dtype=torch.float64)
    for call, message in (
        (lambda: spectral_penalty(h[:1], first=2, form="nassar", scale=1.0), "h: got shape .1, 8., one sample"),
        (lambda: spectral_penalty(h), "first: got 10, but 30 samples of 8 units have eigenvalues up to rank 8"),
        (lambda: spectral_penalty(h, first=1, alpha=1e308), "alpha, scale: got 1e.308 and None"),
        (lambda: spectral_penalty(h, first=1, form="nassar", scale=1e-300), "alpha, scale: got 1 and 1e-300"),
        (lambda: spectral_penalty(h * 1e200, first=1), "h: its squares leave the range of float64"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()
