"""SAL by rows of the Jacobian, against whole Jacobians by automatic differentiation and against SAL itself."""

import math

import pytest
import torch

from salnb import SAL, DeepNet
from salnb.experiments import train_deep, train_lag
from salnb.experiments.training.baselines import deep_net
from salnb.experiments.training.diagnostics import exponent_of, layers_of, log_sensitivity_of
from salnb.experiments.training.recipe import adjust
from salnb.networks.gated import CellRNN
from salnb.sal.jacobian_rows import RowSAL, row_squares
from tests.problems import seeded
from tests.tolerances import sampling, scatter, spread

KINDS = ["layer_norm", "residual", "relu", "gru", "plain_gru", "lstm"]


def built(kind: str, replicas: int = 2) -> tuple[torch.nn.Module, torch.Tensor]:
    """A small network, away from its start, and inputs for it."""
    if kind in ("layer_norm", "residual"):
        net = deep_net(3, 6, 2, 4, gain=1.1, init="gaussian", architecture=kind, replicas=replicas, generator=seeded(), bias=0.3)
        inputs = torch.randn(replicas, 5, 3, generator=seeded(1))
    else:
        net = CellRNN(kind, 1, 6, 2, scale=9, replicas=replicas, generator=seeded())
        inputs = torch.randn(7, replicas, 5, 1, generator=seeded(1))
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=seeded(2)))
    return net.double(), inputs.double()


def plain_maps(net: DeepNet):
    """What a network of plain layers would say of itself."""
    def maps(inputs, generator):
        state = inputs
        for i, layer in enumerate(net.hidden):
            if i:
                yield lambda s, layer=layer: torch.tanh(layer(s)), state, [layer.weight, layer.bias]
            with torch.no_grad():
                state = torch.tanh(layer(state))
    return maps


@pytest.mark.parametrize("kind", KINDS)
def test_row_lengths_are_those_of_the_jacobian(kind):
    net, inputs = built(kind)
    for function, states, parameters in net.maps(inputs, seeded()):
        replicas, samples, m = states.shape
        unit = math.sqrt(m) * torch.eye(m, dtype=torch.float64).view(m, 1, 1, m).expand(m, replicas, samples, m)
        found = row_squares(function, states, unit)
        jacobian = torch.autograd.functional.jacobian(function, states, create_graph=True)  # (R, B, N, R, B, M)
        own = torch.stack([torch.stack([jacobian[r, b, :, r, b] for b in range(samples)]) for r in range(replicas)])
        expected = own.square().sum(-1).mean(1)
        torch.testing.assert_close(found, expected)
        weights = torch.randn(found.shape, generator=seeded(4), dtype=torch.float64)
        for a, b in zip(*(torch.autograd.grad((weights * s).sum(), parameters) for s in (found, expected)), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", ["gru", "relu", "lstm"])
def test_the_states_looked_at_are_those_of_the_run(kind):
    net, inputs = built(kind)
    (function, states, _), = net.maps(inputs, seeded())
    before = torch.cat([net.first_state(inputs).unsqueeze(0), net(inputs)[1]])
    some = torch.randperm(6, generator=seeded()) + 1
    torch.testing.assert_close(states, torch.cat(list(before[some]), -2))
    torch.testing.assert_close(function(states), torch.cat(list(before[some + 1]), -2))


@pytest.mark.parametrize("rule", ["one_sided", "proportional"])
def test_on_plain_layers_a_step_follows_the_root_mean_square_of_sals_sensitivity(rule, monkeypatch):
    inputs, net = torch.randn(2, 4, 3, generator=seeded(1)).double(), DeepNet(
        3, 5, 2, depth=3, gain=0.9, replicas=(2,), generator=seeded()).double()
    sal, expected = SAL(net, rule=rule, average="rms"), []
    states = [h.detach() for h in layers_of(net, inputs)]
    for i, layer in enumerate(net.hidden[1:]):
        slope = 1 - torch.tanh(layer(states[i])).square()
        sensitivity = slope.square().mean(-2).sqrt() * layer.weight.norm(dim=-1)
        pull = (sensitivity < 0.9).double() if rule == "one_sided" else 0.9 - sensitivity
        expected += [0.5 * g for g in torch.autograd.grad((pull.detach() * sensitivity).sum(), [layer.weight, layer.bias])]
    net(inputs)
    seen, before = sal.log_sensitivity(), [p.detach().clone() for layer in net.hidden[1:] for p in layer.parameters()]
    net.maps = plain_maps(net)
    random = RowSAL(net, lr=0.0, rule=rule, target=0.9, probes=4000, generator=seeded(3))
    random.observe(inputs)
    random.step()
    # A log of the root of a mean of squares of at least 4000 independent normal numbers.
    torch.testing.assert_close(random.log_sensitivity(), seen, rtol=0, atol=spread(4000) / 2)
    # Of random probes a step would only be known to a few percent; with these, the unit vectors times √M, it is exact.
    unit = math.sqrt(5) * torch.eye(5, dtype=torch.float64)
    monkeypatch.setattr(torch, "randn", lambda shape, **_: unit.view(5, 1, 1, 5).expand(shape))
    rows = RowSAL(net, lr=0.5, rule=rule, target=0.9, probes=5)
    rows.observe(inputs)
    rows.step()
    torch.testing.assert_close(rows.log_sensitivity(), seen)
    moved = [p for layer in net.hidden[1:] for p in layer.parameters()]
    for new, old, change in zip(moved, before, expected, strict=True):
        torch.testing.assert_close(new.detach() - old, change)


@pytest.mark.parametrize("kind", ["layer_norm", "residual", "gru", "plain_gru"])
def test_steps_bring_sensitivities_to_their_target(kind):
    net, inputs = built(kind, replicas=32)

    def apart() -> torch.Tensor:
        """How far the units of each network are from the target, by so many probes that their noise hardly counts."""
        look = RowSAL(net, lr=0.0, probes=64, generator=seeded(7))
        look.observe(inputs)
        look.step()
        return (look.average - 1.2).abs().mean((0, 2))

    before, sal = apart(), RowSAL(net, lr=0.2, target=1.2, decay=0.5, probes=4)
    for _ in range(150):
        sal.observe(inputs)
        sal.step()
    gained = before - apart()
    # A quarter of the way or more, and by more than networks differ: a rate a hundred times smaller gains next to nothing.
    beyond = gained - before / 4
    assert beyond.mean() > scatter(beyond, alarm=0.01)


def test_a_layer_with_layer_norm_expands_at_any_scale():
    """sqrt(E[(γ f'(γz))²] / E[f(γz)²]) for a standard normal z, the growth of a disturbance in a wide layer, exceeds 1."""
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    weights = torch.exp(-z.square() / 2)
    for scale in (0.3, 1.0):
        state = torch.tanh(scale * z)
        ratio = (weights * (scale * (1 - state.square())).square()).sum() / (weights * state.square()).sum()
        net = deep_net(3, 400, 2, 30, gain=1.0, init="gaussian", architecture="layer_norm", replicas=4, generator=seeded())
        with torch.no_grad():
            for gamma in net.scales:
                gamma.fill_(scale)
        inputs = torch.randn(4, 8, 3, dtype=torch.float64, generator=seeded(1))
        with torch.no_grad():
            grown = exponent_of(net.double(), inputs, seeded(2)).mean()
        # A layer's growth is half the log of a quotient of two mean squares over 400 neurons, each known to √(2/400); there are
        # four networks of 29 such layers, and the samples of one are not independent.
        assert ratio > 1 and abs(grown - 0.5 * ratio.log()) < sampling(math.sqrt(2 * 2 / 400) / 2, 4 * 29)


def test_log_sensitivity_of_a_gru_that_only_keeps_is_that_of_its_gate():
    net, inputs = built("gru")
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
        net.recurrent.bias[:, :6] = 1.5
    keep = torch.sigmoid(torch.tensor(1.5, dtype=torch.float64))
    (_, states, _), = net.maps(inputs, seeded())
    # Half the log of a mean of squares of normal numbers, for each network by four random tangents to every one of its states.
    found = log_sensitivity_of(net, inputs)
    torch.testing.assert_close(found, keep.log().expand_as(found), rtol=0, atol=spread(4 * states[0].numel()) / 2)


def test_only_the_replicas_that_should_move_do():
    net, inputs = built("gru", replicas=3)
    before = net.recurrent.weight.detach().clone()
    sal = RowSAL(net, lr=0.1)
    sal.observe(inputs)
    adjust(sal, torch.tensor([True, False, True]))
    assert (net.recurrent.weight != before).flatten(1).any(1).tolist() == [True, False, True]


def test_a_stored_state_goes_on_as_if_nothing_had_been():
    def steps(sal, inputs, n):
        for _ in range(n):
            sal.observe(inputs)
            sal.step()

    (net, inputs), (other, _) = built("gru"), built("gru")
    sal, again = RowSAL(net, lr=0.1), RowSAL(other, lr=0.7)
    steps(sal, inputs, 2)
    other.load_state_dict(net.state_dict())
    again.load_state_dict(sal.state_dict())
    steps(sal, inputs, 2)
    steps(again, inputs, 2)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_every_network_with_sal(kind):
    sal = {"passes": 4, "when": "unhealthy", "every": 1, "decades": -1e-9}
    if kind in ("layer_norm", "residual"):
        run = train_deep("parity", depth=4, width=8, replicas=2, steps=4, architecture=kind, sal=sal, generator=seeded())
    else:
        run = train_lag(lag=8, n_hidden=8, cell=kind, replicas=2, steps=4, sal=sal, generator=seeded())
    assert run.log_sensitivity.isfinite().all() and run.passes == 4


def test_what_cannot_be_is_refused_in_words():
    with pytest.raises(ValueError, match="rms"):
        train_lag(lag=5, cell="gru", replicas=1, steps=1, sal={"average": "mean"})
    with pytest.raises(ValueError, match="probes"):
        RowSAL(built("gru")[0], lr=0.1, probes=0)
    with pytest.raises(RuntimeError, match="observe"):
        RowSAL(built("gru")[0], lr=0.1).step()
    with pytest.raises(RuntimeError, match="observed"):
        RowSAL(built("gru")[0], lr=0.1).share_below_target()
