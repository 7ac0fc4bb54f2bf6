"""The gradient derived by hand equals automatic differentiation, whole and truncated."""

import copy

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from salnb import TanhRNN
from salnb.backprop import small_replicas
from salnb.backprop.through_time import backprop_through_time
from salnb.common.denormals import flushed_denormals, flushing
from tests.problems import seeded
from tests.tolerances import SAFETY, astray, rounding

CASES = [(7, (), 1.0), (7, (3,), 1.0), ((5, 6), (), 0.5), ((5, 6, 4), (2, 3), 1.0), (1, (2,), 1.0)]


@pytest.fixture(autouse=True, params=["in large products", "side by side"])
def way(request, monkeypatch):
    """Each of the two ways in which the same sums are made."""
    monkeypatch.setattr(small_replicas, "LEAST_REPLICAS", 1 if request.param == "side by side" else 1_000_000)


def squared(outputs, targets):
    return (outputs - targets).square().sum()


def last_cross_entropy(outputs, targets):
    return F.cross_entropy(outputs[-1].flatten(0, -2), targets.flatten(), reduction="sum")


def problem(n_in, n_hidden, n_out, *, steps, batch, replicas=(), dtype=torch.float64, device=None, **keywords):
    """A network with biases, inputs and targets."""
    generator = seeded()
    keywords = {"gain": 1.3, "replicas": replicas, "generator": generator, "dtype": dtype, "device": device, **keywords}
    rnn = TanhRNN(n_in, n_hidden, n_out, **keywords)
    for layer in (*rnn.recurrent, rnn.readout):
        layer.bias.data.copy_(torch.randn(layer.bias.shape, generator=generator))
        if layer.mask is not None:  # a value where no connection is, which must not count
            layer.weight.data.masked_fill_(~layer.mask, 1.0)
    inputs = torch.randn(steps, *replicas, batch, n_in, generator=generator, dtype=dtype).to(device)
    return rnn, inputs, torch.randn(steps, *replicas, batch, n_out, generator=generator, dtype=dtype).to(device)


def autograd(rnn, inputs, targets, loss, window):
    state, outputs = None, []
    for chunk in inputs.split(window or len(inputs)):
        out, states = rnn(chunk, state)
        outputs.append(out)
        state = states[-1].detach()
    value = loss(torch.cat(outputs), targets)
    names, parameters = zip(*rnn.named_parameters(), strict=True)
    gradients = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    return value.detach(), dict(zip(names, gradients, strict=True))


def same(rnn, inputs, targets, loss, window=None):
    value, gradients = backprop_through_time(rnn, inputs, targets, loss, window=window)
    wanted_value, wanted = autograd(rnn, inputs, targets, loss, window)
    assert value.dtype == wanted_value.dtype and not value.requires_grad
    assert set(gradients) == set(wanted)
    for name, gradient in wanted.items():
        assert gradients[name].shape == gradient.shape and gradients[name].dtype == gradient.dtype, name
        assert not gradients[name].requires_grad, name
    batch, samples = inputs.shape[-2], len(inputs) * inputs.shape[-2]
    if value.dtype == torch.float64:
        # Each step sums over a layer's neurons, a gradient over the batch; its terms have either sign and cancel to their root.
        digits = rounding(torch.float64, len(inputs) * (max(rnn.n_hidden) + batch), samples**0.5)
    else:  # what automatic differentiation loses on the same problem
        wide = copy.deepcopy(rnn).double(), inputs.double(), targets if targets.dtype == torch.long else targets.double()
        lost, (wanted_value, wanted) = wanted, autograd(*wide, loss, window)
        digits = SAFETY * astray(lost.values(), wanted.values()) + rounding(torch.float32, 1)
        assert digits < 1e-3, "too few digits for the comparison to mean something"
    assert abs(value.double() - wanted_value) <= digits * abs(wanted_value)
    for name, gradient in wanted.items():
        assert (gradients[name].double() - gradient).norm() <= digits * gradient.norm(), name


@pytest.mark.parametrize("window", [None, 1, 4, 13, 50])
@pytest.mark.parametrize(("n_hidden", "replicas", "connectivity"), CASES)
@pytest.mark.parametrize("loss", [squared, last_cross_entropy])
def test_equals_autograd(n_hidden, replicas, connectivity, window, loss, device):
    rnn, inputs, targets = problem(2, n_hidden, 3, steps=13, batch=4, replicas=replicas, connectivity=connectivity, device=device)
    same(rnn, inputs, targets if loss is squared else targets[-1].argmax(-1), loss, window)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("n_hidden", [40, (40, 7, 50), (7, 40)])
@pytest.mark.parametrize("replicas", [(), (2,), (2, 2)])
def test_wide_layers_that_lie_in_memory_in_another_order(n_hidden, replicas, window):
    same(*problem(2, n_hidden, 1, steps=8, batch=30, replicas=replicas, connectivity=0.7), squared, window)


@pytest.mark.parametrize("replicas", [(3,), (2, 3)])
def test_inputs_shared_by_the_replicas(replicas):
    rnn, inputs, targets = problem(2, 5, 1, steps=6, batch=4, replicas=replicas)
    shared = inputs.flatten(1, -3)[:, 0]
    same(rnn, shared, targets, squared)
    same(rnn, shared.reshape(6, *[1] * len(replicas), 4, 2), targets, squared)


@pytest.mark.parametrize("replicas", [(), (3,)])
def test_a_network_left_to_itself(replicas):
    rnn, _, targets = problem(0, (4, 3), 1, steps=6, batch=2, replicas=replicas)
    same(rnn, torch.empty(6, 2, 0, dtype=torch.long), targets, squared)


@pytest.mark.parametrize("n_hidden", [1, 6, (6, 5)])
@pytest.mark.parametrize("replicas", [(), (1,), (2, 2)])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (5, 1), (5, 3)])
def test_what_is_given_stays_as_it_is(n_hidden, replicas, steps, batch):
    rnn, inputs, targets = problem(1, n_hidden, 1, steps=steps, batch=batch, replicas=replicas)
    given = {**rnn.state_dict(), "inputs": inputs, "targets": targets}
    before = {name: value.clone() for name, value in given.items()}
    same(rnn, inputs, targets, squared)
    assert all(torch.equal(value, before[name]) for name, value in given.items())
    assert all(parameter.grad is None for parameter in rnn.parameters())


@pytest.mark.parametrize("gain", [0.4, 0.9, 1.5])
@pytest.mark.parametrize("replicas", [(), (2,)])
def test_single_precision_over_300_steps_also_where_errors_vanish(gain, replicas):
    rnn, inputs, targets = problem(3, 50, 2, steps=300, batch=16, replicas=replicas, gain=gain, dtype=torch.float32)
    same(rnn, inputs, targets[-1].argmax(-1), last_cross_entropy)
    same(rnn, inputs, targets, squared)


def test_small_numbers_are_rounded_to_0_here_only():
    (rnn, inputs, targets), seen = problem(1, 3, 1, steps=4, batch=2), []

    def loss(outputs, targets):
        seen.append(flushing())
        return squared(outputs, targets)

    backprop_through_time(rnn, inputs, targets, loss)
    assert not flushing() and seen == [False]
    with flushed_denormals():
        backprop_through_time(rnn, inputs, targets, loss)
        assert flushing() and seen == [False, True]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_no_mode_of_the_caller_matters(mode):
    rnn, inputs, targets = problem(1, 3, 1, steps=4, batch=2, dtype=torch.float32)
    wanted = backprop_through_time(rnn, inputs, targets, squared)[1]
    with mode():
        gradients = backprop_through_time(rnn, inputs, targets, squared)[1]
    assert all(torch.equal(gradients[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("batch", [2, 40])
def test_the_loss_gets_outputs_that_it_may_view(batch):
    rnn, inputs, _ = problem(1, 30, 1, steps=4, batch=batch, replicas=(2,))
    backprop_through_time(rnn, inputs, None, lambda outputs, _: outputs.view(-1).sum())


def test_bad_input_is_named():
    rnn, inputs, targets = problem(1, 3, 1, steps=4, batch=2)
    with pytest.raises(TypeError, match="rnn: got GRU"):
        backprop_through_time(torch.nn.GRU(1, 2), inputs, targets, squared)
    for window in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="window: got"):
            backprop_through_time(rnn, inputs, targets, squared, window=window)
    with pytest.raises(ValueError, match="loss: returned"):
        backprop_through_time(rnn, inputs, targets, lambda o, t: o - t)
    for wrong in (torch.zeros(2, 1), torch.zeros(4, 2, 2), torch.zeros(4, 3, 2, 1)):
        with pytest.raises(ValueError, match=r"inputs: got shape .* expected \(T, B, 1\)"):
            backprop_through_time(rnn, wrong, targets, squared)
    with pytest.raises(ValueError, match=r"expected \(T, B, 1\) or \(T, 2, 3, B, 1\)"):
        backprop_through_time(TanhRNN(1, 3, 1, gain=1.0, replicas=(2, 3)), torch.zeros(4, 3, 2, 2, 1), targets, squared)


def test_inputs_without_enough_dimensions_are_refused_in_words():
    with pytest.raises(ValueError, match="inputs"):
        backprop_through_time(TanhRNN(1, 4, 1, gain=1.0, replicas=(4,)), torch.ones(5), torch.ones(5), squared)
