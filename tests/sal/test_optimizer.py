"""Every sentence of the design on an optimizer that behaves."""

import copy

import pytest
import torch
from torch import nn

from salnb import SAL, TanhRNN
from tests.problems import SEED, random, seeded, sequential


def model_of(kind: str, device="cpu", seed: int = 0) -> nn.Module:
    torch.manual_seed(seed + SEED)
    if kind == "sequential":
        return sequential(3, 8, 8, 8, 2, seed=seed, device=device)
    if kind == "rnn":
        return nn.RNN(3, 8, 2).to(device)
    given = {"gain": 0.6, "replicas": (2,), "connectivity": 0.5, "generator": seeded(seed), "device": device}
    return TanhRNN(3, (8, 6), 2, **given)


def data(kind: str, i: int, device="cpu") -> torch.Tensor:
    return random(*((5, 3) if kind == "sequential" else (4, 5, 3)), seed=i, device=device).float()


def loss_of(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    output = model(x)
    return (output[0] if isinstance(output, tuple) else output).square().sum()


def by_name(sal: SAL) -> dict[str, dict]:
    """The parameter groups. Every layer that might be watched has one, also those that are left out after the first pass."""
    return {group["name"]: group for group in sal.param_groups}


KINDS = ["sequential", "rnn", "replicas"]


def run(model, sal, optimizer, kind, steps, device="cpu", gate=True) -> None:
    for i in steps:
        optimizer.zero_grad()
        loss_of(model, data(kind, i, device)).backward()
        if gate:
            sal.gate_gradients_()
        optimizer.step()
        sal.step()


def test_sal_is_a_torch_optimizer_with_one_parameter_group_per_layer():
    model = model_of("sequential")
    sal = SAL(model, lr=0.1)
    assert isinstance(sal, torch.optim.Optimizer)
    for _ in range(2):  # from the start, and unchanged when a pass has shown which layers are watched
        assert [group["name"] for group in sal.param_groups] == ["0", "2", "4", "6"]
        assert [p is q for g, i in zip(sal.param_groups, (0, 2, 4, 6), strict=True)
                for p, q in zip(g["params"], (model[i].weight, model[i].bias), strict=True)] == [True] * 8  # fmt: skip
        assert {group[k] for group in sal.param_groups for k in ("lr",)} == {0.1}
        model(data("sequential", 0))
        sal.step()
    assert list(sal.sensitivity) == ["2", "4"]


def test_the_average_lives_in_state_of_the_weight_and_starts_at_its_first_observation():
    model = model_of("sequential")
    sal = SAL(model, lr=0.0, decay=0.999)
    assert sal.sensitivity == {}
    model(data("sequential", 0))
    sal.step()
    with torch.no_grad():
        pre = model[:3](data("sequential", 0))
        first = ((1 - pre.tanh() ** 2) * model[2].weight.norm(dim=-1)).mean(0)
    torch.testing.assert_close(sal.sensitivity["2"], first)
    assert sal.state[model[2].weight]["sensitivity"] is sal.sensitivity["2"]


@pytest.mark.parametrize("average", ["mean", "rms"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_round_trip_goes_on_exactly(kind, average, tmp_path, device):
    settings = {"lr": 0.02, "decay": 0.8, "target": 0.9, "rule": "proportional", "average": average}
    model = model_of(kind, device)
    sal, optimizer = SAL(model, **settings), torch.optim.Adam(model.parameters(), 0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(sal, 2)
    run(model, sal, optimizer, kind, range(4), device)
    scheduler.step(), scheduler.step()
    parts = {"model": model, "sal": sal, "optimizer": optimizer, "scheduler": scheduler}
    torch.save({name: part.state_dict() for name, part in parts.items()}, tmp_path / "run.pt")
    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    run(model, sal, optimizer, kind, range(4, 8), device)

    fresh = model_of(kind, device, seed=7)
    sal2, optimizer2 = SAL(fresh), torch.optim.Adam(fresh.parameters())  # other settings: they come with the state
    scheduler2 = torch.optim.lr_scheduler.StepLR(sal2, 2)
    for part, name in ((fresh, "model"), (sal2, "sal"), (optimizer2, "optimizer"), (scheduler2, "scheduler")):
        part.load_state_dict(saved[name])
    assert sal2.param_groups[0]["lr"] == pytest.approx(0.002)
    run(fresh, sal2, optimizer2, kind, range(4, 8), device)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), fresh.parameters(), strict=True))
    assert all(torch.equal(sal.sensitivity[name], sal2.sensitivity[name]) for name in sal.sensitivity)
    assert torch.equal(sal.log_sensitivity(), sal2.log_sensitivity())


def test_schedulers_act_and_groups_have_their_own_settings():
    model, twin = model_of("sequential"), model_of("sequential")
    before = {i: model[i].weight.detach().clone() for i in (2, 4)}
    plain = SAL(twin, lr=1.0, target=1e9)
    twin(data("sequential", 0))
    plain.step()
    change = {i: twin[i].weight.detach() - before[i] for i in (2, 4)}

    sal = SAL(model, lr=1.0, target=1e9)
    factors = [lambda epoch, factor=0.5 if name == "2" else 0.0: factor for name in by_name(sal)]
    scheduler = torch.optim.lr_scheduler.LambdaLR(sal, factors)
    model(data("sequential", 0))
    sal.step()
    scheduler.step()  # warns unless SAL.step counts as an optimizer's step
    torch.testing.assert_close(model[2].weight.detach(), before[2] + 0.5 * change[2])
    assert torch.equal(model[4].weight, before[4])
    other = model_of("sequential")
    sal = SAL(other, lr=1.0, target=1e9)
    by_name(sal)["2"]["target"] = 1e-9
    other(data("sequential", 0))
    sal.step()
    assert torch.equal(other[2].weight, before[2])
    torch.testing.assert_close(other[4].weight.detach(), before[4] + change[4])


def test_each_group_may_have_its_own_rule_average_and_decay():
    model = model_of("sequential")
    sal = SAL(model, lr=0.1, decay=0.5)
    by_name(sal)["4"].update(rule="proportional", average="rms", decay=0.9)
    single = model_of("sequential")
    other = SAL(single, lr=0.1, decay=0.9, rule="proportional", average="rms", layers=["4"])
    for i in range(3):
        single[2].load_state_dict(model[2].state_dict())
        model(data("sequential", i)), single(data("sequential", i))
        sal.step(), other.step()
        torch.testing.assert_close(sal.sensitivity["4"], other.sensitivity["4"])
        torch.testing.assert_close(model[4].weight, single[4].weight)


def test_zero_grad_is_a_no_op_the_gradients_belong_to_the_models_optimizer():
    model = model_of("sequential")
    sal = SAL(model)
    loss_of(model, data("sequential", 0)).backward()
    before = [p.grad.clone() for p in model.parameters()]
    sal.zero_grad()
    sal.zero_grad(set_to_none=False)
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_grad_is_touched_by_gate_gradients_alone(kind):
    model = model_of(kind)
    sal = SAL(model, lr=0.1, target=1e9)
    loss_of(model, data(kind, 0)).backward()
    before = [p.grad.clone() for p in model.parameters()]
    sal.log_sensitivity()
    sal.step()
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), before, strict=True))
    loss_of(model, data(kind, 1)).backward()
    sal.gate_gradients_()
    assert not all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), before, strict=True))


def test_rate_0_moves_nothing_and_averages_all_the_same():
    model = model_of("sequential")
    sal, before = SAL(model, lr=0.0), copy.deepcopy(model.state_dict())
    model(data("sequential", 0))
    sal.step()
    assert all(torch.equal(before[n], v) for n, v in model.state_dict().items()) and len(sal.sensitivity) == 2


def test_step_takes_a_closure_that_makes_the_pass_with_gradients_enabled():
    model = model_of("sequential")
    sal = SAL(model, lr=0.1)
    with torch.no_grad():
        loss = sal.step(lambda: (value := loss_of(model, data("sequential", 0)), value.backward())[0])
    assert loss.item() > 0 and model[0].weight.grad is not None
    model(data("sequential", 0))
    assert sal.step() is None


@pytest.mark.parametrize("kind", KINDS)
def test_log_sensitivity_is_of_the_passes_since_the_last_step_never_from_the_average_and_equal_before_and_after_step(kind):
    model = model_of(kind)
    sal = SAL(model, lr=0.1, decay=0.99)
    for i in range(3):
        model((1 + 5 * i) * data(kind, i))
        before = sal.log_sensitivity()
        twin = copy.deepcopy(model)
        sal.step()
        assert torch.equal(sal.log_sensitivity(), before)
        fresh = SAL(twin)
        twin((1 + 5 * i) * data(kind, i))
        torch.testing.assert_close(before, fresh.log_sensitivity())
    layers, lead = len(sal.sensitivity), (2,) if kind == "replicas" else ()
    assert before.shape == (layers, *lead)


def test_log_sensitivity_is_in_the_order_of_the_layers_whatever_their_shapes():
    """Layers of one shape are computed together, so the first and the last are neighbours in there."""
    model, x = sequential(3, 6, 6, 5, 6, 6, 2), random(7, 3).float()
    sal, h, expected = SAL(model), x, []
    model(x)
    with torch.no_grad():
        for i in range(0, len(model) - 1, 2):
            slope = 1 - torch.tanh(model[i](h)) ** 2
            expected.append(0.5 * (slope * model[i].weight.norm(dim=-1)).square().mean().log())
            h = torch.tanh(model[i](h))
    torch.testing.assert_close(sal.log_sensitivity(), torch.stack(expected[1:]))
    sal.step()
    torch.testing.assert_close(sal.log_sensitivity(), torch.stack(expected[1:]))


def test_share_below_target():
    model = model_of("sequential")
    sal = SAL(model, lr=0.0)
    with pytest.raises(RuntimeError, match="SAL: nothing has been observed yet"):
        sal.share_below_target()
    assert sal.sensitivity == {}  # asking too early leaves nothing behind
    model(data("sequential", 0))
    sal.step()
    expected = torch.stack([(s < 1).float().mean() for s in sal.sensitivity.values()])
    torch.testing.assert_close(sal.share_below_target(), expected)
    assert 0 < expected.max() <= 1


def test_settings_and_names_of_another_type_are_refused_in_words():
    model = sequential(3, 6, 6, 2)
    for settings, words in (
        ({"lr": "a"}, "lr: got 'a', expected a number"),
        ({"target": None}, "target: got None, expected a number"),
        ({"decay": True}, "decay: got True, expected a number"),
        ({"rule": 1}, "rule: got 1, expected a word"),
        ({"layers": 3}, "layers: got 3, expected names"),
        ({"layers": [3]}, "layers: got 3 among the names, expected names as model"),
    ):
        with pytest.raises(TypeError, match=words):
            SAL(model, **settings)
    for settings, words in (({"lr": float("inf")}, "lr: got inf"), ({"target": float("nan")}, "target: got nan")):
        with pytest.raises(ValueError, match=words):
            SAL(model, **settings)


def test_of_two_sals_on_one_layer_the_later_one_warns_and_only_once():
    model = sequential(3, 6, 6, 2)
    first, second = SAL(model), SAL(model)
    with pytest.warns(UserWarning, match="the layer '2' is watched by another SAL as well") as caught:
        for _ in range(3):
            model(torch.ones(2, 3))
    assert len(caught) == 1
    first.detach()
    second.detach()
