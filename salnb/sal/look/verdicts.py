"""From what a look has seen of a layer to whether SAL can watch it, with which activation, and if not, why."""

from functools import partial

import torch
from torch import Tensor

from ...sensitivity.activations import Activation
from ..layers import WatchedLayer
from .notes import Consumer, LayerCall
from .watcher import Watcher


def same(one: Activation, other: Activation, sample: Tensor | None = None) -> bool:
    """Whether two activations are one function: the same object, or equal results on a grid."""
    if one is other:
        return True
    settings = [part.keywords for part in (one.function, other.function) if isinstance(part, partial)]
    if len(settings) == 2 and one.function.func is other.function.func and settings[0].keys() == settings[1].keys():
        if all(settings[0][name] is settings[1][name] for name in settings[0]):  # a PReLU does not take every grid
            return True
    near = torch.linspace(-8, 8, 129, dtype=torch.float64)
    grid = torch.cat([near, 8 * near, 80 * near]) if sample is None else sample  # ReLU6 differs from ReLU only beyond 6
    try:
        with torch.no_grad():
            results = one.function(grid.clone()), other.function(grid.clone())  # copies, since a function may work in place
            return bool(torch.allclose(*results, rtol=1e-6, atol=1e-6, equal_nan=True))
    except Exception:  # a PReLU with a slope for each neuron does not take the grid
        return False


def wide(like: Tensor) -> Tensor:
    """Numbers between -700 and 700, most of them near 0, of this shape: a PReLU's slopes are one for each neuron."""
    return 700 * torch.linspace(-1, 1, like.numel(), dtype=like.dtype, device=like.device).pow(3).view(like.shape)


def listed(names: list[str]) -> str:
    """Names once each, in the order in which they came: "a, b and c"."""
    names = list(dict.fromkeys(names))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def named(seen: Activation, given: Activation) -> str:
    """The name of the activation that was seen, as an answer to the one that was given."""
    return f"{seen.name!r}" + (" with other settings" if seen.name == given.name else "")


def live_consumers(call: LayerCall) -> list[Consumer]:
    """The consumers that count; an activation counts unless another one reaches the output and it does not."""
    live = [consumer for consumer in call.consumers if consumer.live]
    return live or [consumer for consumer in call.consumers if consumer.activation is not None][:1] or call.consumers[:1]


def seen_activation(calls: list[LayerCall]) -> tuple[Activation | None, str | None]:
    """The activation that takes exactly the layer's output in every call; else None and what takes it instead."""
    found: list[Activation] = []
    for call in calls:
        consumers = live_consumers(call)
        activations = [consumer for consumer in consumers if consumer.activation is not None]
        if len(consumers) != 1 and any(not same(c.activation, activations[0].activation) for c in activations[1:]):
            return None, f"its output goes to {listed([c.activation.name for c in activations])}"
        if len(activations) < len(consumers):
            others = [consumer for consumer in consumers if consumer.activation is None]
            behind = [consumer.then.name for consumer in others if consumer.then is not None]
            if activations:
                return None, f"its output goes to {listed([activations[0].activation.name, *(c.name for c in others)])}"
            if behind:
                return None, f"{listed([c.name for c in others])} stands between it and {behind[0]}"
            return None, f"no activation takes its output; it goes to {listed([c.name for c in others])}"
        if not consumers:
            return None, "no function of PyTorch was seen to take its output (torch.jit, or code outside PyTorch?)"
        found.append(activations[0].activation)
    for other in found[1:]:
        if not same(found[0], other):
            return None, f"{found[0].name} takes its output in one call and {other.name} in another"
    return found[0], None


def in_place(calls: list[LayerCall]) -> bool:
    """Whether something overwrites the output."""
    return any(consumer.in_place for call in calls for consumer in call.consumers)


def is_readout(layer: WatchedLayer, watcher: Watcher) -> bool:
    """Whether no further weights read what the layer makes."""
    if watcher.lost:  # the ways through the model are not all known; then the layer that runs last is the readout
        return watcher.order[-1] is layer and layer not in watcher.consumed
    return layer not in watcher.consumed


def judge(layer: WatchedLayer, watcher: Watcher) -> tuple[Activation | None, str | None]:
    """The activation of a layer that was not named, or None and the reason why it is not watched."""
    calls = watcher.calls[layer]
    if fault := next((call.fault for call in calls if call.fault), None):
        return None, fault
    if all(call.reads_input for call in calls):
        return None, "reads the input"
    if is_readout(layer, watcher):
        return None, "readout"
    return seen_activation(calls)


def judge_named(layer: WatchedLayer, watcher: Watcher) -> Activation:
    """The activation of a layer that was named; a ValueError if the name is wrong or the layer is not what it seems."""
    calls, given = watcher.calls[layer], layer.given
    if fault := next((call.fault for call in calls if call.fault), None):
        raise ValueError(f"layers: {layer.name!r} cannot be watched: {fault}")
    seen, reason = seen_activation(calls)
    if given is None:
        if seen is None:
            raise ValueError(f"layers: {layer.name!r} cannot be watched: {reason}. If an activation of your own takes its "
                             f"output, say which: layers={{{layer.name!r}: function}}")  # fmt: skip
        return seen
    if given.name == "identity" and all(c.activation is None for call in calls for c in live_consumers(call)):
        return given
    if seen is not None:
        behind = all(call.matched and not call.matched_at_once for call in calls)  # ReLU, and then a square
        if same(given, seen) or same(given, seen, wide(calls[0].expected)) or behind:
            return given
        raise ValueError(f"layers: {layer.name!r} was given {given.name!r}, but what takes its output is {named(seen, given)}; "
                         f"give that one, or only the name: layers=[{layer.name!r}]")  # fmt: skip
    # That something between does nothing in this pass (a dropout in evaluation mode, a clamp, a LoRA at its start) is no proof.
    live = [consumer for call in calls for consumer in live_consumers(call)]
    taken = any(c.activation is not None and same(c.activation, given) for c in live)
    between = any(c.activation is None and c.then is not None and same(c.then, given) for c in live)
    if all(call.matched for call in calls) and (taken or not between):
        return given
    raise ValueError(f"layers: {layer.name!r} was given {given.name!r}, but that does not take exactly its output: {reason}; "
                     "leave this layer out")  # fmt: skip
