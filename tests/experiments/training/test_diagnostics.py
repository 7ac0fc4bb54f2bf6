"""What the experiments measure of a network, against linear algebra, the monitor and whole-network derivatives."""

import math

import pytest
import torch

from salnb import SAL, DeepNet, TanhRNN, log_sensitivity, neuron_sensitivity
from salnb.experiments.training.baselines import deep_net
from salnb.experiments.training.diagnostics import exponent_of, layers_of, log10_backward_growth, log_sensitivity_of, profile_of
from salnb.experiments.training.optimization import losses
from salnb.networks.gated import CellRNN
from tests.problems import seeded
from tests.tolerances import rounding


def net_of(architecture: str, depth: int = 4) -> DeepNet:
    net = deep_net(3, 6, 2, depth, gain=1.1, init="gaussian", architecture=architecture, replicas=2, generator=seeded(), bias=0.3)
    return net.double()


def test_log_sensitivity_of_a_deep_net_is_the_one_sal_sees():
    net, inputs = net_of("plain"), torch.randn(2, 7, 3, dtype=torch.float64)
    sal = SAL(net)
    net(inputs)
    torch.testing.assert_close(log_sensitivity_of(net, inputs), sal.log_sensitivity().mean(0))


def test_log_sensitivity_of_an_rnn_is_that_of_all_its_steps():
    rnn, inputs = TanhRNN(1, 6, 2, gain=1.2, replicas=(2,), generator=seeded()).double(), torch.randn(5, 2, 4, 1).double()
    states = rnn(inputs)[1]
    before = torch.cat([torch.zeros_like(states[:1]), states[:-1]])
    for r in range(2):
        pre = before[:, r] @ rnn.recurrent[0].weight[r].T + inputs[:, r] @ rnn.input.weight[r].T + rnn.recurrent[0].bias[r]
        s = neuron_sensitivity(rnn.recurrent[0].weight[r], pre.flatten(0, 1), "tanh")
        torch.testing.assert_close(log_sensitivity_of(rnn, inputs)[r], log_sensitivity(s.flatten()))


@pytest.mark.parametrize("architecture", ["plain", "layer_norm", "residual"])
def test_growth_through_layers_is_that_of_the_whole_network(architecture):
    net, inputs = net_of(architecture), torch.randn(2, 5, 3, dtype=torch.float64)
    first = layers_of(net, inputs)[0]
    tangent = torch.randn(first.shape, generator=seeded(4), dtype=torch.float64)

    def rest(state):
        for i in range(1, 4):
            state = net.layer_output(i, state) if hasattr(net, "layer_output") else torch.tanh(net.hidden[i](state))
        return state

    _, grown = torch.func.jvp(rest, (first,), (tangent,))
    expected = (grown.norm(dim=-1) / tangent.norm(dim=-1)).log().mean(-1) / 3
    torch.testing.assert_close(exponent_of(net, inputs, seeded(4)), expected)


def test_exponent_of_an_orthogonal_rnn_at_rest_is_the_log_of_its_gain():
    rnn = TanhRNN(1, 6, 2, gain=0.8, init="orthogonal", replicas=(2,), generator=seeded()).double()
    found = exponent_of(rnn, torch.zeros(9, 2, 3, 1).double(), seeded())
    # Nine products by a matrix that is orthogonal up to the rounding of its own QR, in single precision.
    torch.testing.assert_close(found, torch.full_like(found, math.log(0.8)), rtol=0, atol=rounding(torch.float32, 6))


def test_exponent_of_an_lstm_that_only_forgets_is_its_forget_gate():
    rnn = CellRNN("lstm", 1, 4, 2, scale=10, replicas=2, generator=seeded()).double()
    with torch.no_grad():
        rnn.recurrent.weight.zero_()
        rnn.input.weight.zero_()
        rnn.recurrent.bias.zero_()
        rnn.recurrent.bias[:, :4] = 2.0
    # h depends on c alone, c shrinks by the gate: one cell's length shrinks by it from the second step on.
    long = exponent_of(rnn, torch.zeros(1500, 2, 1, 1).double(), seeded())
    # The random tangent begins with the share of its length that lies in the cells, four of eight coordinates, and h adds at most
    # as much as c: the log of that is below 5 unless the share is below e^-4.6, which happens once in 10^7 draws, 3 e^-18.4.
    torch.testing.assert_close(long, torch.full_like(long, -math.log1p(math.exp(-2))), rtol=0, atol=5 / 1500)


@pytest.mark.parametrize("model", ["plain", "layer_norm", "residual", "tanh", "gru", "lstm", "relu"])
def test_profile_is_the_gradient_by_a_disturbance_of_each_state(model):
    targets = torch.randint(2, (2, 3), generator=seeded())
    if model in ("plain", "layer_norm", "residual"):
        net, inputs = net_of(model), torch.randn(2, 3, 3, dtype=torch.float64)
        steps, sizes = 4, (2, 3, 6)
    else:
        net = (TanhRNN(1, 6, 2, gain=1.0, replicas=(2,), generator=seeded()) if model == "tanh" else
               CellRNN(model, 1, 6, 2, scale=9, replicas=2, generator=seeded())).double()  # fmt: skip
        inputs, steps, sizes = torch.randn(4, 2, 3, 1, dtype=torch.float64), 4, (2, 3, 12 if model == "lstm" else 6)

    def value(disturbances):
        state = inputs if inputs.ndim == 3 else torch.zeros(sizes, dtype=torch.float64)
        for i in range(steps):
            if inputs.ndim == 3:
                state = net.layer_output(i, state) if hasattr(net, "layer_output") else torch.tanh(net.hidden[i](state))
            else:
                state = net.step(state, net.input(inputs[i]))
            state = state + disturbances[i]
        return losses(net.readout(state[..., :6]), targets).sum()

    gradient = torch.autograd.functional.jacobian(value, torch.zeros(steps, *sizes, dtype=torch.float64))
    expected = gradient.flatten(2).norm(dim=-1).T
    torch.testing.assert_close(profile_of(net, inputs, targets), expected)


@pytest.mark.parametrize("kind", ["tanh", "gru", "plain", "layer_norm", "residual"])
def test_what_arrives_of_a_random_error_is_what_autograd_sends_back(kind):
    if kind in ("tanh", "gru"):
        net = (TanhRNN(1, 6, 2, gain=1.0, replicas=(2,), generator=seeded()) if kind == "tanh" else
               CellRNN("gru", 1, 6, 2, scale=9, replicas=2, generator=seeded())).double()  # fmt: skip
        inputs = torch.randn(5, 2, 4, 1).double()
        step, state = net.step, torch.zeros(2, 4, 6).double().requires_grad_()
        first = state = step(state, net.input(inputs[0]))
        for given in inputs[1:]:
            state = step(state, net.input(given))
    else:
        net, inputs = net_of(kind), torch.randn(2, 4, 3).double()
        states = layers_of(net, inputs)
        first, state = states[0], states[-1]
    error = torch.randn(state.shape, generator=seeded(3), dtype=torch.float64)
    (back,) = torch.autograd.grad(state, first, error)
    expected = (back.norm(dim=(-2, -1)) / error.norm(dim=(-2, -1))).log10()
    with torch.no_grad():
        torch.testing.assert_close(log10_backward_growth(net, inputs, seeded(3)), expected)


def test_nothing_arrives_through_a_dead_network_and_that_is_a_number():
    net = net_of("plain")
    with torch.no_grad():
        net.hidden[2].weight.zero_()
        # Lengths below 1e-30 count as that, and the layers before and behind the dead one change this by a few powers of e.
        assert (log10_backward_growth(net, torch.randn(2, 4, 3).double(), seeded()) < -25).all()
