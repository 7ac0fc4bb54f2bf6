"""counting(mask): only the samples count where the mask is True, in every shape that a layer's output may have."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

from salnb import SAL, DeepNet, TanhRNN
from tests.problems import HandLoop, autograd_sensitivity, random, seeded, sequential, unrolled_rnn
from tests.tolerances import close

EXACT = close(torch.float64, 7 * (6 + 3) + 7 * 5, 4)  # seven steps of two products, and sums over up to 35 samples


def chosen(*shape: int, device="cpu") -> torch.Tensor:
    """About half of the samples, and at least one of each sort along the last dimension."""
    mask = torch.rand(shape, generator=seeded(5)) < 0.5
    mask[..., 0], mask[..., -1] = True, False
    return mask.to(device)


def step(sal: SAL, model: nn.Module, x: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    with sal.counting(mask):
        model(x)
    logs = sal.log_sensitivity()
    sal.step()
    return {"log": logs, **sal.sensitivity, **{name: parameter.detach() for name, parameter in model.named_parameters()}}


def test_samples_of_a_linear(device):
    model = sequential(3, 6, 6, 2, device=device, dtype=torch.float64)
    x, mask = random(5, 3, device=device), chosen(5, device=device)
    twin = copy.deepcopy(model)
    found = step(SAL(model, lr=0.1, target=9.0), model, x, mask)
    torch.testing.assert_close(found, step(SAL(twin, lr=0.1, target=9.0), twin, x[mask], torch.ones_like(mask[mask])), **EXACT)
    plain = sequential(3, 6, 6, 2, device=device, dtype=torch.float64)
    sal = SAL(plain, lr=0.1, target=9.0)
    plain(x[mask])  # and without any mask
    sal.step()
    wanted = {name: parameter.detach() for name, parameter in plain.named_parameters()}
    torch.testing.assert_close({name: found[name] for name in wanted}, wanted, **EXACT)


def test_tokens_of_a_batch_of_sequences(device):
    model = sequential(3, 6, 6, 2, device=device, dtype=torch.float64)
    x, mask = random(4, 7, 3, device=device), chosen(4, 7, device=device)
    twin = copy.deepcopy(model)
    found = step(SAL(model, lr=0.1, target=9.0), model, x, mask)
    torch.testing.assert_close(found, step(SAL(twin, lr=0.1, target=9.0), twin, x[mask], mask[mask]), **EXACT)


@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_a_hand_written_loop_takes_one_mask_for_all_steps_or_one_for_each(shape, device):
    model, x, mask = HandLoop(5, device=device).double(), random(4, 5, device=device), chosen(*shape, device=device)
    before, pre, h = [], [], x
    with torch.no_grad():
        for t in range(3):
            keep = mask if mask.ndim == 1 else mask[t]
            before.append(h[keep])
            pre.append(model.hidden(h)[keep])
            h = torch.tanh(model.hidden(h))
    s, by_weight, by_bias = autograd_sensitivity(model.hidden.weight, torch.cat(before), torch.cat(pre), torch.tanh)
    weight, bias = model.hidden.weight + 0.1 * by_weight, model.hidden.bias + 0.1 * by_bias
    found = step(SAL(model, lr=0.1, target=9.0, layers=["hidden"]), model, x, mask)
    torch.testing.assert_close(found["hidden"], s.mean(0), **EXACT)
    torch.testing.assert_close(found["log"][0], 0.5 * s.square().mean().log(), **EXACT)
    torch.testing.assert_close(found["hidden.weight"], weight.detach(), **EXACT)
    torch.testing.assert_close(found["hidden.bias"], bias.detach(), **EXACT)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("kind", ["time first", "batch first", "unbatched"])
def test_time_steps_of_nn_rnn_in_the_shape_of_its_output(kind, nonlinearity, device):
    batch = 1 if kind == "unbatched" else 7  # as many as steps, so that a transposed mask is no error but another number
    rnn = nn.RNN(3, 6, 2, nonlinearity=nonlinearity, batch_first=kind == "batch first").to(device).double()
    x, mask = random(7, batch, 3, device=device), chosen(batch, 7, device=device).mT
    expected = {}
    for i, (before, pre) in enumerate(unrolled_rnn(rnn, x)):
        weight, bias = getattr(rnn, f"weight_hh_l{i}"), getattr(rnn, f"bias_hh_l{i}")
        s, by_weight, by_bias = autograd_sensitivity(weight, before[mask], pre[mask], getattr(torch, nonlinearity))
        expected |= {f"s{i}": s.mean(0), f"w{i}": weight + 0.1 * by_weight, f"b{i}": bias + 0.1 * by_bias}
    shape = {"time first": lambda t: t, "batch first": lambda t: t.transpose(0, 1), "unbatched": lambda t: t[:, 0]}[kind]
    sal = SAL(rnn, lr=0.1, target=9.0)
    with sal.counting(shape(mask)):
        rnn(shape(x))
    sal.step()
    for i in range(2):
        torch.testing.assert_close(sal.sensitivity[f"weight_hh_l{i}"], expected[f"s{i}"], **EXACT)
        torch.testing.assert_close(getattr(rnn, f"weight_hh_l{i}").detach(), expected[f"w{i}"].detach(), **EXACT)
        torch.testing.assert_close(getattr(rnn, f"bias_hh_l{i}").detach(), expected[f"b{i}"].detach(), **EXACT)


def test_padded_sequences_with_a_mask_equal_packed_ones(device):
    rnn = nn.RNN(3, 6, 2, batch_first=True).to(device).double()
    twin, lengths = copy.deepcopy(rnn), torch.tensor([4, 7, 1, 7])
    x = random(4, 7, 3, device=device)
    found = step(SAL(rnn, lr=0.1, target=9.0), rnn, x, (torch.arange(7) < lengths.unsqueeze(1)).to(device))
    sal = SAL(twin, lr=0.1, target=9.0)
    twin(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    logs = sal.log_sensitivity()
    sal.step()
    wanted = {"log": logs, **sal.sensitivity, **{name: parameter.detach() for name, parameter in twin.named_parameters()}}
    torch.testing.assert_close(found, wanted, **EXACT)


REPLICAS = {
    "deep": (lambda r: DeepNet(3, 6, 2, 3, gain=0.9, replicas=r, generator=seeded(), dtype=torch.float64), (5,)),
    "flat": (lambda r: TanhRNN(3, 6, 2, gain=0.9, replicas=r, generator=seeded(), dtype=torch.float64), (7, 5)),
    "sparse": (lambda r: TanhRNN(3, 6, 2, gain=0.9, replicas=r, connectivity=0.5, generator=seeded()).double(), (7, 5)),
    "ring": (lambda r: TanhRNN(3, (6, 4), 2, gain=0.9, replicas=r, generator=seeded(), dtype=torch.float64), (7, 5)),
}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("replicas", [(), (2,), (2, 3)])
@pytest.mark.parametrize("kind", REPLICAS)
def test_replicas_have_masks_of_their_own_or_share_one(kind, replicas, shared, device):
    make, (*time, batch) = REPLICAS[kind]
    model = make(replicas).to(device)
    x = random(*time, *replicas, batch, 3, device=device)
    mask = chosen(*time, batch, device=device) if shared else chosen(*time, *replicas, batch, device=device)
    sal, given = SAL(model, lr=0.1, target=9.0), {name: value.clone() for name, value in model.state_dict().items()}
    with sal.counting(mask):
        model(x)
    logs = sal.log_sensitivity()
    sal.step()
    full = mask.view(*time, *[1] * len(replicas), batch).expand(*time, *replicas, batch) if shared else mask
    for one in itertools.product(*map(range, replicas)):
        alone = make(()).to(device)
        alone.load_state_dict({name: value[one] for name, value in given.items()})
        other, place = SAL(alone, lr=0.1, target=9.0), (*[slice(None)] * len(time), *one)
        with other.counting(full[place]):
            alone(x[place])
        torch.testing.assert_close(logs[(slice(None), *one)], other.log_sensitivity(), **EXACT)
        other.step()
        torch.testing.assert_close({n: s[one] for n, s in sal.sensitivity.items()}, dict(other.sensitivity), **EXACT)
        torch.testing.assert_close({n: p.detach()[one] for n, p in model.named_parameters()},
                                   {n: p.detach() for n, p in alone.named_parameters()}, **EXACT)  # fmt: skip


@pytest.mark.parametrize("replicas", [(2,), (2, 3)])
def test_time_in_front_of_the_replicas_has_its_place_in_the_mask(replicas, device):
    one, other = (REPLICAS["deep"][0](replicas).to(device) for _ in range(2))
    x, mask = random(4, *replicas, 5, 3, device=device), chosen(4, *replicas, 5, device=device)
    found = step(SAL(one, lr=0.1, target=9.0), one, x, mask)
    last = len(replicas)  # the place of the time steps among the samples of each replica
    more, kept = x.movedim(0, last).flatten(last, last + 1), mask.movedim(0, last).flatten(last, last + 1)
    torch.testing.assert_close(found, step(SAL(other, lr=0.1, target=9.0), other, more, kept), **EXACT)


@pytest.mark.parametrize("kind", ["flat", "ring"])
def test_a_recurrent_network_counts_the_steps_where_the_mask_is_true(kind, device):
    """Against the formula, which the test of replicas takes for granted."""
    net, x, mask = REPLICAS[kind][0](()).to(device), random(7, 5, 3, device=device), chosen(7, 5, device=device)
    calls = {name: [] for name in net.sal_layers()}
    handles = [net.get_submodule(n).register_forward_hook(lambda m, a, o, n=n: calls[n].append((a[0], o))) for n in calls]
    net(x)
    for handle in handles:
        handle.remove()
    sal = SAL(net, lr=0.0)
    with sal.counting(mask):
        net(x)
    sal.step()
    for name, seen in calls.items():
        before, pre = (torch.stack([call[i].detach() for call in seen])[mask] for i in (0, 1))
        s = autograd_sensitivity(net.get_submodule(name).weight, before, pre, torch.tanh)[0]
        torch.testing.assert_close(sal.sensitivity[name], s.mean(0), **EXACT)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_what_does_not_count_may_hold_anything(activation, value, device):
    found = []
    for filler in (0.0, value):
        model = sequential(3, 6, 6, 2, activation=activation, device=device, dtype=torch.float64)
        x, mask = random(5, 3, device=device), chosen(5, device=device)
        x[~mask] = filler
        found.append(step(sal := SAL(model, lr=0.1, target=9.0), model, x, mask))
        assert sal.skipped_passes == 0
    torch.testing.assert_close(*found, **EXACT)


def test_passes_with_different_masks_and_without_are_pooled(device):
    model = sequential(3, 6, 6, 2, device=device, dtype=torch.float64)
    twin, x, mask = copy.deepcopy(model), random(5, 3, device=device), chosen(5, device=device)
    sal, other = SAL(model, lr=0.1, target=9.0), SAL(twin, lr=0.1, target=9.0)
    with sal.counting(mask):
        model(x)
        with sal.counting(~mask):
            model(3 * x)
        model(2 * x)
    model(-x)
    twin(torch.cat([x[mask], 3 * x[~mask], 2 * x[mask], -x]))
    sal.step(), other.step()
    torch.testing.assert_close(list(model.parameters()), list(twin.parameters()), **EXACT)
    torch.testing.assert_close(dict(sal.sensitivity), dict(other.sensitivity), **EXACT)


def rnn_and_packed() -> tuple[nn.Module, object]:
    return nn.RNN(3, 6), pack_sequence([random(4, 3).float(), random(2, 3).float()])


def plain() -> tuple[nn.Module, torch.Tensor]:
    return sequential(3, 6, 6, 2), random(5, 3).float()


def batch_first() -> tuple[nn.Module, torch.Tensor]:
    return nn.RNN(3, 6, batch_first=True), random(5, 7, 3).float()


def replicas() -> tuple[nn.Module, torch.Tensor]:
    return DeepNet(3, 6, 2, 3, gain=1.0, replicas=(2,)), random(2, 5, 3).float()


def as_many_replicas_as_steps() -> tuple[nn.Module, torch.Tensor]:
    return TanhRNN(3, 6, 2, gain=1.0, replicas=(4,)), random(4, 4, 5, 3).float()


def ones(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.bool)


REFUSED = {
    "a list": (plain, [True] * 5, TypeError, "mask: got list, expected a boolean tensor"),
    "numbers": (plain, torch.ones(5), ValueError, r"mask: got dtype torch.float32, expected torch.bool.*mask.bool\(\)"),
    "another batch": (plain, ones(4), ValueError, r"mask of shape \(4,\), but '2' ran 1 times with an output of "
                      r"shape \(5, 6\), so that the mask should be \(5,\)"),
    "with the neurons": (plain, ones(5, 6), ValueError, r"mask of shape \(5, 6\).*should be \(5,\)"),
    "a single number": (plain, torch.tensor(True), ValueError, r"mask of shape \(\).*should be \(5,\)"),
    "time first for batch first": (batch_first, ones(7, 5), ValueError, r"mask of shape \(7, 5\).*should be \(5, 7\)"),
    "packed": (rnn_and_packed, ones(4, 2), ValueError, "ran on packed sequences, which hold no padding"),
    "another replica": (replicas, ones(3, 5), ValueError, r"mask of shape \(3, 5\).*should be \(2, 5\)"),
    "a replica without samples": (replicas, torch.tensor([[True], [False]]).expand(2, 5), ValueError,
                                  "lets no sample of some replicas of 'hidden.1' count"),
    "a replica or a step": (as_many_replicas_as_steps, ones(4, 5), ValueError, r"mask of shape \(4, 5\).*should be \(4, 4, 5\)"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_a_mask_that_does_not_fit_is_refused_in_words_and_the_pass_does_not_count(kind):
    make, mask, error, message = REFUSED[kind]
    model, x = make()
    sal, before = SAL(model, lr=0.1, target=9.0), [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(error, match=message), sal.counting(mask):
        model(x)
    with pytest.raises(RuntimeError, match="SAL: there is no pass to use"):
        sal.step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    model(x)  # without the mask all is in order
    sal.step()
    assert not all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_a_mask_that_lets_nothing_count_is_a_pass_without_samples():
    model = sequential(3, 6, 6, 2)
    sal = SAL(model)
    with sal.counting(torch.zeros(5).bool()):
        model(random(5, 3).float())
    with pytest.raises(RuntimeError, match="the last pass had no samples"):
        sal.step()


def test_an_exception_ends_the_counting():
    model = sequential(3, 6, 6, 2)
    sal, x = SAL(model, lr=0.0), random(5, 3).float()
    with pytest.raises(ZeroDivisionError), sal.counting(torch.ones(1).bool()):
        raise ZeroDivisionError
    model(x)  # would be refused
    sal.step()
