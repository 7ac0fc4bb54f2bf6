"""What is said where there is no pass: which of its causes it is, and each with a way out that works."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from salnb import SAL, DeepNet, SensitivityMonitor
from tests.problems import HandLoop, random, seeded, sequential

NO_PASS = "SAL: there is no pass to use: "
REPLACED = NO_PASS + "the weight of the layer '[02]' is another tensor than the one SAL was given.*Attach SAL again"
X = random(5, 3).float()


def model_of(kind: str) -> nn.Module:
    return DeepNet(3, 6, 2, 3, gain=0.8, generator=seeded()) if kind == "deep" else sequential(3, 6, 6, 2)


def refused(sal: SAL, message: str) -> None:
    """Whatever needs a pass says the same, and moves nothing; the log-sensitivity is that of the last step, if there was one."""
    model, stepped = sal._model, bool(sal.sensitivity)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for call in (sal.gate_gradients_, sal.step) if stepped else (sal.log_sensitivity, sal.gate_gradients_, sal.step):
        with pytest.raises(RuntimeError, match=message):
            call()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def in_order(sal: SAL, model: nn.Module) -> None:
    model(X)
    sal.step()


@pytest.mark.parametrize("kind", ["linear", "deep"])
def test_nothing_has_been_called(kind):
    model = model_of(kind)
    sal = SAL(model)
    refused(sal, NO_PASS + f"the {type(model).__name__} has not been called since SAL was attached")
    in_order(sal, model)


@pytest.mark.parametrize("kind", ["linear", "deep"])
def test_the_pass_has_been_used_up(kind):
    model = model_of(kind)
    sal = SAL(model)
    in_order(sal, model)
    refused(sal, NO_PASS + r"the last pass was used up by the step\(\) before; call the model once for every step\(\)")
    in_order(sal, model)


@pytest.mark.parametrize("kind", ["linear", "deep"])
def test_evaluation_mode(kind):
    model = model_of(kind)
    sal = SAL(model)
    model.eval()(X)
    name = type(model).__name__
    refused(sal, NO_PASS + rf"the {name} was called in evaluation mode only; call model.train\(\) before the pass")
    in_order(sal, model.train())


@pytest.mark.parametrize("kind", ["linear", "hand loop"])
def test_forward_called_directly(kind):
    model = HandLoop(3) if kind == "hand loop" else model_of(kind)
    sal = SAL(model)
    model.forward(X)
    name = type(model).__name__
    refused(sal, NO_PASS + rf"the forward of {name} was called directly, which .*\. Call the model itself, model\(x\)")
    in_order(sal, model)


def test_layers_ran_outside_a_call_of_the_model():
    class Lit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = sequential(3, 6, 6, 2)

        def training_step(self, x):
            return self.net(x)

    model = Lit()
    sal = SAL(model)
    model.training_step(X)
    refused(sal, NO_PASS + r"watched layers ran \d times, but outside a call of the Lit that SAL was given.*SAL\(model.net\)")
    sal.detach()
    sal = SAL(model.net)
    model.training_step(X)
    sal.step()


def assigned(model: nn.Module) -> None:
    model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)


CHANGES = {
    "load_state_dict(assign=True)": assigned,
    "another parameter": lambda model: setattr(model[2], "weight", nn.Parameter(torch.eye(6))),
    "weight_norm": lambda model: parametrizations.weight_norm(model[2]),
    "spectral_norm": lambda model: parametrizations.spectral_norm(model[2]),
}


@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_another_tensor_is_the_weight_now(change, looked):
    model = sequential(3, 6, 6, 6, 2)
    sal = SAL(model)
    if looked:
        in_order(sal, model)
    CHANGES[change](model)
    model(X)
    with pytest.raises(RuntimeError, match=REPLACED):
        sal.step()
    sal.detach()
    in_order(SAL(model), model)


def test_pruning_after_sal_was_attached_keeps_the_weight_and_its_zeros():
    found = []
    for before in (True, False):
        model = sequential(3, 6, 6, 6, 2)
        sal = None if before else SAL(model, lr=0.1, target=50.0, decay=0.0)
        if sal is not None:
            model(X)  # the look is over when the layer is pruned
            sal.discard()
        prune.l1_unstructured(model[2], "weight", amount=0.5)
        sal = SAL(model, lr=0.1, target=50.0, decay=0.0) if before else sal
        for _ in range(2):
            model(X)
            weight, pre = model[2].weight.detach().clone(), model[2](model[:2](X)).detach()
            sal.step()
            torch.testing.assert_close(sal.sensitivity["2"], ((1 - pre.tanh().square()) * weight.norm(dim=1)).mean(0))
        model(X)
        assert (model[2].weight == 0).sum() == 18 and not torch.equal(weight, model[2].weight)
        found.append([*sal.sensitivity.values(), *model.parameters()])
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_functional_call_is_no_pass():
    model = sequential(3, 6, 6, 2)
    sal = SAL(model)
    in_order(sal, model)
    torch.func.functional_call(model, {name: 2 * p.detach() for name, p in model.named_parameters()}, (X,))
    refused(sal, REPLACED)
    in_order(sal, model)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch._dynamo's own, at a hook
def test_compiled_and_called_before_sal_was_attached():
    """PyTorch may or may not notice the new hooks; either the pass counts, or it is said what to do, and that helps."""
    torch.compiler.reset()
    model = sequential(3, 6, 6, 2)
    compiled = torch.compile(model, backend="eager")
    compiled(X)
    sal = SAL(model, lr=0.0)
    compiled(X)
    try:
        sal.step()
    except RuntimeError as error:
        assert "compiled and called before SAL was attached" in str(error) and "torch.compiler.reset()" in str(error)
        torch.compiler.reset()
        compiled(X)
        sal.step()
    u = model[2](model[:2](X)).detach()
    torch.testing.assert_close(sal.sensitivity["2"], ((1 - u.tanh().square()) * model[2].weight.norm(dim=1)).mean(0).detach())


def test_no_watched_layer_ran():
    class Drops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.hidden, self.last, self.drop = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 2), False

        def forward(self, x):
            h = torch.tanh(self.first(x))
            return self.last(h if self.drop else torch.tanh(self.hidden(h)))

    model = Drops()
    sal = SAL(model)
    in_order(sal, model)
    model.drop = True
    model(X)
    refused(sal, NO_PASS + "no watched layer ran in the passes since the last step")
    model.drop = False
    in_order(sal, model)


def test_a_pass_without_samples():
    model = sequential(3, 6, 6, 2)
    sal = SAL(model)
    model(X[:0])
    refused(sal, NO_PASS + "the last pass had no samples, .*skip empty batches")
    in_order(sal, model)
    model(X[:0]), model(X)  # beside a real one it is dropped
    sal.step()


def test_discarded_passes():
    model = sequential(3, 6, 6, 2)
    sal = SAL(model)
    model(X)
    sal.discard()
    with pytest.raises(RuntimeError, match=NO_PASS):
        sal.step()
    in_order(sal, model)


def test_after_an_exception_in_forward():
    model = sequential(3, 6, 6, 2)
    sal = SAL(model)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        model(X[:, :2])
    with pytest.raises(RuntimeError, match=NO_PASS):
        sal.step()
    in_order(sal, model)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: None, "no pass seen: the Sequential has not been called"),
        (lambda model: model.forward(X), "no pass seen: the forward of Sequential was called directly"),
        (lambda model: model[:3](X), "no pass seen: watched layers ran . times, but outside a call of the Sequential"),
        (lambda model: model(X[:0]), "no samples|no layer of this model could be measured"),
    ],
)
def test_the_monitor_gives_the_same_causes_in_place_of_an_empty_table(call, message):
    model = sequential(3, 6, 6, 2)
    with SensitivityMonitor(model) as monitor:
        call(model)
    for table in (monitor.summary(), monitor.history):
        assert table == []
        assert re.search(message, repr(table)), repr(table)


def test_after_discard():
    model = sequential(3, 6, 6, 2)
    sal = SAL(model)
    model(X)
    sal.discard()
    refused(sal, NO_PASS + r"discard\(\) has forgotten the passes; call the model once more")
    model(X)
    sal.step()
