"""Training many replicas side by side: each as if it were alone, against modules of PyTorch and plain calculations."""

import pytest
import torch
from torch import nn

from salnb import SAL, DeepNet, TanhRNN
from salnb.experiments import train_lag
from salnb.experiments.training.baselines import DeepBaseline, deep_net, recurrent_net
from salnb.experiments.training.optimization import (
    clip_by_replica_,
    learn,
    logits_of,
    losses,
    make_optimizer,
    rate_factor,
    set_gradients,
)
from salnb.experiments.training.recipe import LAG, Policy, adjust, as_policy, rate, sal_after_learning_step
from salnb.networks.gated import CellRNN
from tests.problems import seeded
from tests.tolerances import rounding, spread


def test_losses_are_those_of_each_replica_alone():
    logits, targets = torch.randn(3, 5, 4).double(), torch.randint(4, (3, 5))
    alone = [nn.functional.cross_entropy(logits[r], targets[r]) for r in range(3)]
    torch.testing.assert_close(losses(logits, targets), torch.stack(alone))


@pytest.mark.parametrize("cell", ["tanh", "relu", "gru", "lstm"])
def test_the_last_answer_is_that_of_the_whole_sequence(cell):
    net = recurrent_net(cell, 2, 6, 3, gain=1.0, init="gaussian", lag=9, replicas=4, generator=seeded(), bias=0.3).double()
    inputs = torch.randn(10, 4, 5, 2, generator=seeded(1)).double()
    expected = net.eval()(inputs)[0][-1]
    with torch.no_grad():
        torch.testing.assert_close(logits_of(net, inputs), expected)


def test_clipping_shortens_each_replica_by_its_own_length_and_silences_what_is_not_finite():
    parameters = [nn.Parameter(torch.zeros(4, 3, 2)), nn.Parameter(torch.zeros(4, 3))]
    for p in parameters:
        p.grad = torch.randn(p.shape)
    parameters[0].grad[1] *= 100
    parameters[1].grad[2, 0] = float("inf")
    before = [p.grad.clone() for p in parameters]
    lengths = clip_by_replica_(parameters, 1e3)
    assert torch.equal(parameters[0].grad[0], before[0][0]) and torch.equal(parameters[1].grad[3], before[1][3])
    assert (parameters[0].grad[2] == 0).all() and (parameters[1].grad[2] == 0).all()
    whole = torch.cat([b[1].flatten() for b in before])
    torch.testing.assert_close(lengths[1], whole.norm())
    clip_by_replica_(parameters, 2.0)
    torch.testing.assert_close(parameters[0].grad[1], before[0][1] * 2 / whole.norm())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_replicas_do_not_see_each_other(optimizer, recurrent):
    def trained(spoiled: bool):
        model = TanhRNN(1, 6, 2, gain=1.0, replicas=(2,), generator=seeded()) if recurrent else DeepNet(
            3, 6, 2, 4, gain=1.0, replicas=(2,), generator=seeded())
        if spoiled:
            with torch.no_grad():
                for p in model.parameters():
                    p[1] *= -3
        chosen, data = make_optimizer(optimizer, list(model.parameters()), 0.01), seeded(1)
        for _ in range(5):
            inputs = torch.randn((7, 2, 5, 1) if recurrent else (2, 5, 3), generator=data)
            targets = torch.randint(2, (2, 5), generator=data)
            learn(model, chosen, inputs, targets, clip=0.5)
        return [p.detach() for p in model.parameters()]

    for clean, beside in zip(trained(False), trained(True), strict=True):
        assert torch.equal(clean[0], beside[0]) and not torch.allclose(clean[1], beside[1])


def test_gradients_by_hand_and_by_autograd_agree():
    rnn = TanhRNN(1, 6, 2, gain=1.0, replicas=(2,), generator=seeded()).double()
    inputs, targets = torch.randn(9, 2, 5, 1).double(), torch.randint(2, (2, 5))
    value = set_gradients(rnn, inputs, targets)
    by_hand = [p.grad.clone() for p in rnn.parameters()]
    rnn.zero_grad()
    expected = losses(rnn(inputs)[0][-1], targets)
    expected.sum().backward()
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(by_hand, [p.grad for p in rnn.parameters()])


def test_sal_acts_only_where_a_replica_struggles():
    rnn = TanhRNN(1, 6, 2, gain=0.5, replicas=(3,), generator=seeded())
    sal, before = SAL(rnn, lr=0.1), rnn.recurrent[0].weight.detach().clone()
    rnn(torch.randn(4, 3, 5, 1))
    adjust(sal, torch.tensor([True, False, True]))
    moved = (rnn.recurrent[0].weight != before).flatten(1).any(1)
    assert moved.tolist() == [True, False, True]


@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize("when, expected", [("struggling", [0, 1, 1]), ("unhealthy", [0, 1, 0]), ("throughout", [1, 1, 1])])
def test_when_sal_acts_beside_learning(when, expected, recurrent):
    net = TanhRNN(1, 6, 2, gain=1.0, init="orthogonal", replicas=(3,), generator=seeded()) if recurrent else DeepNet(
        2, 6, 2, 9, gain=1.0, init="orthogonal", replicas=(3,), generator=seeded())
    with torch.no_grad():
        for layer in net.recurrent if recurrent else net.hidden[1:]:
            layer.weight[:2] *= 0.5  # of nine steps back little is left in these
    inputs, sal = torch.zeros(9, 3, 5, 1) if recurrent else torch.zeros(3, 5, 2), SAL(net)
    before = [p.detach().clone() for p in net.parameters()]
    net(inputs)
    acting = sal_after_learning_step(net, sal, Policy(when=when), inputs, running=torch.tensor([0.2, 0.6, 0.6]), guessing=1.0,
                                     generator=seeded())  # fmt: skip
    assert acting.int().tolist() == expected and net.training
    moved = torch.stack([(p != q).flatten(1).any(1) for p, q in zip(net.parameters(), before, strict=True)]).any(0)
    assert not (moved & ~acting).any() and moved[1]


@pytest.mark.parametrize("cell, module", [("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_gated_cells_equal_pytorch_modules(cell, module):
    ours, n, m = CellRNN(cell, 2, 5, 3, scale=20, replicas=2, generator=seeded()).double(), 5, 2
    # Their order of gates: r z n, and i f g o. Ours: what keeps first.
    order = {"gru": [1, 0, 2], "lstm": [1, 0, 3, 2]}[cell]
    inputs = torch.randn(6, 2, 4, m, dtype=torch.float64)
    outputs, states = ours(inputs)
    for r in range(2):
        theirs = module(m, n).double()
        with torch.no_grad():
            for name, source in (("weight_ih_l0", ours.input.weight), ("weight_hh_l0", ours.recurrent.weight),
                                 ("bias_hh_l0", ours.recurrent.bias)):  # fmt: skip
                getattr(theirs, name).copy_(torch.cat([source[r].split(n)[i] for i in order]))
            theirs.bias_ih_l0.zero_()
        hidden, last = theirs(inputs[:, r])
        torch.testing.assert_close(hidden, states[:, r, :, :n])
        if cell == "lstm":
            torch.testing.assert_close(last[1][0], states[-1, r, :, n:])
    torch.testing.assert_close(outputs, ours.readout(states[..., :n]))


def test_identity_relu_keeps_a_state_for_ever():
    rnn = CellRNN("relu", 1, 5, 2, scale=10, replicas=3)
    state = torch.rand(3, 4, 5)
    assert torch.equal(rnn.step(state, torch.zeros(3, 4, 5)), state)


@pytest.mark.parametrize("architecture", ["layer_norm", "residual"])
def test_layer_norm_and_shortcuts_equal_a_plain_loop(architecture):
    net = DeepBaseline(3, 6, 2, 4, gain=1.0, replicas=(2,), generator=seeded(), architecture=architecture).double()
    inputs = torch.randn(2, 5, 3, dtype=torch.float64)
    for r in range(2):
        state = inputs[r]
        for i, layer in enumerate(net.hidden):
            pre = state @ layer.weight[r].T + layer.bias[r]
            if architecture == "layer_norm":
                state = torch.tanh((pre - pre.mean(-1, keepdim=True)) / (pre.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt())
            else:
                state = torch.tanh(pre) if i == 0 else state + torch.tanh(pre) / 2
        torch.testing.assert_close(net(inputs)[r], state @ net.readout.weight[r].T + net.readout.bias[r])


def test_only_the_inner_gain_is_varied():
    small, large = (deep_net(3, 40, 2, 4, gain=g, init="gaussian", architecture="plain", replicas=2, generator=seeded())
                    for g in (0.1, 1.0))  # fmt: skip
    assert torch.equal(small.hidden[0].weight, large.hidden[0].weight)
    assert torch.equal(small.readout.weight, large.readout.weight)
    torch.testing.assert_close(10 * small.hidden[2].weight, large.hidden[2].weight)
    rnn = recurrent_net("tanh", 1, 40, 2, gain=0.1, init="orthogonal", lag=5, replicas=2, generator=seeded())
    found, digits = rnn.recurrent[0].weight[0] @ rnn.recurrent[0].weight[0].T, rounding(torch.float32, 40, 0.01)
    torch.testing.assert_close(found, 0.01 * torch.eye(40), rtol=0, atol=digits)


def test_glorot_start_is_uniform_with_his_variance():
    net = deep_net(3, 200, 2, 2, gain=1.0, init="xavier", architecture="plain", replicas=1, generator=seeded())
    weight = net.hidden[1].weight
    assert weight.abs().max() <= (3 / 200) ** 0.5 * (1 + rounding(torch.float32, 1))
    assert abs(weight.var() * 200 - 1) < spread(200 * 200, kurtosis=1.8)


def test_rate_is_constant_and_then_falls_to_zero():
    assert [rate_factor(t, 100) for t in (0, 50, 75, 100)] == [1, 1, 0.5, 0]
    assert rate(None, "adam", {"adam": 3.0}) == 3.0 and rate(0.5, "sgd", {"sgd": 3.0}) == 0.5


def test_the_rate_of_sal_falls_with_it_where_that_is_asked(tmp_path):
    length = {}
    for falling, last in ((False, 1e-2), (True, 2e-3), (None, 0.0)):  # the tenth of ten steps has a fifth of the rate
        sal = dict(when="throughout", passes=0, every=1, learning_lr=1e-2, learning_target=1.0, falling=bool(falling))
        if falling is None:
            sal["learning_lr"] = 0.0
        path = tmp_path / f"{falling}"
        train_lag(lag=6, n_hidden=10, replicas=2, lr=1e-12, sal=sal, batch=4, steps=10, path=path, generator=seeded())
        stored = torch.load(path, weights_only=False)
        assert [group["lr"] for group in stored["sal"]["param_groups"]] == [pytest.approx(last)]
        length[falling] = stored["model"]["recurrent.0.weight"].norm(dim=-1).mean()
    assert length[None] < length[True] < length[False]  # learning moves next to nothing; SAL lengthens weights, here by less


WRONG = [(3, "mapping"), ({"speed": 1}, "speed"), ({"lr": -1}, "lr"), ({"when": "never"}, "when"), ({"passes": -1}, "passes"),
         ({"rest": 2}, "rest"), ({"rule": "x"}, "rule"), ({"batch": 0}, "batch"), ({"loss_share": -1}, "loss_share"),
         ({"falling": 1}, "falling")]  # fmt: skip


@pytest.mark.parametrize("settings, word", WRONG)
def test_settings_out_of_range_are_refused_in_words(settings, word):
    with pytest.raises(ValueError, match=word):
        as_policy(settings, LAG)


def test_a_mapping_changes_only_what_it_names():
    assert as_policy(True, LAG) == LAG and as_policy(False, LAG) is None
    changed = as_policy({"lr": 0.5}, LAG)
    assert changed.lr == 0.5 and changed.passes == LAG.passes
    for bad in (0.0, -1.0):
        with pytest.raises(ValueError, match="lr"):
            rate(bad, "adam", {"adam": 1.0})
    with pytest.raises(ValueError, match="optimizer"):
        rate(None, "rmsprop", {"adam": 1.0})
