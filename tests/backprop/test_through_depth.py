"""The gradient of a deep tanh network, derived by hand, against automatic differentiation."""

import copy

import pytest
import torch

from salnb import SAL, DeepNet
from salnb.backprop.through_depth import deep_gradients_, is_plain_tanh
from salnb.experiments.training.baselines import DeepBaseline
from salnb.experiments.training.optimization import losses, set_gradients
from tests.problems import seeded
from tests.tolerances import SAFETY, astray, rounding, within


def example(depth=5, n_in=2, dtype=torch.float64):
    generator = seeded(3)
    net = DeepNet(n_in, 6, 3, depth, gain=1.2, replicas=(4,), generator=generator).to(dtype)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
    inputs, targets = (torch.randn(4, 7, n, generator=generator, dtype=dtype) for n in (n_in, 3))
    return net, inputs, targets


def loss(outputs, targets):
    return (outputs - targets).square().sum()


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("n_in", [1, 2])
def test_every_gradient_equals_autograd(depth, n_in):
    net, inputs, targets = example(depth, n_in)
    expected = loss(net(inputs), targets)
    wanted = torch.autograd.grad(expected, list(net.parameters()))
    for again in range(2):  # the second time over the gradients of the first
        value = deep_gradients_(net, inputs * (1 if again else 2), targets, loss)
    chain = depth * (6 + 7)  # each layer sums over its neurons, a gradient over the batch
    torch.testing.assert_close(value, expected.detach(), **within(expected, chain))
    for (name, parameter), gradient in zip(net.named_parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, **within(gradient, chain, terms=7), msg=name)
        assert gradient.any()


def test_a_learning_step_takes_them():
    net, inputs, _ = example(dtype=torch.float32)
    targets = torch.tensor([0, 1, 2, 1, 0, 2, 1]).expand(4, 7)
    value = set_gradients(net, inputs, targets)
    each = losses(net(inputs), targets)
    wanted = torch.autograd.grad(each.sum(), list(net.parameters()))
    wide = copy.deepcopy(net).double()
    exact = losses(wide(inputs.double()), targets)
    right = [exact, *torch.autograd.grad(exact.sum(), list(wide.parameters()))]
    digits = SAFETY * astray([each, *wanted], right) + rounding(torch.float32, 1)  # what automatic differentiation loses here
    assert astray([value, *(p.grad for p in net.parameters())], right) <= digits < 1e-3


def test_sal_sees_the_pass_as_any_other():
    ways = []
    for by_hand in (True, False):
        net, inputs, targets = example()
        sal = SAL(net, lr=1e-2)
        if by_hand:
            deep_gradients_(net, inputs, targets, loss)
        else:
            loss(net(inputs), targets).backward()
        sal.step()
        ways.append([p.detach().clone() for p in net.parameters()])
    start = example()[0]
    for a, b in zip(*ways, strict=True):
        torch.testing.assert_close(a, b, **within(b, 5 * (6 + 7)))
    assert not torch.equal(ways[0][2], list(start.parameters())[2])  # and has acted


def test_states_are_those_of_the_layers():
    net, inputs, _ = example()
    states = []
    outputs = net(inputs, states)
    assert len(states) == 5 and torch.equal(net.readout(states[-1]), outputs)
    for before, after, layer in zip(states, states[1:], net.hidden[1:], strict=False):
        torch.testing.assert_close(after, torch.tanh(layer(before)))


def test_only_plain_tanh_networks_are_taken():
    assert is_plain_tanh(example()[0])
    settings = dict(gain=1.0, replicas=(4,))
    other = [DeepNet(2, 6, 3, 4, gain=1.0), DeepNet(2, 6, 3, 4, gain=1.0, replicas=(2, 2)), torch.nn.Linear(2, 2),
             DeepNet(2, 6, 3, 4, activation="relu", **settings),
             DeepBaseline(2, 6, 3, 4, architecture="residual", **settings)]  # fmt: skip
    assert not any(map(is_plain_tanh, other))
