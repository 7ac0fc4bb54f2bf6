"""The monitor's table against formulas, and its promise to leave the model alone."""

import math

import pytest
import torch
from torch import nn

from salnb import SAL, DeepNet, SensitivityMonitor, TanhRNN, neuron_sensitivity
from tests.problems import SEED, HandLoop


def network():
    torch.manual_seed(SEED)
    parts = nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 1)
    return nn.Sequential(*parts).double()


def test_rows_are_the_formulas():
    net, x = network(), torch.randn(50, 3).double()
    with torch.no_grad():
        net[2].bias[0] = -100.0  # a dead unit
        net[4].weight.mul_(300.0)  # saturated ones
    with SensitivityMonitor(net) as monitor:
        net(x)
    rows = {row["layer"]: row for row in monitor.summary()}
    pre = net[2](net[1](net[0](x)))
    sensitivity = neuron_sensitivity(net[2].weight, pre, "relu")
    assert rows["2"]["neurons"] == 5 and rows["2"]["passes"] == 1
    assert rows["2"]["mean"] == pytest.approx(sensitivity.mean().item())
    assert rows["2"]["rms"] == pytest.approx(sensitivity.square().mean().sqrt().item())
    assert rows["2"]["log_sensitivity"] == pytest.approx(math.log(rows["2"]["rms"]))
    assert rows["2"]["below_half"] == pytest.approx((sensitivity.mean(0) < 0.5).float().mean().item())
    assert rows["2"]["dead"] == pytest.approx((pre <= 0).all(0).float().mean().item()) and rows["2"]["dead"] >= 0.2
    slope = torch.sigmoid(u := net[4](torch.relu(pre))) * (1 - torch.sigmoid(u))
    assert rows["4"]["saturated"] == pytest.approx(((slope.mean(0) < 0.0125) & (slope.mean(0) > 0)).float().mean().item())


def test_history_has_a_row_per_pass_and_layer_and_summary_their_means():
    rnn = TanhRNN(1, (5, 6), 1, gain=0.7, replicas=(2,))
    with SensitivityMonitor(rnn) as monitor:
        for size in (1.0, 3.0):
            rnn(size * torch.ones(4, 2, 1))
    assert [(row["pass"], row["layer"]) for row in monitor.history] == [
        (0, "recurrent.0"), (0, "recurrent.1"), (1, "recurrent.0"), (1, "recurrent.1")]  # fmt: skip
    means = [row["mean"] for row in monitor.history if row["layer"] == "recurrent.0"]
    assert monitor.summary()[0]["mean"] == pytest.approx(sum(means) / 2) and means[0] != means[1]


@pytest.mark.parametrize("training", [True, False])
def test_mode_weights_gradients_and_hooks_are_untouched_also_after_an_exception(training):
    net = network().train(training)
    net[3].train(not training)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    with pytest.raises(ZeroDivisionError), SensitivityMonitor(net) as monitor:
        net(torch.ones(2, 3).double())
        raise ZeroDivisionError
    assert len(monitor.history) == 2 and [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in net.modules())
    net(torch.ones(2, 3).double())
    assert len(monitor.history) == 2


def test_outputs_and_gradients_are_those_without_it():
    net, x = network(), torch.randn(7, 3).double()
    plain = net(x)
    with SensitivityMonitor(net):
        seen = net(x)
    assert torch.equal(plain, seen) and seen.requires_grad


def test_it_goes_beside_sal():
    net = DeepNet(2, 8, 1, depth=4, gain=0.5)
    sal = SAL(net)
    with SensitivityMonitor(net) as monitor:
        net(torch.ones(3, 2))
    torch.testing.assert_close(sal.log_sensitivity(), torch.tensor([row["log_sensitivity"] for row in monitor.history]))
    sal.step()


def test_tables_show_themselves():
    net = network()
    with SensitivityMonitor(net, layers=["2"]) as monitor:
        assert "no pass" in repr(monitor.history) and "no pass" in monitor.history._repr_html_()
        net(torch.ones(2, 3).double())
    text, page = repr(monitor.summary()), monitor.summary()._repr_html_()
    assert text.splitlines()[0].split()[:3] == ["layer", "neurons", "passes"] and page.count("<tr>") == 2
    assert all(isinstance(row, dict) for row in monitor.summary())  # what pandas.DataFrame takes


def test_an_empty_table_says_why():
    model = HandLoop()  # no Sequential, of which one could know without a pass
    model.function = nn.Identity()
    with SensitivityMonitor(model) as monitor:
        assert "no pass seen" in repr(monitor.summary())
        model(torch.ones(2, 5))
    assert monitor.summary() == monitor.history == []
    for table in (monitor.summary(), monitor.history):
        assert "no layer of this model could be measured" in repr(table) and "hidden" in repr(table)


def test_bad_use_is_named():
    with pytest.raises(ValueError, match="found no layer"):
        SensitivityMonitor(nn.Tanh())
    with pytest.raises(ValueError, match="the model has no layer named '9'"):
        SensitivityMonitor(network(), layers=["9"])
    monitor = SensitivityMonitor(network())
    with monitor, pytest.raises(RuntimeError, match="watching already"), monitor:
        pass
