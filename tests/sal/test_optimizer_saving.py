"""Copies and pickles of (model, sal), and states that belong to another model."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from salnb import SAL, DeepNet, TanhRNN
from tests.problems import HandLoop, random, seeded, sequential
from tests.tolerances import close

BUILD = {
    "linear": (lambda: (sequential(3, 6, 6, 6, 2), None), (5, 3)),
    "named": (lambda: (sequential(3, 6, 6, 6, 2), ["4"]), (5, 3)),
    "hand loop": (lambda: (HandLoop(3), {"hidden": "tanh"}), (5, 3)),
    "own function": (lambda: (HandLoop(3, F.silu), {"hidden": F.silu}), (5, 3)),
    "deep": (lambda: (DeepNet(3, 6, 2, 4, gain=0.8, replicas=(2,), generator=seeded()), None), (5, 3)),
    "flat": (lambda: (TanhRNN(3, 6, 2, gain=0.8, generator=seeded()), None), (7, 5, 3)),
    "nn.RNN": (lambda: (nn.RNN(3, 6, 2), None), (7, 5, 3)),
    "bfloat16": (lambda: (sequential(3, 6, 6, 6, 2).bfloat16(), None), (5, 3)),
}


def by_torch_save(pair: tuple) -> tuple:
    file = io.BytesIO()
    torch.save(pair, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda pair: pickle.loads(pickle.dumps(pair)), "torch.save": by_torch_save}


def run(model: nn.Module, sal: SAL, shape: tuple[int, ...], seeds: range) -> None:
    dtype = next(model.parameters()).dtype
    for seed in seeds:
        model(random(*shape, seed=seed).to(dtype))
        sal.step()


def contents(model: nn.Module, sal: SAL) -> list[torch.Tensor]:
    return [*(p.detach().clone() for p in model.parameters()), *(s.clone() for s in sal.sensitivity.values())]


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("kind", BUILD)
def test_a_copy_of_model_and_sal_goes_on_as_the_original_would_and_apart_from_it(kind, way):
    make, shape = BUILD[kind]
    model, layers = make()
    sal = SAL(model, lr=0.05, decay=0.8, target=9.0, rule="proportional", average="rms", layers=layers)
    sal.param_groups[-1]["lr"] = 0.02
    run(model, sal, shape, range(3))
    twin, other = COPIES[way]((model, sal))
    torch.testing.assert_close(contents(twin, other), contents(model, sal), rtol=0, atol=0)  # at once, before any pass
    assert torch.equal(other.share_below_target(), sal.share_below_target())
    assert [{k: v for k, v in g.items() if k != "params"} for g in other.param_groups] == [
        {k: v for k, v in g.items() if k != "params"} for g in sal.param_groups]  # fmt: skip
    before = contents(model, sal)
    run(twin, other, shape, range(3, 6))
    torch.testing.assert_close(contents(model, sal), before, rtol=0, atol=0)  # the original has not seen it
    run(model, sal, shape, range(3, 6))
    # The same layers, measured together or apart, in up to three steps of up to seven products.
    exact = close(torch.float32, 3 * (7 * (6 + 3) + 7 * 5), 9)
    torch.testing.assert_close(contents(twin, other), contents(model, sal), **exact)
    with pytest.raises(RuntimeError, match="there is no pass to use"):
        other.step()


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("waiting", [False, True])
def test_a_copy_before_the_first_step(way, waiting):
    """A pass that waits is not copied: its tensors belong to the graph of the original."""
    model = sequential(3, 6, 6, 6, 2)
    sal = SAL(model, lr=0.05, target=9.0)
    if waiting:
        model(random(5, 3).float())
    twin, other = COPIES[way]((model, sal))
    assert other.sensitivity == {}
    with pytest.raises(RuntimeError, match="there is no pass to use"):
        other.step()
    run(twin, other, (5, 3), range(1))
    if not waiting:
        model(random(5, 3).float())
    sal.step()
    torch.testing.assert_close(contents(twin, other), contents(model, sal), rtol=0, atol=0)


def test_a_copy_of_sal_alone_has_a_model_of_its_own():
    model = sequential(3, 6, 6, 6, 2)
    sal = SAL(model, lr=0.05, target=9.0)
    run(model, sal, (5, 3), range(2))
    before = contents(model, sal)
    other = copy.deepcopy(sal)
    other._model(random(5, 3).float())
    other.step()
    torch.testing.assert_close(contents(model, sal), before, rtol=0, atol=0)


def test_what_cannot_be_pickled_refuses_at_once():
    model = HandLoop(3, torch.tanh)
    sal = SAL(model, layers={"hidden": lambda u: torch.tanh(u)})
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps((model, sal))


@pytest.mark.parametrize("kind", BUILD)
def test_after_load_state_dict_the_averages_are_there_before_any_pass(kind):
    make, shape = BUILD[kind]
    (model, layers), (fresh, _) = make(), make()
    sal, other = SAL(model, lr=0.05, layers=layers), SAL(fresh, layers=layers)
    run(model, sal, shape, range(3))
    with pytest.raises(RuntimeError, match="nothing has been observed yet"):
        other.share_below_target()
    other.load_state_dict(sal.state_dict())
    torch.testing.assert_close(dict(other.sensitivity), dict(sal.sensitivity), rtol=0, atol=0)
    assert torch.equal(other.share_below_target(), sal.share_below_target())
    assert all(other.sensitivity[name] is not sal.sensitivity[name] for name in sal.sensitivity)


def test_a_state_saved_before_the_first_pass_is_that_of_a_fresh_sal():
    model, fresh = (sequential(3, 6, 6, 6, 2) for _ in range(2))
    state = SAL(model, lr=0.07).state_dict()
    sal = SAL(fresh)
    sal.load_state_dict(state)
    assert {group["lr"] for group in sal.param_groups} == {0.07} and sal.sensitivity == {}
    run(fresh, sal, (5, 3), range(1))
    assert list(sal.sensitivity) == ["2", "4"]


def stepped(model: nn.Module, shape=(5, 3), **given) -> SAL:
    sal = SAL(model, **given)
    run(model, sal, shape, range(1))
    return sal


def of_deep(width: int, replicas=()) -> DeepNet:
    return DeepNet(3, width, 2, 3, gain=0.8, replicas=replicas, generator=seeded())


def without_bias() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 6, bias=False), nn.Tanh(), nn.Linear(6, 2))


OTHER_STATES = {
    "another width": (lambda: sequential(3, 5, 5, 5, 2), lambda: sequential(3, 6, 6, 6, 2),
                      r"'2' has shape \(5,\), but the layer has \(6,\) neurons"),
    "more layers": (lambda: sequential(3, 6, 6, 6, 6, 2), lambda: sequential(3, 6, 6, 6, 2),
                    "got the layers 0, 2, 4, 6, 8, but this SAL has 0, 2, 4, 6; load the state of a SAL on a model of the same"),
    "fewer layers": (lambda: sequential(3, 6, 6, 2), lambda: sequential(3, 6, 6, 6, 2),
                     "got the layers 0, 2, 4, but this SAL has 0, 2, 4, 6"),
    "other names": (lambda: nn.Sequential(sequential(3, 6, 6, 6, 2)), lambda: sequential(3, 6, 6, 6, 2),
                    "got the layers 0.0, 0.2, 0.4, 0.6, but this SAL has 0, 2"),
    "replicas": (lambda: of_deep(6, (2,)), lambda: of_deep(6), r"'hidden.1' has shape \(2, 6\), but the layer has \(6,\)"),
    "no bias": (without_bias, lambda: sequential(3, 6, 6, 2), "state_dict: the layer '2' has 1 parameters there and 2 here"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHER_STATES)
def test_the_state_of_another_model_is_refused_in_words_and_changes_nothing(kind):
    other, own, message = OTHER_STATES[kind]
    state, model = stepped(other(), lr=0.07).state_dict(), own()
    sal = stepped(model)
    before, groups = contents(model, sal), [{k: v for k, v in group.items() if k != "params"} for group in sal.param_groups]
    with pytest.raises(ValueError, match=message):
        sal.load_state_dict(state)
    torch.testing.assert_close(contents(model, sal), before, rtol=0, atol=0)
    assert [{k: v for k, v in group.items() if k != "params"} for group in sal.param_groups] == groups
    run(model, sal, (5, 3), range(1))


@pytest.mark.parametrize("state", ["adam", {}, None, {"state": {}}, {"state": {}, "param_groups": None}])
def test_what_is_no_state_of_sal_is_refused_in_words(state):
    model = sequential(3, 6, 6, 6, 2)
    state = torch.optim.Adam(model.parameters()).state_dict() if state == "adam" else state
    with pytest.raises(ValueError, match="state_dict: got"):
        SAL(model).load_state_dict(state)


def test_states_of_single_layers_that_were_named():
    model = sequential(3, 6, 6, 6, 2)
    with pytest.raises(ValueError, match="got the layers 2, but this SAL has 4"):
        SAL(model, layers=["4"]).load_state_dict(SAL(model, layers=["2"]).state_dict())
