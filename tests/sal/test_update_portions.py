"""How the work of a SAL step is cut: whatever the portions, the result is the same, and a layer at rest costs no product."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from salnb import SAL, DeepNet, TanhRNN
from salnb.sal import update
from tests.problems import SEED, random, seeded, sequential
from tests.tolerances import close

BUILD = {
    "deep": (lambda: DeepNet(3, 8, 2, 7, gain=0.8, generator=seeded()), (5, 3)),
    "deep replicas": (lambda: DeepNet(3, 8, 2, 4, gain=0.8, replicas=(3,), generator=seeded()), (5, 3)),
    "many shapes": (lambda: sequential(3, 6, 5, 6, 6, 5, 2), (4, 5, 3)),
    "sparse ring": (lambda: TanhRNN(3, (8, 6), 2, gain=0.8, replicas=(2,), connectivity=0.5, generator=seeded()), (9, 5, 3)),
    "nn.RNN": (lambda: nn.RNN(3, 8, 2), (9, 5, 3)),
}


class Products(TorchDispatchMode):
    """Counts the matrices that enter matrix products."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__.strip("_") in ("mm", "bmm", "addmm", "baddbmm"):
            self.count += args[1].shape[0] if args[1].ndim == 3 else 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("at_once", [1, 50, 10**9])
@pytest.mark.parametrize("kind", BUILD)
def test_portions_of_any_size_give_the_same_step(kind, at_once, monkeypatch):
    make, shape = BUILD[kind]
    results = []
    for size in (update.AT_ONCE["cpu"], at_once):
        monkeypatch.setitem(update.AT_ONCE, "cpu", size)
        torch.manual_seed(SEED)
        model = make().double()
        sal = SAL(model, lr=0.1, target=0.7, decay=0.5)
        for seed in range(3):
            model(random(*shape, seed=seed))
            sal.step()
        results.append([*model.parameters(), *sal.sensitivity.values(), sal.log_sensitivity()])
    # Three steps of up to seven layers of eight neurons, and sums over at most 45 samples in another order.
    torch.testing.assert_close(*results, **close(torch.float64, 3 * (7 * 8 + 45)))


def test_portions_hold_about_as_many_numbers_as_asked_for_and_every_sample_once():
    calls = [(random(n, 3, seed=n), random(n, 4, seed=n)) for n in (2, 2, 2, 40, 1)]
    found = [piece[0] for piece in update.pieces_of(calls, 20)]
    assert max(sum(u.numel() for _, u in piece) for piece in found) <= 20
    assert len(found[0]) == 2  # short calls go together
    for i in (0, 1):
        assert torch.equal(torch.cat([part[i] for piece in found for part in piece]), torch.cat([call[i] for call in calls]))


@pytest.mark.parametrize("kind", BUILD)
def test_at_rest_nothing_moves_by_a_bit_and_there_is_no_product(kind):
    make, shape = BUILD[kind]
    model = make()
    sal, before = SAL(model, lr=0.1, target=1e-9), [p.clone() for p in model.parameters()]
    model(random(*shape).float())
    with Products() as products:
        sal.step()
    assert products.count == 0
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_a_product_for_the_layers_that_move_and_for_no_other():
    net = DeepNet(3, 8, 2, 7, gain=0.8, generator=seeded())
    sal = SAL(net, lr=0.1, target=1e-9)
    for i in (1, 4):
        sal.param_groups[i]["target"] = 1e9
    before = [layer.weight.clone() for layer in net.hidden]
    net(random(5, 3).float())
    with Products() as products:
        sal.step()
    moved = [not torch.equal(layer.weight, weight) for layer, weight in zip(net.hidden, before, strict=True)]
    assert products.count == 2 and [i for i, changed in enumerate(moved) if changed] == [2, 5]


def test_neurons_above_target_stay_bit_for_bit_beside_neurons_that_move():
    net = DeepNet(3, 16, 2, 5, gain=0.9, generator=seeded())
    probe = SAL(net, lr=0.0)
    net(random(5, 3).float())
    probe.step()
    target = torch.stack(list(probe.sensitivity.values())).median().item()
    probe.detach()
    sal, before = SAL(net, lr=0.1, target=target), [layer.weight.clone() for layer in net.hidden[1:]]
    net(random(5, 3).float())
    sal.step()
    for layer, weight, average in zip(net.hidden[1:], before, sal.sensitivity.values(), strict=True):
        assert torch.equal((layer.weight != weight).any(-1), average < target)
