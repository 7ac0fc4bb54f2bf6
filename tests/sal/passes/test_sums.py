"""Several passes before one step against one pass over all their samples, and what is kept of them."""

import copy
import gc

import pytest
import torch
from torch import nn

from salnb import SAL, DeepNet, TanhRNN
from tests.problems import HandLoop, autograd_sensitivity, random, seeded, sequential
from tests.tolerances import close

BUILD = {
    "linear": (lambda: sequential(3, 8, 8, 8, 2), (3,)),
    "relu": (lambda: sequential(3, 8, 8, 8, 2, activation=nn.ReLU), (3,)),
    "hand loop": (lambda: HandLoop(3), (3,)),
    "deep": (lambda: DeepNet(3, 8, 2, 5, gain=0.8, generator=seeded()), (3,)),
    "deep replicas": (lambda: DeepNet(3, 8, 2, 4, gain=0.8, replicas=(2, 3), generator=seeded()), (2, 3, 0, 3)),
    "flat": (lambda: TanhRNN(3, 8, 2, gain=0.8, generator=seeded()), (7, 0, 3)),
    "flat replicas": (lambda: TanhRNN(3, 8, 2, gain=0.8, replicas=(2,), generator=seeded()), (7, 2, 0, 3)),
    "sparse ring": (lambda: TanhRNN(3, (8, 6), 2, gain=0.8, replicas=(2,), connectivity=0.5, generator=seeded()), (7, 2, 0, 3)),
    "nn.RNN": (lambda: nn.RNN(3, 8, 3), (7, 0, 3)),
    "nn.RNN relu": (lambda: nn.RNN(3, 8, 2, nonlinearity="relu"), (7, 0, 3)),
}  # the shape of an input, where 0 stands for the samples; without 0 they come first


def inputs(shape: tuple[int, ...], samples: int, seed: int, dtype: torch.dtype) -> torch.Tensor:
    shape = shape if 0 in shape else (0, *shape)
    # Passes that differ in size and in strength, so that no mixture with wrong weights is the right one.
    return (random(*(n or samples for n in shape), seed=seed) * (1 + 2 * (seed % 3))).to(dtype)


def tolerance(dtype: torch.dtype) -> dict[str, float]:
    # Two steps of seven time steps or up to five layers, each with products of up to 8 + 3 terms, and sums over 7 · 14 samples.
    # What one step has in another order is what the next one starts from.
    return close(dtype, 2 * (7 * (8 + 3) + 7 * 14), 4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("average", ["mean", "rms"])
@pytest.mark.parametrize("rule", ["one_sided", "proportional"])
@pytest.mark.parametrize("kind", BUILD)
def test_passes_before_a_step_equal_one_pass_over_all_their_samples(kind, rule, average, dtype, device):
    make, shape = BUILD[kind]
    model = make().to(device, dtype)
    twin = copy.deepcopy(model)
    # No average may lie so near its target that rounding decides on which side: they are 2 at most.
    settings = dict(lr=0.1, decay=0.5, rule=rule, average=average, target=50.0 if rule == "one_sided" else 0.7)
    sal, whole = SAL(model, **settings), SAL(twin, **settings)
    for step, sizes in enumerate([(5, 2, 7), (3, 4)]):
        parts = [inputs(shape, samples, seed=3 * step + i, dtype=dtype).to(device) for i, samples in enumerate(sizes)]
        for part in parts:
            model(part)
        twin(torch.cat(parts, -2))
        torch.testing.assert_close(sal.log_sensitivity(), whole.log_sensitivity(), **tolerance(dtype))
        before = [parameter.detach().clone() for parameter in model.parameters()]
        sal.step(), whole.step()
        torch.testing.assert_close(sal.log_sensitivity(), whole.log_sensitivity(), **tolerance(dtype))
        torch.testing.assert_close(dict(sal.sensitivity), dict(whole.sensitivity), **tolerance(dtype))
        torch.testing.assert_close(list(model.parameters()), list(twin.parameters()), **tolerance(dtype))
        assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    assert {tensor.dtype for tensor in sal.sensitivity.values()} == {dtype}


def test_the_pooled_step_is_that_of_autograd_over_every_sample(device):
    model = sequential(3, 8, 8, 2, device=device, dtype=torch.float64)
    xs = [random(samples, 3, seed=i, device=device) * (1 + 4 * i) for i, samples in enumerate((4, 9))]
    with torch.no_grad():
        before = model[:2](torch.cat(xs))
        pre = model[2](before)
    s, by_weight, by_bias = autograd_sensitivity(model[2].weight, before, pre, torch.tanh)
    expected = model[2].weight + 0.1 * by_weight, model[2].bias + 0.1 * by_bias
    sal = SAL(model, lr=0.1, target=50.0)
    for x in xs:
        model(x)
    sal.step()
    exact = close(torch.float64, 3 + 8 + 13, 4)
    torch.testing.assert_close(sal.sensitivity["2"], s.mean(0), **exact)
    torch.testing.assert_close(sal.log_sensitivity()[0], 0.5 * s.square().mean().log(), **exact)
    torch.testing.assert_close(model[2].weight.detach(), expected[0].detach(), **exact)
    torch.testing.assert_close(model[2].bias.detach(), expected[1].detach(), **exact)


def test_gating_compares_the_average_over_all_passes(device):
    """The same comparison as of the step: a neuron is gated if and only if it is then moved."""
    model = sequential(3, 9, 9, 2, device=device)
    xs = [random(6, 3, seed=i, device=device).float() * (1 + 4 * i) for i in range(2)]
    probe = SAL(model, lr=0.0)
    for x in xs:
        model(x)
    probe.step()
    ordered = probe.sensitivity["2"].sort()[0]
    probe.detach()
    sal = SAL(model, lr=0.1, target=ordered[4:6].mean().item())
    for x in xs:
        model(x).square().sum().backward()
    sal.gate_gradients_()
    gated, before = (model[2].weight.grad == 0).all(-1), model[2].weight.detach().clone()
    sal.step()
    assert torch.equal((model[2].weight != before).any(-1), gated) and gated.sum() == 5


def test_log_sensitivity_between_passes_changes_nothing(device):
    found = []
    for asks in (False, True):
        model = sequential(3, 8, 8, 2, device=device)
        sal = SAL(model, lr=0.1)
        for seed in range(3):
            model(random(5, 3, seed=seed, device=device).float())
            if asks:
                sal.log_sensitivity(), sal.report(), sal.sensitivity
        sal.step()
        found.append([*model.parameters(), *sal.sensitivity.values()])
    torch.testing.assert_close(*found, rtol=0, atol=0)


class Branches(nn.Module):
    """Two layers, of which each pass runs those it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.a, self.b, self.last = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 1)

    def forward(self, x, runs="ab"):
        h = torch.tanh(self.first(x))
        for name in runs:
            h = torch.tanh(self.get_submodule(name)(h))
        return self.last(h)


def by_hand(model: Branches, name: str, pre: list[torch.Tensor]) -> torch.Tensor:
    return ((1 - torch.tanh(torch.cat(pre)).square()) * model.get_submodule(name).weight.norm(dim=1)).mean(0).detach()


def test_a_layer_counts_the_samples_of_the_passes_in_which_it_ran(device):
    torch.manual_seed(0)
    model = Branches().to(device).double()
    sal, one, two = SAL(model, lr=0.0), random(4, 3, device=device), random(9, 3, seed=1, device=device) * 3
    model(one)
    model(two, runs="b")
    sal.step()
    h = torch.tanh(model.first(one))
    a = model.a(h)
    b = [model.b(torch.tanh(a)), model.b(torch.tanh(model.first(two)))]
    expected = {"a": by_hand(model, "a", [a]), "b": by_hand(model, "b", b)}
    torch.testing.assert_close(dict(sal.sensitivity), expected, **close(torch.float64, 3 + 6 + 6 + 13))


def test_a_layer_that_did_not_run_stays_as_it_is(device):
    model = Branches().to(device)
    sal, x = SAL(model, lr=0.1, decay=0.5, target=50.0), random(4, 3, device=device).float()
    model(x)
    sal.step()
    average, before = sal.sensitivity["b"].clone(), [parameter.clone() for parameter in model.b.parameters()]
    moved = model.a.weight.clone()
    model(x, runs="a")
    sal.step()
    assert torch.equal(sal.sensitivity["b"], average)
    assert all(torch.equal(p, q) for p, q in zip(model.b.parameters(), before, strict=True))
    assert not torch.equal(model.a.weight, moved)
    found = sal.log_sensitivity()
    assert found.shape == (2,) and torch.isfinite(found[0]) and torch.isnan(found[1])
    assert torch.equal(sal.share_below_target(), torch.ones(2, device=device))  # of b by its average from before


@pytest.mark.parametrize("layers", [None, ["a", "b"]])
def test_a_layer_that_runs_for_the_first_time_in_a_later_pass_is_watched_from_there_on(layers, device):
    model, twin = Branches().to(device), Branches().to(device)
    twin.load_state_dict(model.state_dict())
    sal, other = SAL(model, lr=0.1, target=50.0, layers=layers), SAL(twin, lr=0.1, target=50.0, layers={"a": "tanh"})
    x = random(4, 3, device=device).float()
    for net, optimizer in ((model, sal), (twin, other)):
        net(x, runs="a")
        optimizer.step()
    assert list(sal.sensitivity) == ["a"]
    torch.testing.assert_close(dict(model.named_parameters()), dict(twin.named_parameters()), rtol=0, atol=0)
    assert {row["layer"]: row["why"] for row in sal.report()}["b"] == "did not run yet"
    before = model.b.weight.clone()
    with torch.no_grad():
        expected = by_hand(model, "b", [model.b(torch.tanh(model.a(torch.tanh(model.first(x)))))])
    model(x)
    sal.step()
    assert list(sal.sensitivity) == ["a", "b"] and not torch.equal(before, model.b.weight)
    torch.testing.assert_close(sal.sensitivity["b"], expected, **close(torch.float32, 3 + 6 + 6 + 4))


@pytest.mark.parametrize("kind", BUILD)
def test_memory_does_not_grow_with_the_number_of_passes(kind, device):
    make, shape = BUILD[kind]

    def kept_after(passes: int) -> int:
        """Bytes in all tensors that are there, beyond those that were there before SAL was attached to a new model."""
        gc.collect()
        gc.freeze()  # so that the collector lists new objects alone
        try:
            model = make().to(device)
            sal = SAL(model, lr=0.1)
            for seed in range(passes):
                with torch.no_grad():
                    model(inputs(shape, 6, seed, torch.float32).to(device))
            gc.collect()
            found = [thing.untyped_storage() for thing in gc.get_objects() if type(thing) in (torch.Tensor, nn.Parameter)]
            sal.step()
            return sum({storage.data_ptr(): storage.nbytes() for storage in found}.values())
        finally:
            gc.unfreeze()

    few = kept_after(3)
    assert kept_after(10) == few > 0
