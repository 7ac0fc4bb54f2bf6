"""Hooks live no longer than their SAL, and two SALs on one layer are said once."""

import copy
import gc
import warnings
import weakref

import pytest
import torch
from torch import nn

from salnb import SAL, DeepNet, SensitivityMonitor, TanhRNN
from tests.problems import HandLoop, random, seeded, sequential

BUILD = {
    "linear": (lambda: sequential(3, 6, 6, 6, 2), (5, 3)),
    "hand loop": (lambda: HandLoop(3), (5, 3)),
    "deep": (lambda: DeepNet(3, 6, 2, 4, gain=0.8, generator=seeded()), (5, 3)),
    "flat": (lambda: TanhRNN(3, 6, 2, gain=0.8, replicas=(2,), generator=seeded()), (7, 5, 3)),
    "nn.RNN": (lambda: nn.RNN(3, 6, 2), (7, 5, 3)),
}


def hooks(model: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_always_called", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


@pytest.mark.parametrize("passes", [0, 1, 2])
@pytest.mark.parametrize("kind", BUILD)
def test_the_hooks_go_with_their_sal(kind, passes):
    make, shape = BUILD[kind]
    model = make()
    sal = SAL(model)
    for _ in range(passes):
        model(random(*shape).float())
        sal.step()
    torch.optim.lr_scheduler.StepLR(sal, 2)
    assert hooks(model) > 0
    gone = weakref.ref(sal)
    del sal
    gc.collect()
    assert gone() is None and hooks(model) == 0


@pytest.mark.parametrize("kind", BUILD)
def test_a_cell_that_is_run_again_leaves_one_set_of_hooks_and_no_warning(kind):
    """Also before the garbage collector comes by, since nothing refers to itself in a circle."""
    make, shape = BUILD[kind]
    model, counts = make(), []
    gc.collect()
    gc.disable()
    try:
        for _ in range(4):
            sal = SAL(model)
            counts.append(hooks(model))
            model(random(*shape).float())
            sal.step()
    finally:
        gc.enable()
    assert len(set(counts)) == 1


def test_a_layer_that_has_not_run_has_hooks_that_go_as_well():
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.hidden, self.idle, self.last = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.last(torch.tanh(self.hidden(torch.tanh(self.first(x)))))

    model = Sometimes()
    sal = SAL(model)
    for _ in range(2):
        model(random(5, 3).float())
        sal.step()
    assert len(model.idle._forward_pre_hooks) == 1
    sal.detach()
    assert hooks(model) == 0


@pytest.mark.parametrize("kind", BUILD)
def test_a_second_sal_on_the_same_layers_warns_once(kind):
    make, shape = BUILD[kind]
    model, x = make(), random(*shape).float()
    first = SAL(model)
    model(x)
    first.step()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        second = SAL(model)
        for _ in range(3):
            model(x)
            first.step(), second.step()
    assert len(said) == 1 and "is watched by another SAL as well" in str(said[0].message) and "detach()" in str(said[0].message)


def test_no_warning_for_other_layers_a_monitor_a_detached_one_or_a_copy():
    model, x = sequential(3, 6, 6, 6, 2), random(5, 3).float()
    one, other = SAL(model, layers=["2"]), SAL(model, layers=["4"])
    with SensitivityMonitor(model) as monitor:
        model(x)
    one.step(), other.step()
    assert len(monitor.history) == 2
    other.detach()
    again = SAL(model, layers=["4"])
    model(x)
    again.step()
    twin, sal = copy.deepcopy((model, one))
    twin(x)
    sal.step()


@pytest.mark.parametrize("kind", BUILD)
def test_a_copied_model_has_hooks_that_do_nothing(kind):
    make, shape = BUILD[kind]
    model, x = make(), random(*shape).float()
    sal = SAL(model)
    twin = copy.deepcopy(model)
    twin(x)
    with pytest.raises(RuntimeError, match="there is no pass to use"):
        sal.step()
    model(x)
    sal.step()


def test_torch_jit_is_answered_in_words():
    model = sequential(3, 6, 6, 2)
    sal = SAL(model)
    with pytest.raises(RuntimeError, match=r"SAL: torch.jit.script cannot compile .* sal.detach\(\) before"):
        torch.jit.script(model)
    sal.detach()
    torch.jit.script(model)
