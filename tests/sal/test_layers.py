"""Which layers SAL acts on: seen in the first pass in which they run, or named by the reader."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from salnb import SAL, DeepNet, SensitivityMonitor, TanhRNN
from salnb.sal.layers import UNSEEN, WATCHED
from salnb.sal.look.survey import survey
from tests.problems import HandLoop, random, sequential


def names(model: nn.Module, x: torch.Tensor, layers=None) -> list[str]:
    """What is watched after one pass; all of it, and nothing else, has a sensitivity."""
    sal = SAL(model, lr=0.0, layers=layers)
    model(x)
    sal.step()
    listed = [row["layer"] for row in sal.report() if row["watched"] == "yes"]
    assert sorted(listed) == sorted(sal.sensitivity)
    return list(sal.sensitivity)


def reasons(sal: SAL) -> dict[str, str]:
    return {row["layer"]: row["why"] for row in sal.report()}


X = random(6, 2).float()


class Foreign(nn.Module):
    """Parts of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Sigmoid())
        self.rnn = nn.RNN(4, 5, 2)
        self.gru = nn.GRU(5, 5)
        self.norm = nn.LayerNorm(5)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(5, 5), nn.GELU(), nn.Linear(5, 2))

    def forward(self, x):
        return self.head(self.norm(self.gru(self.rnn(self.encoder(x))[0])[0]))


SEQUENCE = random(7, 6, 3).float()


def test_default_is_every_linear_followed_by_a_known_activation_except_the_one_that_reads_the_input_never_the_readout():
    assert names(sequential(2, 4, 4, 4, 1), X) == ["2", "4"]


def test_default_unfolds_nested_sequentials():
    block = lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh())  # noqa: E731
    assert names(nn.Sequential(nn.Linear(2, 4), nn.Tanh(), block(), block(), nn.Linear(4, 1)), X) == ["2.0", "3.0"]
    split = nn.Sequential(nn.Sequential(nn.Linear(2, 4)), nn.Tanh(), nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.ReLU()),
                          nn.Linear(4, 1))  # fmt: skip
    assert names(split, X) == ["2.0"]


@pytest.mark.parametrize("end", [None, nn.Sigmoid(), nn.Identity(), nn.ReLU(), nn.Tanh(), nn.Softplus(), nn.Softmax(-1)])
def test_default_never_takes_the_readout_whatever_follows_it(end):
    parts = nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1)
    model = nn.Sequential(*parts) if end is None else nn.Sequential(*parts, end)
    assert names(model, X) == ["2"]
    sal = SAL(model)
    model(X)
    assert reasons(sal) == {"0": "reads the input", "2": "", "4": "readout"}


def test_default_sees_an_activation_module_that_is_used_several_times():
    act = nn.Tanh()
    model = nn.Sequential(nn.Linear(2, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 1))
    assert names(model, X) == ["2", "4"]


def test_default_finds_parts_of_a_foreign_model_and_reports_the_others():
    model = Foreign()
    assert names(model, SEQUENCE) == ["encoder.2", "rnn.weight_hh_l0", "rnn.weight_hh_l1", "head.1"]
    sal = SAL(model)
    model(SEQUENCE)
    gru = "not supported: GRU, but by rows: layers={name: 'rows'}"
    assert reasons(sal) == {"encoder.0": "reads the input", "encoder.2": "", "rnn.weight_hh_l0": "", "rnn.weight_hh_l1": "",
                            "gru": gru, "head.1": "", "head.3": "readout"}  # fmt: skip


def test_default_watches_a_linear_that_reads_another_parts_output():
    convolution = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    assert names(convolution, random(5, 1, 4).float()) == ["3"]


def test_default_of_our_own_networks():
    assert names(DeepNet(2, 4, 1, 4, gain=1.0), X) == ["hidden.1", "hidden.2", "hidden.3"]
    assert names(TanhRNN(2, (4, 5), 1, gain=1.0), random(5, 6, 2).float()) == ["recurrent.0", "recurrent.1"]
    assert names(nn.Sequential(OrderedDict(net=DeepNet(2, 4, 1, 2, gain=1.0))), X) == ["net.hidden.1"]


def test_default_leaves_frozen_layers_alone():
    model = sequential(2, 4, 4, 4, 1)
    model[2].requires_grad_(False)
    assert names(model, X) == ["4"]
    sal = SAL(model)
    model(X)
    assert reasons(sal)["2"] == "frozen (requires_grad=False)"
    with pytest.raises(KeyError, match="'2' has no sensitivity: frozen"):
        sal.sensitivity["2"]


def test_a_layer_of_which_only_the_bias_may_move_is_watched():
    model = sequential(2, 4, 4, 4, 1)
    model[2].weight.requires_grad_(False)
    assert names(model, X) == ["2", "4"]


def test_named_frozen_layers_are_measured_and_not_moved():
    model = sequential(2, 4, 4, 4, 1)
    model[2].requires_grad_(False)
    sal, before = SAL(model, layers=["2", "4"], lr=0.1, target=1e9), {n: p.clone() for n, p in model.named_parameters()}
    model(X)
    sal.step()
    pre = model[2](model[:2](X)).detach()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {"4.weight", "4.bias"}
    torch.testing.assert_close(sal.sensitivity["2"], ((1 - pre.tanh().square()) * model[2].weight.norm(dim=1)).mean(0))
    assert reasons(sal)["2"] == "frozen (requires_grad=False): measured, not moved"


def test_activation_settings_come_from_the_module():
    model = nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(0.3), nn.Linear(3, 3), nn.LeakyReLU(0.3), nn.Linear(3, 1))
    sal = SAL(model, lr=0.0)
    model(X)
    sal.step()
    with torch.no_grad():
        slope = torch.where(model[2](model[:2](X)) > 0, 1.0, 0.3)
    torch.testing.assert_close(sal.sensitivity["2"], (slope * model[2].weight.norm(dim=1)).mean(0).detach())
    rnn = nn.RNN(2, 3, nonlinearity="relu")
    assert SAL(rnn).report()[0]["activation"] == "relu"


def test_named_layers_in_the_order_given_with_their_activations():
    model = sequential(2, 4, 4, 4, 1)
    assert names(model, X, ["4", "0"]) == ["4", "0"]
    assert names(model, X, "2") == ["2"]
    loop = HandLoop(5, torch.relu)
    sal = SAL(loop, layers={"hidden": "relu"})
    loop(random(4, 5).float())
    assert [row["activation"] for row in sal.report()] == ["relu", ""]
    assert names(Foreign(), SEQUENCE, ["rnn"]) == ["rnn.weight_hh_l0", "rnn.weight_hh_l1"]
    assert names(Foreign(), SEQUENCE, ["rnn.weight_hh_l1", "head.1"]) == ["rnn.weight_hh_l1", "head.1"]
    assert names(DeepNet(2, 4, 1, 3, gain=1.0), X, ["hidden.0"]) == ["hidden.0"]


def test_a_name_alone_is_enough_where_forward_calls_the_activation():
    assert names(HandLoop(), random(4, 5).float(), ["hidden"]) == ["hidden"]


def test_the_survey_before_any_pass_has_every_candidate():
    found = survey(Foreign())
    assert [(layer.name, layer.status) for layer in found.layers] == [
        ("encoder.0", UNSEEN), ("encoder.2", UNSEEN), ("rnn.weight_hh_l0", WATCHED), ("rnn.weight_hh_l1", WATCHED),
        ("head.1", UNSEEN), ("head.3", UNSEEN)]  # fmt: skip
    assert [name for name, _, _ in found.rows] == [
        "encoder.0", "encoder.2", "rnn.weight_hh_l0", "rnn.weight_hh_l1", "gru", "head.1", "head.3"]  # fmt: skip


def test_gated_with_the_neuron_are_input_weights_and_second_biases():
    rnn = nn.RNN(2, 3, 2)
    layer = survey(rnn).layers[1]
    assert layer.weight is rnn.weight_hh_l1 and layer.bias is rnn.bias_hh_l1
    assert {id(p) for p in layer.others} == {id(rnn.weight_ih_l1), id(rnn.bias_ih_l1)}
    ring = TanhRNN(2, (4, 5), 1, gain=1.0)
    assert [layer.others for layer in survey(ring).layers] == [(ring.input.weight,), ()]


def tied() -> nn.Sequential:
    model = sequential(3, 3, 3)
    model[2].weight = model[0].weight
    return model


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SAL(nn.Sequential(nn.Linear(2, 2), nn.Tanh())), "found no layer to act on in Seq.*\n  0 .*reads the input"),
        (lambda: SAL(sequential(2, 4, 4, 1), layers=[]), "model: found no layer to act on"),
        (lambda: SAL(sequential(2, 4, 4, 1), layers=["7"]), "layers: the model has no layer named '7'; it has 0, 1"),
        (lambda: SAL(HandLoop(), layers={"hidden": "swich"}), "layers: 'hidden': activation: got 'swich', expected one of tanh"),
        (lambda: SAL(sequential(2, 4, 4, 1), layers={"2": "sigmoid"}), "'2' was given 'sigmoid', but the module .* is 'tanh'"),
        (lambda: SAL(Foreign(), layers=["gru"]), "layers: 'gru' is a GRU; SAL acts on Linear, Conv1d, .* and nn.RNNCell"),
        (lambda: SAL(Foreign(), layers=["rnn.weight_hh_l7"]), "the model has no layer named 'rnn.weight_hh_l7'"),
        (lambda: SAL(Foreign(), layers=["head.1", "rnn.weight_hh_l7"]), "no layer named 'rnn.weight_hh_l7'"),
        (lambda: SAL(tied(), layers={"0": "tanh", "2": "tanh"}), "layers: two of 0, 2 share one weight"),
        (lambda: SAL(nn.RNN(2, 3, bidirectional=True)), r"\(RNN\): .*got a bidirectional RNN"),
        (lambda: SAL(nn.RNN(2, 3, 2, dropout=0.2)), r"\(RNN\): .*got dropout=0.2 in training mode"),
    ],
)
def test_what_cannot_be_watched_is_an_error_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_model_of_which_the_first_pass_leaves_nothing_is_an_error_with_the_report():
    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.only = nn.Linear(2, 2)

        def forward(self, x):
            return torch.tanh(self.only(x))

    for model, name in ((Single(), "only"), (nn.Linear(2, 2), r"\(the model\)")):
        sal = SAL(model)
        report = rf"SAL: no layer of this model can be watched.*layers=(.|\n)*{name} .*reads the input"
        with pytest.raises(RuntimeError, match=report):
            model(X)
            sal.step()


def test_a_wrong_name_is_refused_in_the_first_pass_with_the_right_one():
    model = HandLoop()
    sal = SAL(model, layers={"hidden": "relu"})
    with pytest.raises(ValueError, match="layers: 'hidden' was given 'relu', but what takes its output is 'tanh'"):
        model(random(4, 5).float())
    assert sal.sensitivity == {}


@pytest.mark.parametrize("attach", [SAL, SensitivityMonitor])
def test_projected_lstm_and_rnn_are_refused(attach):
    """PyTorch itself has no projected nn.RNN; an LSTM is no layer SAL can act on."""
    with pytest.raises(ValueError, match="proj_size argument is only supported for LSTM|projected"):
        attach(nn.RNN(2, 4, proj_size=2))
    with pytest.raises(ValueError, match="found no layer to act on in LSTM"):
        attach(nn.LSTM(2, 4, proj_size=2))


@pytest.mark.parametrize(("parts", "kinds"), [
    ([nn.Linear(4, 4), nn.Tanh()], ""), ([nn.LayerNorm(4)], "LayerNorm"), ([nn.BatchNorm1d(4), nn.GroupNorm(2, 4)],
    "BatchNorm1d, GroupNorm"), ([torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))], ""),
])  # fmt: skip
def test_the_report_warns_of_models_that_normalize(parts, kinds):
    sal = SAL(nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), *parts, nn.Linear(4, 1)))
    note = f"this model normalizes its signals ({kinds})"
    for shown in repr(sal), repr(sal.report()), sal._repr_html_():
        assert (note in shown) == bool(kinds) and ("Note" in shown) == bool(kinds)
