"""From what a look has seen of a layer to whether SAL can watch it, with which activation, and if not, why."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ...sensitivity.activations import Activation
from ..layers import WatchedLayer
from ..rows.linear_maps import LinearMap
from ..rows.normalization import Normalization, folded
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


class Seen(NamedTuple):
    """What follows a layer: its activation, and the normalization between, if there is one."""

    activation: Activation
    norm: Normalization | None = None
    named: str = ""  # what the model calls the normalization

    def fault(self) -> str:
        """Why the layer has no row that could be given; an empty word if it has one."""
        fault = "" if self.norm is None else self.norm.fault
        return f"{self.named} stands between it and {self.activation.name}: {fault}" if fault else ""


def seen_behind(consumer: Consumer) -> tuple[Seen | None, str | None]:
    """What takes the result of a normalization of the layer's output."""
    seen, reason = seen_activation([consumer.behind])
    if seen is None:
        return None, f"{consumer.name} stands behind it, and then {reason}"
    if seen.norm is not None:
        return None, f"{consumer.name} and {seen.named} stand between it and {seen.activation.name}"
    return Seen(seen.activation, consumer.norm, consumer.name), None


def seen_activation(calls: list[LayerCall]) -> tuple[Seen | None, str | None]:
    """What takes exactly the layer's output in every call, perhaps behind a normalization; else None and what else takes it."""
    found: list[Seen] = []
    for call in calls:
        consumers = live_consumers(call)
        if len(consumers) == 1 and consumers[0].behind is not None:
            seen, reason = seen_behind(consumers[0])
            if seen is None:
                return None, reason
            found.append(seen)
            continue
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
        found.append(Seen(activations[0].activation))
    for other in found[1:]:
        if not same(found[0].activation, other.activation):
            return None, f"{found[0].activation.name} takes its output in one call and {other.activation.name} in another"
        if not same_normalization(found[0].norm, other.norm):
            return None, "one normalization takes its output in one call and another, or none, in another call"
    return found[0], None


def same_normalization(one: Normalization | None, other: Normalization | None) -> bool:
    """Whether both are the same module's, or both are none."""
    if one is None or other is None:
        return one is other
    parts = ("kind", "weight", "bias", "mean", "variance", "eps", "fault")
    return all((a := getattr(one, part)) is (b := getattr(other, part)) or not isinstance(a, Tensor) and a == b for part in parts)


def in_place(calls: list[LayerCall]) -> bool:
    """Whether something overwrites the output."""
    return any(consumer.in_place for call in calls for consumer in call.consumers)


def is_readout(layer: WatchedLayer, watcher: Watcher) -> bool:
    """Whether no further weights read what the layer makes."""
    if watcher.lost:  # the ways through the model are not all known; then the layer that runs last is the readout
        return watcher.order[-1] is layer and layer not in watcher.consumed
    return layer not in watcher.consumed


def judge(layer: WatchedLayer, watcher: Watcher) -> tuple[Seen | None, str | None]:
    """What follows a layer that was not named, or None and the reason why it is not watched."""
    calls = watcher.calls[layer]
    if fault := next((call.fault for call in calls if call.fault), None):
        return None, fault
    if all(call.reads_input for call in calls):
        return None, "reads the input"
    if is_readout(layer, watcher):
        return None, "readout"
    seen, reason = seen_activation(calls)
    return (None, seen.fault()) if seen is not None and seen.fault() else (seen, reason)


def judge_named(layer: WatchedLayer, watcher: Watcher) -> Seen:
    """What follows a layer that was named; a ValueError if the name is wrong or the layer is not what it seems."""
    calls, given = watcher.calls[layer], layer.given
    if fault := next((call.fault for call in calls if call.fault), None):
        raise ValueError(f"layers: {layer.name!r} cannot be watched: {fault}")
    seen, reason = seen_activation(calls)
    if seen is not None and seen.norm is not None:
        return judge_normalized(layer, seen, calls)
    if given is None:
        if seen is None:
            raise ValueError(f"layers: {layer.name!r} cannot be watched: {reason}. " + (
                "Name a module that holds the layer and its activation, by rows" if layer.by_rows else "If an activation of your "
                f"own takes its output, say which: layers={{{layer.name!r}: function}}"))  # fmt: skip
        return seen
    if given.name == "identity" and all(c.activation is None for call in calls for c in live_consumers(call)):
        return Seen(given)
    if seen is not None:
        behind = all(call.matched and not call.matched_at_once for call in calls)  # ReLU, and then a square
        if same(given, seen.activation) or same(given, seen.activation, wide(calls[0].expected)) or behind:
            return Seen(given)
        raise ValueError(f"layers: {layer.name!r} was given {given.name!r}, but what takes its output is "
                         f"{named(seen.activation, given)}; give that one, or only the name: "
                         f"layers=[{layer.name!r}]")  # fmt: skip
    # That something between does nothing in this pass (a dropout in evaluation mode, a clamp, a LoRA at its start) is no proof.
    live = [consumer for call in calls for consumer in live_consumers(call)]
    taken = any(c.activation is not None and same(c.activation, given) for c in live)
    between = any(c.activation is None and c.then is not None and same(c.then, given) for c in live)
    if all(call.matched for call in calls) and (taken or not between):
        return Seen(given)
    raise ValueError(f"layers: {layer.name!r} was given {given.name!r}, but that does not take exactly its output: {reason}; "
                     "leave this layer out")  # fmt: skip


def judge_normalized(layer: WatchedLayer, seen: Seen, calls: list[LayerCall]) -> Seen:
    """The same where a normalization stands between."""
    if fault := seen.fault():
        raise ValueError(f"layers: {layer.name!r} cannot be watched: {fault}")
    given = layer.given
    if given is None or same(given, seen.activation) or same(given, seen.activation, wide(calls[0].expected)):
        return seen
    raise ValueError(f"layers: {layer.name!r} was given {given.name!r}, but behind {seen.named} it is "
                     f"{named(seen.activation, given)}; give that one, or only the name: layers=[{layer.name!r}]")  # fmt: skip


def settle(layer: WatchedLayer, seen: Seen) -> None:
    """The layer gets the activation and, where its neurons have no slope each, the map whose rows are their sensitivities."""
    layer.activation, layer.norm = seen.activation, seen.norm
    if seen.norm is not None and seen.norm.kind == "batch":
        layer.activation = folded(seen.activation, seen.norm)
    if seen.norm is not None and seen.norm.kind != "batch":
        layer.row_map = LinearMap(layer, seen.norm, seen.activation)
    elif layer.by_rows and layer.only_measured:
        layer.row_map = LinearMap(layer, None, layer.activation)
