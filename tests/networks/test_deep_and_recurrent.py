"""DeepNet and TanhRNN against the same networks written out by hand, one replica at a time."""

import copy
import pickle

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from salnb import DeepNet, TanhRNN
from salnb.networks.gated import CellRNN
from tests.problems import random, seeded
from tests.tolerances import rounding, spread

FLAT_AND_RINGS = [5, (5,), (4, 6), (3, 6, 5)]


def deep(replicas=(), **given) -> DeepNet:
    given = {"gain": 1.2, "generator": seeded(), "dtype": torch.float64, **given}
    net = DeepNet(3, 6, 2, 4, replicas=replicas, **given)
    with torch.no_grad():  # biases start at 0, where a wrong one would not show
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(random(*parameter.shape, seed=len(name)) / 3)
    return net


def gated() -> CellRNN:
    return CellRNN("gru", 1, 4, 2, scale=5, replicas=3)


def recurrent(n_hidden=5, replicas=(), n_in=3, **given) -> TanhRNN:
    given = {"gain": 1.2, "generator": seeded(), "dtype": torch.float64, **given}
    rnn = TanhRNN(n_in, n_hidden, 2, replicas=replicas, **given)
    with torch.no_grad():
        for name, parameter in rnn.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(random(*parameter.shape, seed=len(name)) / 3)
    return rnn


@pytest.mark.parametrize(("name", "function"), [("tanh", torch.tanh), ("relu", F.relu), ("gelu", F.gelu)])
@pytest.mark.parametrize("replicas", [(), (3,), (2, 2)])
def test_deep_net_equals_a_loop_over_replicas_and_layers(replicas, name, function, device):
    net = deep(replicas, activation=name).to(device)
    own, shared = random(*replicas, 7, 3, device=device), random(7, 3, seed=1, device=device)
    for x in (own, shared):
        output = net(x)
        assert output.shape == (*replicas, 7, 2)
        for r in torch.cartesian_prod(*map(torch.arange, replicas)).view(-1, len(replicas)) if replicas else [()]:
            r = tuple(int(i) for i in r)
            h = x[r] if x.ndim > 2 else x
            for layer in net.hidden:
                h = function(h @ layer.weight[r].mT + layer.bias[r])
            torch.testing.assert_close(output[r], h @ net.readout.weight[r].mT + net.readout.bias[r])


def test_deep_net_has_depth_hidden_layers_the_first_reads_the_input_the_others_are_square():
    net = DeepNet(3, 6, 2, 4, gain=1.0)
    assert [tuple(layer.weight.shape) for layer in net.hidden] == [(6, 3), (6, 6), (6, 6), (6, 6)]
    assert net.readout.weight.shape == (2, 6)
    assert all(p.abs().max() == 0 for name, p in net.named_parameters() if name.endswith("bias"))


def test_gain_and_init_reach_every_layer():
    net = DeepNet(400, 400, 400, 2, gain=0.7, generator=seeded())
    for layer in (*net.hidden, net.readout):
        assert layer.weight.square().sum(-1).mean().item() == pytest.approx(0.49, rel=spread(400 * 400))
    rnn = TanhRNN(400, (400, 300), 400, gain=0.7, init="orthogonal", generator=seeded())
    for layer in (*rnn.recurrent, rnn.input, rnn.readout):
        assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(0.7, rel=rounding(torch.float32, 400))


@pytest.mark.parametrize("n_hidden", FLAT_AND_RINGS)
@pytest.mark.parametrize("replicas", [(), (3,)])
@pytest.mark.parametrize("own_inputs", [True, False])
@pytest.mark.parametrize("connectivity", [1.0, 0.5])
def test_tanh_rnn_equals_a_loop_over_time_and_once_around_the_ring(n_hidden, replicas, own_inputs, connectivity, device):
    rnn = recurrent(n_hidden, replicas, connectivity=connectivity).to(device)
    x = random(6, *(replicas if own_inputs else ()), 4, 3, device=device)
    start = random(*replicas, 4, rnn.n_hidden[-1], seed=1, device=device)
    for given in (None, start):
        outputs, states = rnn(x, given)
        assert outputs.shape == (6, *replicas, 4, 2) and states.shape == (6, *replicas, 4, rnn.n_hidden[-1])
        for r in range(3) if replicas else [...]:
            h = torch.zeros_like(start[r]) if given is None else given[r]
            for t in range(6):
                drive = (x[t][r] if own_inputs else x[t]) @ rnn.input.weight[r].mT
                for i, layer in enumerate(rnn.recurrent):
                    h = torch.tanh(h @ layer.weight[r].mT + layer.bias[r] + (0 if i else drive))
                torch.testing.assert_close(states[t][r], h)
                torch.testing.assert_close(outputs[t][r], h @ rnn.readout.weight[r].mT + rnn.readout.bias[r])


def test_the_first_layer_of_a_ring_reads_the_last_layers_state():
    rnn = TanhRNN(2, (4, 6, 5), 1, gain=1.0)
    assert [tuple(layer.weight.shape) for layer in rnn.recurrent] == [(4, 5), (6, 4), (5, 6)]
    assert rnn.input.weight.shape == (4, 2) and rnn.input.bias is None and rnn.readout.weight.shape == (1, 5)


def test_two_halves_of_a_sequence_equal_the_whole(device):
    rnn, x = recurrent((4, 6), (3,)).to(device), random(8, 3, 2, 3, device=device)
    whole = rnn(x)[1]
    first = rnn(x[:5])[1]
    torch.testing.assert_close(torch.cat([first, rnn(x[5:], first[-1])[1]]), whole)


def test_one_state_for_all_replicas_and_no_time_steps(device):
    rnn, x = recurrent(5, (3,)).to(device), random(2, 4, 3, device=device)
    start = random(4, 5, seed=3, device=device)
    torch.testing.assert_close(rnn(x, start)[1], rnn(x, start.expand(3, 4, 5))[1])
    outputs, states = rnn(x[:0])
    assert outputs.shape == (0, 3, 4, 2) and states.shape == (0, 3, 4, 5)


def test_a_network_left_to_itself_has_no_input():
    rnn = recurrent(5, n_in=0)
    states = rnn(torch.zeros(3, 2, 0).double(), random(2, 5))[1]
    torch.testing.assert_close(states[0], torch.tanh(rnn.recurrent[0](random(2, 5))))


def test_connectivity_thins_the_recurrent_weights_only():
    rnn = TanhRNN(20, (20, 30), 20, gain=1.0, connectivity=0.2, generator=seeded())
    assert [layer.mask is not None for layer in (*rnn.recurrent, rnn.input, rnn.readout)] == [True, True, False, False]


@pytest.mark.parametrize("make", [deep, recurrent])
def test_networks_can_be_copied_and_saved(make, tmp_path):
    net, x = make((2,)), random(3, 4, 3)
    x = x if isinstance(net, TanhRNN) else x[0]
    torch.save(net, tmp_path / "net.pt")
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), torch.load(tmp_path / "net.pt", weights_only=False)):
        torch.testing.assert_close(twin(x), net(x))


def test_every_activation_makes_a_network_that_can_be_saved():
    for name in ("tanh", "sigmoid", "relu", "leaky_relu", "gelu", "softplus", "identity"):
        pickle.loads(pickle.dumps(deep(activation=name)))(random(2, 3))


def test_inputs_of_another_dtype_pass_under_autocast():
    """There PyTorch converts by itself, as users of mixed precision expect."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for net, x in ((DeepNet(3, 4, 2, 2, gain=1.0), torch.ones(5, 3)), (TanhRNN(3, 4, 2, gain=1.0), torch.ones(6, 5, 3))):
            found, expected = net(x.bfloat16()), net(x)
            torch.testing.assert_close(found, expected)
    with pytest.raises(TypeError, match="inputs: got list, expected a tensor"):
        net([[1.0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DeepNet(2, 0, 1, 3, gain=1.0), "width: got 0, expected an integer >= 1"),
        (lambda: DeepNet(2, 4, 1, 2.5, gain=1.0), "depth: got 2.5, expected an integer >= 1"),
        (lambda: DeepNet(2, 4, 1, 2, gain=1.0, activation="swish"), "activation: got 'swish', expected one of tanh"),
        (lambda: DeepNet(2, 4, 1, 2, gain=1.0, replicas=(0,)), r"replicas: got \(0,\), expected a positive integer"),
        (lambda: deep()(torch.zeros(4, 5).double()), r"inputs: got shape \(4, 5\), expected \(B, 3\)"),
        (lambda: deep()(torch.zeros(3).double()), r"inputs: got shape \(3,\), expected \(B, 3\)"),
        (lambda: TanhRNN(2, (4, 0), 1, gain=1.0), r"n_hidden: got \(4, 0\), expected a positive integer"),
        (lambda: TanhRNN(2, (), 1, gain=1.0), "n_hidden: got 0"),
        (lambda: TanhRNN(-1, 4, 1, gain=1.0), "n_in: got -1, expected an integer >= 0"),
        (lambda: TanhRNN(2, 4, 1, gain=1.0, connectivity=2), "connectivity: got 2"),
        (lambda: recurrent()(torch.zeros(4, 3).double()), r"inputs: got shape \(4, 3\), expected \(T, B, 3\).*time first"),
        (lambda: recurrent()(torch.zeros(6, 4, 3)), r"got dtype torch.float32, expected torch.float64 \(T, B, 3\) as"),
        (lambda: recurrent()(torch.zeros(6, 4, 3).double(), torch.zeros(4, 5)), "state: got dtype torch.float32"),
        (lambda: deep()(torch.zeros(4, 3).long()), r"inputs: got dtype torch.int64, expected torch.float64 \(\.\.\., B, 3\)"),
        (lambda: gated()(torch.zeros(5, 3, 2, 1).double()), "inputs: got dtype torch.float64, expected torch.float32"),
        (lambda: gated()(torch.zeros(5, 2, 1)), r"inputs: got shape \(5, 2, 1\), expected \(T, 3, B, 1\), time first"),
        (lambda: recurrent()(torch.zeros(6, 4, 2).double()), r"inputs: got shape \(6, 4, 2\), expected \(T, B, 3\)"),
        (lambda: recurrent()(torch.zeros(6, 4, 3).double(), torch.zeros(4, 9).double()), r"state: got shape \(4, 9\)"),
        (lambda: recurrent()(torch.zeros(6, 4, 3).double(), torch.zeros(7, 5).double()), r"state: got shape \(7, 5\)"),
    ],
)
def test_bad_input_is_a_value_error_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
