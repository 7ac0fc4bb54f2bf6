"""Which layers SAL acts on: found by their place in the model, or named by the reader."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from salnb import SAL, DeepNet, TanhRNN
from salnb.sal.layers import find_layers
from tests.problems import HandLoop, sequential


def names(model: nn.Module, layers=None) -> list[str]:
    return [layer.name for layer in find_layers(model, layers)]


class Foreign(nn.Module):
    """Parts of every kind, and a forward that find_layers never looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Sigmoid())
        self.rnn = nn.RNN(4, 5, 2)
        self.gru = nn.GRU(5, 5)
        self.norm = nn.LayerNorm(5)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(5, 5), nn.GELU(), nn.Linear(5, 2))


def test_default_is_every_linear_followed_by_a_known_activation_except_the_one_that_reads_the_input_never_the_readout():
    assert names(sequential(2, 4, 4, 4, 1)) == ["2", "4"]


def test_default_unfolds_nested_sequentials():
    block = lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh())  # noqa: E731
    assert names(nn.Sequential(nn.Linear(2, 4), nn.Tanh(), block(), block(), nn.Linear(4, 1))) == ["2.0", "3.0"]
    split = nn.Sequential(nn.Sequential(nn.Linear(2, 4)), nn.Tanh(), nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.ReLU()))
    assert names(split) == ["2.0"]


def test_default_never_takes_the_readout():
    def net(*end):
        return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1), *end)

    assert names(net()) == names(net(nn.Sigmoid())) == names(net(nn.Identity())) == ["2"]  # probabilities are read out
    assert names(net(nn.ReLU())) == ["2", "4"]  # no sign that this is an output
    assert names(nn.Sequential(nn.Linear(2, 4), nn.Sigmoid(), nn.Linear(4, 4), nn.Sigmoid())) == ["2"]


def test_default_sees_an_activation_module_that_is_used_several_times():
    act = nn.Tanh()
    assert names(nn.Sequential(nn.Linear(2, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 1))) == ["2", "4"]


def test_default_finds_parts_of_a_foreign_model():
    assert names(Foreign()) == ["encoder.2", "rnn.weight_hh_l0", "rnn.weight_hh_l1", "head.1"]


def test_default_watches_a_linear_that_reads_another_parts_output():
    convolution = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    assert names(convolution) == ["3"]


def test_default_of_our_own_networks():
    assert names(DeepNet(2, 4, 1, 4, gain=1.0)) == ["hidden.1", "hidden.2", "hidden.3"]
    assert names(TanhRNN(2, (4, 5), 1, gain=1.0)) == ["recurrent.0", "recurrent.1"]
    assert names(nn.Sequential(OrderedDict(net=DeepNet(2, 4, 1, 2, gain=1.0)))) == ["net.hidden.1"]


def test_default_leaves_frozen_layers_alone():
    model = sequential(2, 4, 4, 4, 1)
    model[2].weight.requires_grad_(False)
    assert names(model) == ["4"]


def test_activation_settings_come_from_the_module():
    model = nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(0.3), nn.Linear(3, 3), nn.LeakyReLU(0.3), nn.Linear(3, 1))
    layer = find_layers(model)[0]
    assert layer.activation.slope(torch.tensor([-1.0])).item() == pytest.approx(0.3)
    rnn = nn.RNN(2, 3, nonlinearity="relu")
    assert find_layers(rnn)[0].activation.name == "relu"


def test_named_layers_in_the_order_given_with_their_activations():
    model = sequential(2, 4, 4, 4, 1)
    assert names(model, ["4", "0"]) == ["4", "0"]
    assert names(model, "2") == ["2"]
    found = find_layers(HandLoop(), {"hidden": "relu"})
    assert [layer.activation.name for layer in found] == ["relu"]
    assert find_layers(model, {"2": nn.Sigmoid()})[0].activation.name == "sigmoid"
    assert names(Foreign(), ["rnn"]) == ["rnn.weight_hh_l0", "rnn.weight_hh_l1"]
    assert names(Foreign(), ["rnn.weight_hh_l1", "head.1"]) == ["rnn.weight_hh_l1", "head.1"]
    assert names(DeepNet(2, 4, 1, 3, gain=1.0), ["hidden.0"]) == ["hidden.0"]


def test_gated_with_the_neuron_are_input_weights_and_second_biases():
    rnn = nn.RNN(2, 3, 2)
    layer = find_layers(rnn)[1]
    assert layer.weight is rnn.weight_hh_l1 and layer.bias is rnn.bias_hh_l1
    assert {id(p) for p in layer.others} == {id(rnn.weight_ih_l1), id(rnn.bias_ih_l1)}
    ring = TanhRNN(2, (4, 5), 1, gain=1.0)
    assert [layer.others for layer in find_layers(ring)] == [(ring.input.weight,), ()]


def tied() -> nn.Sequential:
    model = sequential(3, 3, 3)
    model[2].weight = model[0].weight
    return model


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: SAL(nn.Linear(2, 2)), ValueError, "model: found no layer to act on in Linear; .* layers="),
        (lambda: SAL(nn.Sequential(nn.Linear(2, 2), nn.Tanh())), ValueError, "model: found no layer to act on in Sequential"),
        (lambda: SAL(sequential(2, 4, 4, 1), layers=[]), ValueError, "model: found no layer to act on"),
        (lambda: SAL(sequential(2, 4, 4, 1), layers=["7"]), ValueError, "layers: the model has no layer named '7'; it has 0, 1"),
        (lambda: SAL(HandLoop(), layers=["hidden"]), ValueError, "layers: no known activation module follows 'hidden';"),
        (lambda: SAL(HandLoop(), layers={"hidden": "swish"}), ValueError, "activation: got 'swish', expected one of tanh"),
        (lambda: SAL(Foreign(), layers=["gru"]), ValueError, "layers: 'gru' is a GRU; SAL acts on Linear and nn.RNN"),
        (lambda: SAL(Foreign(), layers=["rnn.weight_hh_l7"]), ValueError, "the model has no layer named 'rnn.weight_hh_l7'"),
        (lambda: SAL(Foreign(), layers=["head.1", "rnn.weight_hh_l7"]), ValueError, "no layer named 'rnn.weight_hh_l7'"),
        (lambda: SAL(tied(), layers={"0": "tanh", "2": "tanh"}), ValueError, "layers: two of 0, 2 share one weight"),
        (lambda: SAL(nn.RNN(2, 3, bidirectional=True)), ValueError, "SAL on the model: got a bidirectional RNN"),
        (lambda: SAL(nn.RNN(2, 3, 2, dropout=0.2)), RuntimeError, "SAL on the model: got dropout=0.2 in training mode"),
    ],
)
def test_what_cannot_be_watched_is_an_error_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_projected_lstm_and_rnn_are_refused():
    """PyTorch itself has no projected nn.RNN; an LSTM is no layer SAL can act on."""
    with pytest.raises(ValueError, match="proj_size argument is only supported for LSTM|projected"):
        SAL(nn.RNN(2, 4, proj_size=2))
    with pytest.raises(ValueError, match="found no layer to act on in LSTM"):
        SAL(nn.LSTM(2, 4, proj_size=2))
