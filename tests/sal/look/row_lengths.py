"""The lengths of Jacobian rows by autograd, what SAL and the monitor say of a model, and what a look must leave alone."""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)
from torch.nn.modules import module as torch_modules

from salnb import SAL, SensitivityMonitor
from tests.tolerances import close

Function = Callable[[Tensor], Tensor]


def copied(whole):
    """A deep copy whose tensors are no inference tensors."""
    with torch.inference_mode(False):
        return copy.deepcopy(whole)


# --- the oracle: hooks and autograd, nothing of SAL ----------------------------------------------------------------------
def inputs_of(model: nn.Module, names: Sequence[str], arguments: tuple, keywords: dict | None = None) -> dict[str, list[Tensor]]:
    """What the weights of these layers are given in one call of a copy of the model, call by call; the random state stays."""
    model, found = copied(model), {name: [] for name in names}
    for name in names:
        def keep(module, given, named, kept=found[name]):
            kept.append((given[0] if given else named["input"]).detach().clone())
        model.get_submodule(name).register_forward_pre_hook(keep, with_kwargs=True)  # after the user's own hooks  # fmt: skip
    with torch.random.fork_rng():
        model(*copied(arguments), **copied(keywords or {}))
    return found


def rows(layer: Function, function: Function, x: Tensor) -> Tensor:
    """The length (S, N) of each row of the Jacobian of function(layer(x)) by x, sample by sample (samples do not meet)."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.detach().clone().reshape(-1, x.shape[-1]).requires_grad_()  # a copy, because x may be of inference mode
        y = function(layer(x) * 1)  # the product, so that an activation may work in place
        gradients = [torch.autograd.grad(y[:, i].sum(), x, retain_graph=True)[0] for i in range(y.shape[-1])]
    return torch.stack([gradient.norm(dim=-1) for gradient in gradients], -1)


def row_lengths(
    model: nn.Module, functions: Mapping[str, Function], arguments: tuple, keywords: dict | None = None
) -> dict[str, Tensor]:
    """E[‖∂ function(layer(x)) / ∂x‖] (N,) of each layer over all its samples and calls, in the weights' own precision."""
    seen, found = inputs_of(model, list(functions), arguments, keywords), {}
    for name, function in functions.items():
        layer = copied(model.get_submodule(name))
        inputs, forward = [x.to(layer.weight.dtype) for x in seen[name]], layer.forward
        if isinstance(layer, nn.Conv2d):  # a neuron at a place is a linear map of the patch that it sees
            inputs = [F.unfold(x, layer.kernel_size, padding=layer.padding).mT for x in inputs]
            forward = partial(F.linear, weight=layer.weight.detach().flatten(1), bias=layer.bias.detach())
        found[name] = torch.cat([rows(forward, function, x) for x in inputs]).mean(0)
    return found


# --- what the library says -----------------------------------------------------------------------------------------------
def by_sal(model: nn.Module, arguments: tuple, keywords=None, layers=None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The sensitivities after one pass of a copy of the model, and the reasons why other layers have none."""
    model = copied(model)
    sal = SAL(model, layers=layers)
    with torch.random.fork_rng():
        model(*copied(arguments), **copied(keywords or {}))
    if all(row["watched"] == "no" for row in sal.report()):
        with pytest.raises(RuntimeError, match="no layer of this model can be watched"):
            sal.step()
    else:
        sal.step()
    return dict(sal.sensitivity), {row["layer"]: row["why"] for row in sal.report() if row["watched"] == "no"}


def by_monitor(model: nn.Module, arguments: tuple, keywords=None, layers=None) -> tuple[dict[str, float], dict[str, str]]:
    """The same of the monitor: the means over a layer's neurons."""
    model = copied(model)
    with SensitivityMonitor(model, layers) as monitor, torch.random.fork_rng():
        model(*copied(arguments), **copied(keywords or {}))
    assert [row["pass"] for row in monitor.history] == [0] * len(monitor.history)
    reasons = {row["layer"]: row["why"] for row in monitor.report() if row["watched"] == "no"}
    return {row["layer"]: row["mean"] for row in monitor.history}, reasons


def rounding_of(expected: Tensor) -> dict[str, float]:
    """Sums over at most 200 samples and 40 inputs, and the product of a slope and a length, in two orders."""
    return close(expected.dtype, 240, 2 * expected.max().item())


def assert_seen(
    model: nn.Module, functions: Mapping[str, Function], arguments: tuple, keywords: dict | None = None, *,
    why: Mapping[str, str] | None = None, layers=None, sal: bool = True,
) -> None:  # fmt: skip
    """SAL and the monitor watch exactly the layers of ``functions``, with autograd's numbers, and say ``why`` not of others."""
    expected = row_lengths(model, functions, arguments, keywords)
    for name, lengths in expected.items():
        assert lengths.max() > 0, f"{name}: the test says nothing"
    for say in ([by_sal] if sal else []) + [by_monitor]:
        found, reasons = say(model, arguments, keywords, layers)
        assert set(found) == set(functions), (say.__name__, found.keys(), reasons)
        for name, wanted in expected.items():
            wanted = wanted if say is by_sal else wanted.mean()
            torch.testing.assert_close(torch.as_tensor(found[name], dtype=wanted.dtype), wanted, **rounding_of(expected[name]))
        for name, words in (why or {}).items():
            assert re.search(words, reasons[name]), (say.__name__, name, reasons[name])


def assert_refused(model: nn.Module, arguments: tuple, layers, words: str, keywords: dict | None = None) -> None:
    """Both refuse what was named, in words, at once or in the first pass, and nothing watches any longer."""
    for say in by_sal, by_monitor:
        with pytest.raises((ValueError, TypeError), match=words):
            say(model, arguments, keywords, layers)
    assert torch.overrides._get_current_function_mode_stack() == []


# --- traces --------------------------------------------------------------------------------------------------------------
def global_state() -> tuple:
    """What a look could leave behind outside the model."""
    hooks = [dict(value) for name, value in vars(torch_modules).items() if name.startswith("_global_") and name.endswith("hooks")]
    return (torch.get_rng_state().tolist(), hooks, list(torch.overrides._get_current_function_mode_stack()),
            torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"))  # fmt: skip


def hooks_of(model: nn.Module) -> dict[str, int]:
    """How many hooks each module has, of any kind."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_always_called", "_backward_hooks", "_backward_pre_hooks")
    counted = {name: sum(len(getattr(module, kind)) for kind in kinds) for name, module in model.named_modules()}
    return {name: number for name, number in counted.items() if number}
