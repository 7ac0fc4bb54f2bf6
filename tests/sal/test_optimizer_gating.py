"""gate_gradients_: neurons below target learn by SAL alone, whatever momentum, Adam or weight decay would do to them."""

import copy

import pytest
import torch
from torch import nn

from salnb import SAL, DeepNet, TanhRNN
from tests.problems import SEED, random, seeded, sequential

OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.05),
    "SGD momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True),
    "SGD weight decay": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.1),
    "Adam": lambda p: torch.optim.Adam(p, 0.01),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
}


def build(kind: str, device) -> tuple[nn.Module, torch.Tensor, dict]:
    """Model, input, and for each watched layer the parameters whose rows belong to its neurons: first the weight."""
    given = {"replicas": (2,), "generator": seeded(), "device": device}
    if kind == "sequential":
        model = sequential(3, 9, 9, 9, 2, device=device)
        return model, random(6, 3, device=device).float(), {str(i): [model[i].weight, model[i].bias] for i in (2, 4)}
    if kind == "rnn":
        torch.manual_seed(SEED)
        model = nn.RNN(3, 9, 2).to(device)
        names = ("weight_hh", "bias_hh", "weight_ih", "bias_ih")
        owned = {f"weight_hh_l{i}": [getattr(model, f"{n}_l{i}") for n in names] for i in range(2)}
        return model, random(4, 5, 3, device=device).float(), owned
    if kind == "deep":
        model = DeepNet(3, 9, 2, 3, gain=0.9, **given)
        owned = {f"hidden.{i}": [model.hidden[i].weight, model.hidden[i].bias] for i in (1, 2)}
        return model, random(2, 5, 3, device=device).float(), owned
    model = TanhRNN(3, (9, 8), 2, gain=0.9, **given)
    owned = {f"recurrent.{i}": [layer.weight, layer.bias] for i, layer in enumerate(model.recurrent)}
    owned["recurrent.0"].append(model.input.weight)
    return model, random(4, 2, 5, 3, device=device).float(), owned


def backward(model, x) -> None:
    model.zero_grad()
    output = model(x)
    (output[0] if isinstance(output, tuple) else output).square().sum().backward()


def rows(below: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    return (below.unsqueeze(-1) if parameter.ndim > below.ndim else below).expand_as(parameter)


def halve(sal: SAL, averages: dict[str, torch.Tensor]) -> None:
    """Gives every layer a target that half of its neurons are below: between two of these averages, so that none is near it."""
    for group in (group for group in sal.param_groups if group["name"] in averages):
        ordered = averages[group["name"]].flatten().sort()[0]
        middle = len(ordered) // 2
        group["target"] = ordered[middle - 1 : middle + 1].mean().item()


def averages_of(model, *passes, decay: float = 0.5) -> dict[str, torch.Tensor]:
    sal = SAL(model, lr=0.0, decay=decay)
    for x in passes:
        model(x)
        sal.step()
    sal.detach()
    return sal.sensitivity


@pytest.mark.parametrize("rule", ["one_sided", "proportional"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", ["sequential", "rnn", "deep", "ring"])
def test_gated_rows_end_exactly_at_old_plus_sals_own_change_the_others_as_the_optimizer_moved_them(kind, optimizer, rule, device):
    model, x, owned = build(kind, device)
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    for _ in range(2):  # momentum from before, which moves a weight whose gradient is zero
        backward(model, x)
        optimizer.step()
    averages = averages_of(model, x)
    sal = SAL(model, lr=0.05, decay=0.5, rule=rule)
    halve(sal, averages)
    backward(model, x)
    old = {p: p.detach().clone() for p in model.parameters()}

    # SAL alone, from the same pass and weights: its own change, exactly.
    alone = copy.deepcopy(model)
    only = SAL(alone, lr=0.05, decay=0.5, rule=rule)
    halve(only, averages)
    targets = {group["name"]: group["target"] for group in only.param_groups}
    alone(x)
    only.step()
    expected = dict(zip(model.parameters(), alone.parameters(), strict=True))
    # The optimizer alone, with the gradients of the same rows set to zero by hand.
    free_model, free = copy.deepcopy((model, optimizer))
    twins = dict(zip(model.parameters(), free_model.parameters(), strict=True))
    below = {name: average < targets[name] for name, average in only.sensitivity.items()}
    for parameter, twin in twins.items():
        twin.grad = parameter.grad.clone()
        for name, parts in owned.items():
            if any(parameter is part for part in parts):
                twin.grad[rows(below[name], parameter)] = 0
    gated = {parameter: twin.grad.clone() for parameter, twin in twins.items()}  # Nesterov's step on a GPU overwrites gradients
    free.step()

    sal.gate_gradients_()
    for parameter, gradient in gated.items():
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=0)
    optimizer.step()
    moved = {p: p.detach().clone() for p in model.parameters()}
    sal.step()
    gated_somewhere = 0
    for name, parts in owned.items():
        assert 0 < below[name].sum() < below[name].numel()
        above = ~below[name] & (sal.sensitivity[name] >= targets[name])  # also where the optimizer put them
        for parameter in parts:
            gate, free_rows = rows(below[name], parameter), rows(above, parameter)
            assert torch.equal(parameter[gate], expected[parameter][gate])
            gated_somewhere += not torch.equal(moved[parameter][gate], old[parameter][gate])
            if rule == "one_sided":
                assert torch.equal(parameter[free_rows], twins[parameter][free_rows])
            # The optimizer may have put all of a layer's neurons below, so that SAL then moves them: what it did shows before.
            free_rows = rows(~below[name], parameter)
            assert torch.equal(moved[parameter][free_rows], twins[parameter][free_rows])
            assert not torch.equal(moved[parameter][free_rows], old[parameter][free_rows])
    if not (isinstance(optimizer, torch.optim.SGD) and not optimizer.param_groups[0]["momentum"]):
        assert gated_somewhere  # the optimizer had moved gated rows, so putting them back was needed
    listed = {id(part) for parts in owned.values() for part in parts}
    for parameter, twin in twins.items():
        if id(parameter) not in listed:
            assert torch.equal(parameter, twin)


def test_all_neurons_above_target_change_no_gradient_all_below_leave_none(device):
    for target, gated in ((1e-9, False), (1e9, True)):
        model, x, owned = build("rnn", device)
        sal = SAL(model, target=target)
        backward(model, x)
        before = [p.grad.clone() for p in model.parameters()]
        sal.gate_gradients_()
        for parameter, gradient in zip(model.parameters(), before, strict=True):
            assert torch.equal(parameter.grad, torch.zeros_like(gradient) if gated else gradient)


def test_gating_uses_the_average_that_this_pass_is_part_of(device):
    """The same comparison that step() makes: a neuron is gated if and only if it is then moved."""
    model, x, owned = build("sequential", device)
    averages = averages_of(model, 3 * x, x)
    sal = SAL(model, lr=0.05, decay=0.5, target=1e-9)
    model(3 * x)
    sal.step()  # moves nothing, so that the averages will be those
    halve(sal, averages)
    backward(model, x)
    sal.gate_gradients_()
    gated = (model[2].weight.grad == 0).all(-1)
    before = model[2].weight.detach().clone()
    sal.step()
    assert torch.equal((model[2].weight != before).any(-1), gated) and 0 < gated.sum() < 9


def test_without_gradients_gating_still_holds_the_rows(device):
    model, x, owned = build("sequential", device)
    sal = SAL(model, lr=0.0, target=1e9)
    model(x)
    sal.gate_gradients_()
    before = model[2].weight.detach().clone()
    with torch.no_grad():
        model[2].weight.add_(1.0)
    sal.step()
    assert torch.equal(model[2].weight, before)


def test_gating_is_for_this_time_only_and_belongs_to_its_pass(device):
    model, x, owned = build("sequential", device)
    sal = SAL(model, lr=0.0, target=1e9)
    model(x)
    sal.gate_gradients_()
    sal.step()
    with torch.no_grad():
        model[2].weight.add_(1.0)
    after = model[2].weight.detach().clone()
    model(x)
    sal.step()
    assert torch.equal(model[2].weight, after)
    model(x)
    sal.gate_gradients_()
    with torch.no_grad():
        model[2].weight.add_(1.0)
    model(x)  # a new pass: nobody asked for its neurons to be held
    sal.step()
    assert torch.equal(model[2].weight, after + 1.0)
