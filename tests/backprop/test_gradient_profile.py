"""The gradient profile against finite differences, and against cases whose answer is known."""

import math

import pytest
import torch
from torch import nn

from salnb import DeepNet, TanhRNN, rnn_step
from salnb.backprop.gradient_profile import gradient_profile
from tests.problems import SEED
from tests.tolerances import close, rounding


def squared(outputs, targets):
    return (outputs - targets).square().sum()


def test_depth_against_autograd_on_a_net_cut_in_two():
    net = DeepNet(3, 6, 2, depth=5, gain=1.4, replicas=(2,), dtype=torch.float64)
    x, y = torch.randn(4, 3, dtype=torch.float64), torch.randn(2, 4, 2, dtype=torch.float64)
    profile = gradient_profile(net, x, y, squared)
    assert profile.shape == (2, 5)
    for depth in range(5):
        with torch.no_grad():
            state = x
            for layer in net.hidden[: depth + 1]:
                state = torch.tanh(layer(state))
        start = state.requires_grad_()
        state = start
        for layer in net.hidden[depth + 1 :]:
            state = torch.tanh(layer(state))
        (gradient,) = torch.autograd.grad(squared(net.readout(state), y), start)
        torch.testing.assert_close(profile[:, depth], gradient.flatten(1).norm(dim=1), **close(torch.float64, 5 * (6 + 4), 10))


def test_an_orthogonal_linear_net_keeps_the_gradient():
    net = DeepNet(4, 8, 8, depth=30, gain=1.0, init="orthogonal", activation="identity", dtype=torch.float64)
    profile = gradient_profile(net, torch.randn(5, 4).double(), torch.zeros(5, 8).double(), squared)
    # Thirty products by matrices of eight orthonormal columns, on gradients of length about 10.
    torch.testing.assert_close(profile, profile[-1].expand(30), **close(torch.float64, 30 * 8, 10))


def test_sequential_with_and_without_activation_modules():
    torch.manual_seed(SEED)
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(inplace=True), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x, y = torch.randn(6, 3).double(), torch.randn(6, 1).double()
    profile = gradient_profile(net, x, y, squared)
    assert profile.shape == (2,)
    start = net[3](net[2](net[1](net[0](x)))).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(squared(net[4](start), y), start)
    torch.testing.assert_close(profile[1], gradient.norm())
    assert gradient_profile(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)).double(), x, y, squared).shape == (1,)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("batch_first", [False, True])
def test_time_against_finite_differences_of_the_state(kind, batch_first):
    torch.manual_seed(SEED + 1)
    module = kind(2, 3, 2, batch_first=batch_first).double()
    inputs = torch.randn(6, 4, 2).double()
    given = inputs.transpose(0, 1) if batch_first else inputs
    targets = torch.randn_like(module(given)[0])
    profile = gradient_profile(module, given, targets, squared)
    assert profile.shape == (6,)
    step, size = rnn_step(module), 6 * (2 if kind is nn.LSTM else 1)

    def rest(state, at):  # the loss as a function of the state after time step `at`
        before, tops = torch.zeros(4, size).double(), []
        for t in range(6):
            before = step(before, inputs[t]) if t != at else state
            tops.append(before[:, 3:6])
        outputs = torch.stack(tops)
        return squared(outputs.transpose(0, 1) if batch_first else outputs, targets)

    for at in (0, 3, 5):
        state = torch.zeros(4, size).double()
        for t in range(at + 1):
            state = step(state, inputs[t])
        (gradient,) = torch.autograd.grad(rest(start := state.detach().requires_grad_(), at), start)
        torch.testing.assert_close(profile[at], gradient.norm())


def test_time_of_our_rnn_decays_as_its_jacobian_says():
    rnn = TanhRNN(1, 20, 1, gain=0.5, replicas=(3,), init="orthogonal", dtype=torch.float64)
    inputs = torch.zeros(40, 2, 1).double()  # silent: the Jacobian is W itself, half of an orthogonal matrix
    profile = gradient_profile(rnn, inputs, torch.ones(3, 2, 1).double(), lambda o, t: (o[-1] - t).square().sum())
    assert profile.shape == (3, 40)
    growth = profile[:, 1:].log() - profile[:, :-1].log()
    digits = rounding(torch.float64, 40 * 20)  # forty products by 20 orthonormal columns, relative, and so of the logs
    torch.testing.assert_close(growth, torch.full_like(growth, math.log(2)), rtol=0, atol=digits)


def test_what_cannot_be_profiled_is_named():
    with pytest.raises(TypeError, match="model: got function"):
        gradient_profile(squared, torch.zeros(1, 2), torch.zeros(1, 2), squared)
    for model in nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)), nn.Sequential():
        with pytest.raises(ValueError, match="model: .* has no hidden layer"):
            gradient_profile(model, torch.zeros(1, 2), torch.zeros(1, 2), squared)
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(7, 2, 3), [7, 4])
    with pytest.raises(TypeError, match="inputs: got PackedSequence.*pad_packed_sequence"):
        gradient_profile(nn.LSTM(3, 5), packed, torch.zeros(1), lambda o, t: o.data.sum())
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    wrong = (["4"], "got '4', expected names"), ([], "got no name"), (["0", "0"], "got no name, or one twice"), ([1], "got 1")
    for layers, words in wrong:
        with pytest.raises(ValueError, match=f"layers: {words}"):
            gradient_profile(net, torch.zeros(1, 2), torch.zeros(1, 2), squared, layers=layers)
    with pytest.raises(ValueError, match="loss: its value depends on no hidden layer"):
        gradient_profile(net, torch.zeros(1, 2), torch.zeros(1, 2), lambda o, t: squared(o.detach(), t))
    with pytest.raises(ValueError, match="loss: returned"):
        gradient_profile(DeepNet(2, 3, 2, 2, gain=1.0), torch.zeros(1, 2), torch.zeros(1, 2), lambda o, t: o - t)
