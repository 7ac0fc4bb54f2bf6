"""requires_grad is asked at each step, of weights and of biases: what is frozen does not move, and moves again afterwards."""

import pytest
import torch
from torch import nn

from salnb import SAL, DeepNet, TanhRNN
from tests.problems import random, seeded, sequential
from tests.tolerances import close

BUILD = {
    "linear": (lambda: sequential(3, 6, 6, 6, 6, 2), (5, 3), ("4.weight", "4.bias"), "4"),
    "deep": (lambda: DeepNet(3, 6, 2, 6, gain=0.8, generator=seeded()), (5, 3), ("hidden.3.weight", "hidden.3.bias"), "hidden.3"),
    "deep replicas": (lambda: DeepNet(3, 6, 2, 6, gain=0.8, replicas=(2,), generator=seeded()), (5, 3),
                      ("hidden.3.weight", "hidden.3.bias"), "hidden.3"),
    "flat": (lambda: TanhRNN(3, 6, 2, gain=0.8, replicas=(2,), generator=seeded()), (7, 5, 3),
             ("recurrent.0.weight", "recurrent.0.bias"), "recurrent.0"),
    "nn.RNN": (lambda: nn.RNN(3, 6, 3), (7, 5, 3), ("weight_hh_l1", "bias_hh_l1"), "weight_hh_l1"),
}  # fmt: skip
# Seven steps or five layers of products of six terms, and sums over up to 3 · 7 · 5 samples; layers are grouped in another way.
EXACT = close(torch.float32, 7 * 6 + 3 * 7 * 5, 4)
FREEZE = {"nothing": (), "the weight": (0,), "the bias": (1,), "both": (0, 1)}


def moved_by_step(model: nn.Module, sal: SAL, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """By how much each parameter moves, those that do not move left out."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model(x)
    sal.step()
    changes = {name: parameter.detach() - before[name] for name, parameter in model.named_parameters()}
    return {name: change for name, change in changes.items() if bool(change.any())}


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("what", FREEZE)
@pytest.mark.parametrize("kind", BUILD)
def test_what_is_frozen_after_attaching_stays_and_everything_else_moves_as_ever(kind, what, passes, device):
    make, shape, names, layer = BUILD[kind]
    model, twin = make().to(device), make().to(device)
    twin.load_state_dict(model.state_dict())
    sal, other = (SAL(net, lr=0.1, target=50.0) for net in (model, twin))
    x = random(*shape, device=device).float()
    frozen = {names[i] for i in FREEZE[what]}
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    for net in (model, twin):
        for i in range(passes - 1):
            net((2 + i) * x)
    found, free = moved_by_step(model, sal, x), moved_by_step(twin, other, x)
    assert set(found) == set(free) - frozen and frozen <= set(free)
    torch.testing.assert_close(found, {name: free[name] for name in found}, **EXACT)
    measured = set(other.sensitivity) - ({layer} if what == "both" else set())
    assert set(sal.sensitivity) == measured
    torch.testing.assert_close(dict(sal.sensitivity), {name: other.sensitivity[name] for name in measured}, **EXACT)


@pytest.mark.parametrize("kind", BUILD)
def test_it_is_asked_at_each_step(kind, device):
    make, shape, names, _ = BUILD[kind]
    model, x = make().to(device), random(*shape, device=device).float()
    sal = SAL(model, lr=0.1, target=50.0)
    assert set(names) <= set(moved_by_step(model, sal, x))
    for which in FREEZE.values():
        for i, name in enumerate(names):
            model.get_parameter(name).requires_grad_(i not in which)
        moved = set(moved_by_step(model, sal, x))
        assert {i for i, name in enumerate(names) if name not in moved} == set(which)


@pytest.mark.parametrize("what", ["the weight", "the bias", "both"])
@pytest.mark.parametrize("kind", BUILD)
def test_what_was_frozen_before_attaching(kind, what, device):
    make, shape, names, layer = BUILD[kind]
    model, x = make().to(device), random(*shape, device=device).float()
    for i in FREEZE[what]:
        model.get_parameter(names[i]).requires_grad_(False)
    if kind == "flat" and what == "both":
        return  # it has no other layer; see the test of a model that is frozen as a whole
    sal = SAL(model, lr=0.1, target=50.0)
    moved = moved_by_step(model, sal, x)
    assert [i for i, name in enumerate(names) if name not in moved] == list(FREEZE[what])
    assert (layer in sal.sensitivity) == (what != "both")
    for i in FREEZE[what]:
        model.get_parameter(names[i]).requires_grad_(True)
    assert set(names) <= set(moved_by_step(model, sal, x)) and layer in sal.sensitivity


@pytest.mark.parametrize("kind", BUILD)
def test_frozen_and_named_is_measured_and_not_moved(kind, device):
    make, shape, names, layer = BUILD[kind]
    model, twin = make().to(device), make().to(device)
    twin.load_state_dict(model.state_dict())
    model.requires_grad_(False)
    x = random(*shape, device=device).float()
    sal, other = (SAL(net, lr=0.1, target=50.0, layers=[layer]) for net in (model, twin))
    assert moved_by_step(model, sal, x) == {} and set(moved_by_step(twin, other, x)) == set(names)
    torch.testing.assert_close(dict(sal.sensitivity), dict(other.sensitivity), **EXACT)
    torch.testing.assert_close(sal.log_sensitivity(), other.log_sensitivity(), **EXACT)


@pytest.mark.parametrize("kind", BUILD)
def test_a_model_that_is_frozen_as_a_whole_for_a_while(kind, device):
    """As when the discriminator is frozen while the generator learns: nothing is wrong with the loop, and nothing moves."""
    make, shape, names, layer = BUILD[kind]
    model, x = make().to(device), random(*shape, device=device).float()
    sal = SAL(model, lr=0.1, target=50.0)
    moved_by_step(model, sal, x)
    model.requires_grad_(False)
    assert moved_by_step(model, sal, x) == {}
    assert layer not in sal.sensitivity
    with pytest.raises(KeyError, match="has no sensitivity: frozen"):
        sal.sensitivity[layer]
    model.requires_grad_(True)
    assert set(names) <= set(moved_by_step(model, sal, x))


@pytest.mark.parametrize("rule", ["one_sided", "proportional"])
def test_layers_of_one_shape_of_which_each_is_frozen_in_another_way(rule, device):
    """They are computed together, and must not be written back together."""
    model, twin = (DeepNet(3, 6, 2, 6, gain=0.8, generator=seeded()).to(device) for _ in range(2))
    frozen = {"hidden.1.weight", "hidden.2.bias", "hidden.4.weight", "hidden.4.bias"}
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    sals = [SAL(net, lr=0.1, rule=rule, target=50.0 if rule == "one_sided" else 0.5) for net in (model, twin)]
    x = random(5, 3, device=device).float()
    found, free = (moved_by_step(net, sal, x) for net, sal in zip((model, twin), sals, strict=True))
    assert set(found) == set(free) - frozen
    torch.testing.assert_close(found, {name: free[name] for name in found}, **EXACT)


def test_a_frozen_bias_is_held_by_gating_as_everything_of_its_neuron(device):
    model = sequential(3, 6, 6, 2, device=device)
    model[2].bias.requires_grad_(False)
    sal, optimizer = SAL(model, lr=0.1, target=50.0), torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    before = model[2].bias.clone()
    model(random(5, 3, device=device).float()).square().sum().backward()
    sal.gate_gradients_()
    assert bool((model[2].weight.grad == 0).all()) and model[2].bias.grad is None
    optimizer.step()
    sal.step()
    assert torch.equal(model[2].bias, before)
