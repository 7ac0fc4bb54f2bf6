"""Replicas are independent networks; a missing connection stays missing."""

import math

import pytest
import torch

from salnb import SAL, DeepNet, TanhRNN, sal_pretrain
from tests.problems import random, seeded
from tests.tolerances import spread

BUILD = {
    "deep": lambda replicas, seed: DeepNet(3, 8, 2, 3, gain=0.6, replicas=replicas, generator=seeded(seed)),
    "flat": lambda replicas, seed: TanhRNN(3, 8, 2, gain=0.6, replicas=replicas, generator=seeded(seed)),
    "ring": lambda replicas, seed: TanhRNN(3, (8, 6), 2, gain=0.6, replicas=replicas, generator=seeded(seed)),
    "sparse": lambda replicas, seed: TanhRNN(3, 8, 2, gain=0.6, replicas=replicas, connectivity=0.4, generator=seeded(seed)),
}


def train(net, xs, *, rule="one_sided", gate=False, decay=0.0) -> SAL:
    sal = SAL(net, lr=0.02, decay=0.5, rule=rule)
    optimizer = torch.optim.Adam(net.parameters(), 0.01, weight_decay=decay)
    for x in xs:
        optimizer.zero_grad()
        output = net(x)
        (output[0] if isinstance(output, tuple) else output).square().sum().backward()
        if gate:
            sal.gate_gradients_()
        optimizer.step()
        sal.step()
    return sal


@pytest.mark.parametrize("rule", ["one_sided", "proportional"])
@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("kind", BUILD)
def test_a_replica_computed_alone_equals_the_same_replica_inside_a_stack(kind, gate, rule, device):
    """Weights, data, SAL, gating and Adam: nothing couples the replicas."""
    stack, single = BUILD[kind]((2, 2), 0).to(device).double(), BUILD[kind]((), 1).to(device).double()
    single.load_state_dict({name: value[1, 0] for name, value in stack.state_dict().items()})
    shape = (4, 3) if kind == "deep" else (6, 4, 3)
    xs = [random(*shape[:-2], 2, 2, *shape[-2:], seed=i, device=device) for i in range(5)]
    sal = train(stack, xs, rule=rule, gate=gate)
    alone = train(single, [x[..., 1, 0, :, :] for x in xs], rule=rule, gate=gate)
    for name, value in single.state_dict().items():
        torch.testing.assert_close(stack.state_dict()[name][1, 0], value)
    for name, average in alone.sensitivity.items():
        torch.testing.assert_close(sal.sensitivity[name][1, 0], average)
    torch.testing.assert_close(sal.log_sensitivity()[:, 1, 0], alone.log_sensitivity())


def test_time_in_front_of_the_replicas_is_more_samples_for_each_of_them(device):
    one, other = (BUILD["deep"]((2, 3), 0).to(device) for _ in range(2))
    x = random(5, 2, 3, 4, 3, device=device).float()
    sals = [SAL(net, lr=0.1) for net in (one, other)]
    one(x)
    other(x.movedim(0, 2).flatten(2, 3))
    for sal in sals:
        sal.step()
    for name, average in sals[0].sensitivity.items():
        torch.testing.assert_close(average, sals[1].sensitivity[name])
    torch.testing.assert_close(list(one.parameters()), list(other.parameters()))


@pytest.mark.parametrize("replicas", [(), (3,)])
def test_missing_connections_stay_missing_under_sal_and_under_adam(replicas, device):
    net = BUILD["sparse"](replicas, 0).to(device)
    layer, before = net.recurrent[0], net.recurrent[0].weight.detach().clone()
    train(net, [random(6, *replicas, 4, 3, seed=i, device=device).float() for i in range(5)], decay=0.1)
    assert layer.weight[~layer.mask].abs().max() == 0
    assert bool((layer.weight != before)[layer.mask].all())


def test_numbers_where_a_connection_is_missing_count_for_nothing(device):
    """Somebody loads dense weights: forward ignores them, so sensitivity must."""
    x, found = random(6, 4, 3, device=device).float(), []
    for filler in (0.0, 9.0):
        net = BUILD["sparse"]((), 0).to(device)
        net.recurrent[0].weight.data.masked_fill_(~net.recurrent[0].mask, filler)
        sal = SAL(net)
        net(x)
        sal.step()
        found.append((sal.sensitivity["recurrent.0"], net.recurrent[0].connected_weight().detach()))
    torch.testing.assert_close(*found)


def test_pretraining_sparse_replicas_reaches_target_in_every_one(device):
    net = TanhRNN(2, 40, 1, gain=0.4, replicas=(4,), connectivity=0.3, generator=seeded(), device=device)
    sal = SAL(net, lr=0.02, decay=0.5)
    history = sal_pretrain(net, 0.3 * random(20, 4, 3, 2, device=device).float(), sal, steps=200)
    assert history["log_sensitivity"].shape == (200, 1, 4)
    # Rows of 0.4 at the start, give or take 480 draws; slopes are below 1.
    assert bool((history["log_sensitivity"][0] < math.log(0.4) + spread(40 * 12) / 2).all())
    # At the end above target by no more than 2 · lr / (1 − decay), the steps for which the average is late; few are below.
    assert bool((history["log_sensitivity"][-1].abs() < 2 * 0.02 / 0.5).all())
    assert bool((history["below_target"][-1] < 0.5).all())
