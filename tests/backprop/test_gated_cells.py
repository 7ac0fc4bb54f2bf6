"""Gradients of ReLU, GRU and LSTM networks, derived by hand, against automatic differentiation."""

import copy

import pytest
import torch

from salnb.backprop.gated_cells import cell_gradients
from salnb.experiments.training.optimization import losses, set_gradients
from salnb.networks.gated import CELLS, CellRNN
from tests.problems import seeded
from tests.tolerances import SAFETY, astray, rounding, within


def example(cell, n_in=2, steps=7, dtype=torch.float64):
    """A network away from its symmetric start, inputs, and targets for every time step."""
    generator = seeded(5)
    net = CellRNN(cell, n_in, 6, 3, scale=7, replicas=4, generator=generator).to(dtype)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
    inputs, targets = (torch.randn(steps, 4, 5, n, generator=generator, dtype=dtype) for n in (n_in, 3))
    return net, inputs, targets


def everywhere(outputs, targets):
    return (outputs - targets).square().sum()


def at_the_end(outputs, targets):
    return everywhere(outputs[-1], targets[-1])


def here_and_there(outputs, targets):
    return everywhere(outputs[[1, 4]], targets[[1, 4]])


@pytest.mark.parametrize("cell", CELLS[1:])
@pytest.mark.parametrize("loss", [everywhere, at_the_end, here_and_there])
@pytest.mark.parametrize("n_in", [1, 2])
def test_every_gradient_equals_autograd(cell, loss, n_in):
    net, inputs, targets = example(cell, n_in)
    value, gradients = cell_gradients(net, inputs, targets, loss)
    expected = loss(net(inputs)[0], targets)
    expected.backward()
    chain = 7 * (6 + 5 + 3)  # seven steps, each with sums over neurons and gates, and over the batch for the gradients
    torch.testing.assert_close(value, expected.detach(), **within(expected, chain))
    assert gradients.keys() == dict(net.named_parameters()).keys()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, **within(parameter.grad, chain, terms=7 * 5), msg=name)
        assert gradients[name].is_contiguous() and parameter.grad.any()


@pytest.mark.parametrize("cell", CELLS[1:])
def test_a_single_step_reads_the_state_0(cell):
    net, inputs, targets = example(cell, steps=1)
    gradients = cell_gradients(net, inputs, targets, everywhere)[1]
    everywhere(net(inputs)[0], targets).backward()
    assert not gradients["recurrent.weight"].any()
    torch.testing.assert_close(gradients["input.weight"], net.input.weight.grad)


@pytest.mark.parametrize("cell", CELLS[1:])
def test_a_learning_step_takes_them(cell):
    net, inputs, _ = example(cell, dtype=torch.float32, steps=40)
    targets = torch.tensor([0, 1, 2, 1, 0]).expand(4, 5)
    value = set_gradients(net, inputs, targets)
    by_hand = {name: parameter.grad.clone() for name, parameter in net.named_parameters()}
    net.zero_grad(set_to_none=True)
    each = losses(net(inputs)[0][-1], targets)
    each.sum().backward()
    wide = copy.deepcopy(net).double()
    exact = losses(wide(inputs.double())[0][-1], targets)
    wanted = torch.autograd.grad(exact.sum(), list(wide.parameters()))
    # What automatic differentiation loses over the same 40 steps, which through ReLUs grow.
    digits = SAFETY * astray([each, *(p.grad for p in net.parameters())], [exact, *wanted]) + rounding(torch.float32, 1)
    assert astray([value, *by_hand.values()], [exact, *wanted]) <= digits < 1e-2


def test_the_networks_and_the_data_stay_as_they_were():
    for cell in CELLS[1:]:
        net, inputs, targets = example(cell)
        before = [tensor.clone() for tensor in (*net.parameters(), inputs, targets)]
        cell_gradients(net, inputs, targets, everywhere)
        assert all(torch.equal(a, b) for a, b in zip(before, (*net.parameters(), inputs, targets), strict=True))
        assert all(parameter.grad is None for parameter in net.parameters())
