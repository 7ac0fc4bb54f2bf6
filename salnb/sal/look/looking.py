"""When SAL looks: in the first pass in which a layer runs, or apart, in a call of the model that leaves no trace."""

import sys
import weakref
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from ...common.without_trace import without_trace
from ...networks.linear import ReplicaLinear
from ..layers import LEFT_OUT, UNSEEN, WATCHED, WatchedLayer
from .verdicts import Seen, in_place, judge, judge_named, named, same, settle
from .watcher import Watcher


def eagerly():
    """Compiled code runs as plain Python inside."""
    stance = getattr(torch.compiler, "set_stance", None)
    return nullcontext() if stance is None else stance("force_eager")


def call_with(model: nn.Module, example: object) -> tuple[tuple, dict]:
    """The arguments of a call of the model with these inputs: a tensor, a tuple of arguments, or a dictionary of them."""
    if isinstance(example, dict):
        return (), example
    return tuple(example) if type(example) in (tuple, list) else (example,), {}


def linear_fault(layer: WatchedLayer, inputs: object, output: object) -> str | None:
    """Why the output is not weight · input + bias, to the rounding of one product; None if it is."""
    if not isinstance(output, Tensor) or not isinstance(inputs, Tensor):
        return f"it takes {type(inputs).__name__} and gives {type(output).__name__}, not one tensor each"
    if isinstance(layer.module, ReplicaLinear) or output.is_nested:
        return None
    weight, bias = layer.effective_weight(), layer.module.bias
    product = layer.module._conv_forward if layer.is_convolution else F.linear
    if not layer.is_convolution and output.shape != (*inputs.shape[:-1], weight.shape[-2]):
        return f"its output has shape {tuple(output.shape)}, not that of weight · input + bias"
    expected = product(inputs, weight, bias)
    scale = product(inputs.abs(), weight.abs(), None if bias is None else bias.abs())
    limit = 8 * max(torch.finfo(tensor.dtype).eps for tensor in (output, expected)) * scale
    close = ((output - expected).abs() <= limit) | ~expected.isfinite()
    return None if bool(close.all()) else "its output is not weight · input + bias; its forward or a hook does something else"


class Guard:
    """Stops a watcher as soon as a call of the model has ended, in whatever way.

    PyTorch calls no hook any more after Ctrl-C. So the frame of the call holds the guard, and takes it along when it ends.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = weakref.ref(watcher)
        frame, code = sys._getframe(1), nn.Module._call_impl.__code__
        while frame is not None and (frame.f_code is not code or frame.f_locals.get("self") is not watcher.model):
            frame = frame.f_back
        if frame is None:  # the model is about to be called; who calls it stops the watcher
            self._watcher = lambda: None
        else:
            frame.f_locals[f"_salnb_guard_{id(self)}"] = self  # two SALs may look at one call

    def __del__(self) -> None:
        watcher = self._watcher()
        if watcher is not None:
            watcher.stop()


class Looks:
    """Decides which of the layers are watched, as soon as they have been seen running.

    Attributes:
        watching: the watcher of the look that is going on, or None.
        just_looked: whether a look apart has been made whose verdict is still to come.
        late: modules that did not run in the first look, and have a hook that begins another one.
    """

    def __init__(self, model: nn.Module, layers: list[WatchedLayer]) -> None:
        self._model, self._layers = weakref.ref(model), layers
        self.watching: Watcher | None = None
        self.just_looked = False
        self.late: set[nn.Module] = set()
        self._first = True
        self._finished: Watcher | None = None

    def needed(self) -> bool:
        """Whether this pass is to be looked at from its beginning."""
        return self._first and any(layer.status == UNSEEN for layer in self._layers)

    def begin(self, arguments: tuple, keywords: dict, *, partial: bool = False) -> None:
        self.watching = Watcher(self._model(), [layer for layer in self._layers if layer.status == UNSEEN])
        self.watching.begin(arguments, keywords, partial=partial)
        Guard(self.watching)

    def begin_late(self) -> None:
        """A layer that has not been seen yet is about to run: looks at the rest of this pass."""
        if self.watching is None:
            self.begin((), {}, partial=True)

    def look_apart(self, arguments: tuple, keywords: dict) -> None:
        """Calls the model once more with the same arguments, uncompiled and without a trace, and looks at that call."""
        model = self._model()
        with without_trace(model), eagerly():
            self.begin(arguments, keywords)
            try:
                output = model(*arguments, **keywords)
                self.watching.end(output)
                self._finished, self.just_looked = self.watching, True
            finally:
                self.stop()

    def stop(self) -> None:
        """Ends a look that an exception has left unfinished."""
        if self.watching is not None:
            self.watching.stop()
            self.watching = None

    def layer_called(self, layer: WatchedLayer, inputs: object, output: object) -> None:
        with self.watching.aside():
            fault = linear_fault(layer, inputs, output)
        self.watching.layer_called(layer, inputs, output, fault)

    def add_outputs(self, layer: WatchedLayer, calls: list[tuple], added: Sequence[list[Tensor]]) -> list[tuple]:
        """The calls with the outputs of other layers added, as the look has found them to belong together."""
        watcher = self.watching or self._finished
        if layer.status == UNSEEN and watcher is not None and watcher.calls.get(layer):
            layer.split_along = _time_dimensions(layer, calls, added, watcher)
        return add_outputs(calls, added, layer.name, layer.split_along)

    def conclude(self, output: object) -> None:
        """After the pass: what was seen becomes a verdict on every layer that ran. ValueError for a named layer that is unfit."""
        watcher = self.watching
        if watcher is not None:
            watcher.end(output)
            self.watching = None
        else:
            watcher, self._finished = self._finished, None
        self.just_looked = False
        verdicts = {}
        for layer, calls in watcher.calls.items():
            if calls and layer.status == UNSEEN:
                verdicts[layer] = (judge_named(layer, watcher), None) if layer.named and not layer.adds else (
                    (Seen(layer.given), None) if layer.adds else judge(layer, watcher))  # fmt: skip
        for layer, (seen, reason) in verdicts.items():
            layer.reason, layer.status = reason or "", LEFT_OUT if seen is None else WATCHED
            if seen is not None:
                settle(layer, seen)
            layer.copy = in_place(watcher.calls[layer])
        self._first = False


def add_outputs(
    calls: list[tuple], added: Sequence[list[Tensor]], name: str, split_along: Sequence[int | None] = ()
) -> list[tuple]:
    """The calls of a layer with the outputs of other layers added to its pre-activations, U = b(h) + a(x).

    The k-th call of the one belongs to the k-th of the other; a layer that took the whole sequence at once, as is common for
    the input, counts as one call per time step, along the dimension ``split_along``.
    """
    for outputs, along in zip(added, split_along or (0,) * len(added), strict=True):
        whole = len(outputs) == 1 and len(calls) > 1 and along is not None and outputs[0].ndim > 2
        if whole and outputs[0].shape[along] == len(calls):
            outputs = list(outputs[0].unbind(along))
        if len(outputs) != len(calls):
            raise RuntimeError(
                f"SAL: {name} ran {len(calls)} times in this pass, but a layer whose output is added to its own ran "
                f"{len(outputs)} times; their calls must come in pairs"
            )
        calls = [(x, u + other, *rest) for (x, u, *rest), other in zip(calls, outputs, strict=True)]
        # The sum is our own tensor: nothing outside can change it, so its version starts anew.
        calls = [(x, u, seen, None if u.is_inference() else u._version) for x, u, seen, _ in calls]
    return calls


def _time_dimensions(
    layer: WatchedLayer, calls: list[tuple], added: Sequence[list[Tensor]], watcher: Watcher
) -> tuple[int, ...]:
    """Along which dimension the added layers' outputs are taken apart, found by what really went into the activation.

    Raises:
        ValueError: the activation is another one, or its inputs are not the sum of these outputs.
    """
    seen = watcher.calls[layer]
    if fault := next((call.fault for call in seen if call.fault), None):
        raise ValueError(f"layers: {layer.name!r} cannot be watched: {fault}")
    then = next((consumer.then for call in seen for consumer in call.consumers if consumer.then is not None), None)
    if then is not None and not same(then, layer.given):
        raise ValueError(f"layers: {layer.name!r} was given {layer.given.name!r}, but the sum goes to "
                         f"{named(then, layer.given)}; give that one")  # fmt: skip
    inputs = [call.activated[0] for call in seen if call.activated]
    if len(inputs) != len(calls):
        raise ValueError(f"layers: {layer.name!r}: no {layer.given.name} was seen to take the sum of its output and those of the "
                         "layers given with it; give the layers that are added before the activation")  # fmt: skip
    for along in (0, 1):
        try:
            sums = add_outputs(calls, added, layer.name, (along,) * len(added))
        except RuntimeError:  # the shapes do not fit this way
            continue
        limit = 16 * torch.finfo(inputs[0].dtype).eps
        if all(u.shape == found.shape and torch.allclose(u.to(found.dtype), found, rtol=limit, atol=limit * float(u.abs().max()))
               for (_, u, *_), found in zip(sums, inputs, strict=True)):  # fmt: skip
            return (along,) * len(added)
    raise ValueError(f"layers: {layer.name!r}: what goes to {layer.given.name} is not the sum of its output and those of the "
                     "layers given with it; something else is added, or they belong together in another order")  # fmt: skip
