"""Recording a pass: hooks keep the inputs and pre-activations of every watched layer during one call of the model."""

import itertools
import warnings
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ..hooks import (
    Hook,
    Observation,
    calls_in_progress,
    forward_in_progress,
    in_backward,
    in_transform,
)
from ..layers import UNSEEN, WATCHED, WatchedLayer
from ..look.functions import tensors_in
from ..look.looking import Looks
from .distributed import process_group
from .masks import counted
from .network_states import NetworkStates
from .observers import Observer
from .order import guard_backward
from .pooling import pooled
from .sums import Sums, non_finite

SERIAL = itertools.count()  # of two SALs on one layer the later one warns


class PassRecorder:
    """Keeps the calls of every watched layer in the last complete pass, and sums over the passes before it.

    Attributes:
        watched: the layers that are or may be watched; their ``status`` says which.
        finished: the observations of the last pass, a list for each layer; None if there is none that is not summed yet.
        sums: over the samples of earlier passes since the last ``forget()``, for each layer; None without any.
        number: how many passes have been recorded in all.
    """

    def __init__(
        self, model: nn.Module, watched: list[WatchedLayer], *, in_evaluation: bool = False, on_pass=None, guard: bool = False,
    ) -> None:  # fmt: skip
        self.watched, self.finished = watched, None
        self.sums: list[Sums | None] = [None] * len(watched)
        self._last = {layer.network: i for i, layer in enumerate(watched) if layer.network is not None}
        # A network of ours runs all its layers on the same samples: of each one layer tells whether there were any.
        self._looked_at = [i for i, layer in enumerate(watched) if layer.network is None or self._last[layer.network] == i]
        self._adding = [i for i, layer in enumerate(watched) if layer.adds]
        self.number, self.skipped, self.moved_after, self.mask, self.group = 0, 0, 0, None, None
        self._normalized = [i for i, layer in enumerate(watched) if layer.norm is not None]  # a monitor has looked before
        self.calls: list[list] | None = None
        self.looks = Looks(model, watched)
        self._model, self._in_evaluation = weakref.ref(model), in_evaluation
        self._on_pass, self._guard = None if on_pass is None else weakref.WeakMethod(on_pass), guard
        self._added: dict[nn.Module, list[Tensor]] = {}
        self._layouts: dict[int, str] = {}
        self._depth, self._apart, self._serial = 0, False, next(SERIAL)
        self.owner = weakref.ref(self)
        own = weakref.WeakMethod(self.counts)
        self._network_states = NetworkStates(watched, lambda indices: (found := own()) is not None and found(indices))
        self._network_states.owner = self.owner
        self.forget()
        by_module: dict[nn.Module, list[int]] = {}
        for index, layer in enumerate(watched):
            by_module.setdefault(layer.module, []).append(index)
        self._observers = {module: Observer(self, indices) for module, indices in by_module.items()}
        hooked = []
        for module, observer in self._observers.items():  # before the model's own hook, in case the model itself is the layer
            hooked.append((module.register_forward_hook, observer.hook, {"with_kwargs": True}))
        for module in {module for layer in watched for module in layer.adds}:
            hooked.append((module.register_forward_hook, self._keep_added, {}))
        hooked += [
            *self._network_states.hooks(),
            (model.register_forward_pre_hook, self._enter, {"prepend": True, "with_kwargs": True}),
            (model.register_forward_hook, self._succeed, {}),
            (model.register_forward_hook, self._leave, {"always_call": True}),
        ]
        self.handles = [register(Hook(function), **given) for register, function, given in hooked]
        self._handle_of = dict(zip(self._observers, self.handles, strict=False))
        self._network_states.one_by_one(self._handle_of)
        self._finalizer = weakref.finalize(self, _remove, self.handles)

    def remove(self) -> None:
        """Removes the hooks."""
        _remove(self.handles)
        self.looks.stop()
        self.finished, self.calls = None, None
        self.forget()

    def forget(self) -> None:
        """Forgets the passes so far; what happened since then explains, if need be, why there is no pass."""
        self.finished, self.sums = None, [None] * len(self.watched)
        self.outside = self.in_evaluation_mode = self.empty = self.skipped_now = self.passes = 0
        self.by_forward, self.replaced, self.discarded = False, "", False

    # --- a pass

    def _enter(self, module: nn.Module, arguments: tuple, keywords: dict) -> None:
        """Before a call of the model: a new pass begins, unless the model is calling itself."""
        if self._depth and calls_in_progress(module) <= 1 and not self._apart:
            self._depth = 0  # Ctrl-C during an earlier call: then PyTorch skips even the hooks that it always calls
            self.looks.stop()
        self._depth += 1
        if self._depth > 1:
            return
        ignored = in_transform() or in_backward() or torch._C._get_tracing_state() is not None
        counts = (module.training or self._in_evaluation) and not ignored
        self.in_evaluation_mode += not counts and not ignored
        self._added, self._layouts, self.calls = {}, {}, None
        if counts:
            self.add_up()
            if self.looks.needed():
                if Hook.compiled or _has_compiled_parts(module):
                    self.calls = [[] for _ in self.watched]
                    self.looks.look_apart(arguments, keywords)
                    self._added = {}
                else:
                    self.looks.begin(arguments, keywords)
            self.calls = [[] for _ in self.watched]
        self._network_states.begin()

    def look_at(self, arguments: tuple, keywords: dict) -> None:
        """One look without a trace at a call of the model with these arguments."""
        self.calls = [[] for _ in self.watched]
        self._depth, self._apart = 1, True  # so that this call is no pass
        try:
            try:
                self.looks.look_apart(arguments, keywords)
            except Exception as error:
                if str(error).startswith("layers:"):  # our own word on a named layer
                    raise
                raise ValueError(f"example: {type(self._model()).__name__} could not be called with it: {error}; give a tensor, "
                                 "a tuple of arguments or a dictionary of them") from error  # fmt: skip
            for index, layer in enumerate(self.watched):
                if layer.adds and self.calls[index]:
                    self.looks.add_outputs(layer, self.calls[index], [self._added.get(m, []) for m in layer.adds])
        finally:
            self._depth, self._apart = 0, False
            self.calls, self._added, self._layouts = None, {}, {}
        self.looks.conclude(None)
        self._after_look()

    def _succeed(self, module: nn.Module, arguments: tuple, output: object) -> None:
        """After a call of the model that returned: the pass is complete and ``step()`` can use it."""
        if self._depth != 1 or self.calls is None:
            return
        calls = self.calls
        self._network_states.replace(calls)
        for index in self._adding:
            if calls[index]:
                layer = self.watched[index]
                calls[index] = self.looks.add_outputs(layer, calls[index], [self._added.get(m, []) for m in layer.adds])
        if self.looks.watching or self.looks.just_looked:
            self.looks.conclude(output)
            self._after_look()
        if self._normalized:
            self._refuse_other_normalizations(module, calls)
        ends = [calls[last] for last in self._last.values()]
        whole = all(found and all(call[1].numel() for call in found) for found in ends)
        for index in self._looked_at if whole else range(len(calls)):
            if self.watched[index].status != WATCHED:
                calls[index] = []
            elif not all(call[1].numel() for call in calls[index]):
                self.empty += 1
                calls[index] = [call for call in calls[index] if call[1].numel()]
        if self.number == 0 and self._guard:
            self._warn_of_another()
        self.number += 1
        self.passes += 1
        self.finished = calls
        if self.mask is not None:
            self._count_masked()
        if self._guard:
            guard_backward(tensors_in(output), self)
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                self.group = process_group(module)
        if self._on_pass is not None and (on_pass := self._on_pass()) is not None:
            on_pass()

    def _refuse_other_normalizations(self, model: nn.Module, calls: list[list]) -> None:
        """A RuntimeError if a normalization is another one than in the look, or has thawed. A monitor leaves that row out."""
        modules = {*model.modules()}
        for index in (i for i in self._normalized if calls[i]):
            norm = self.watched[index].norm
            if norm.has_moved(modules):
                raise RuntimeError(f"SAL: the normalization behind the layer {self.watched[index].name!r} is another one than "
                                   "when SAL looked; attach SAL anew")  # fmt: skip
            if norm.uses_the_batch() and self._on_pass is not None:
                calls[index] = []
            elif norm.uses_the_batch():
                raise RuntimeError(f"SAL: the BatchNorm behind the layer {self.watched[index].name!r} is in training mode in "
                                   "this pass, which it was not when SAL looked. model.train() switches it back: call its eval() "
                                   "after every model.train()")  # fmt: skip

    def _warn_of_another(self) -> None:
        """Two SALs on one layer move it twice: said once, at the first pass of the second."""
        for layer in self.watched:
            if layer.status != WATCHED:
                continue
            watched = [layer.module] if layer.network is None else [layer.module, layer.network]
            for hook in (hook for module in watched for hook in module._forward_hooks.values()):
                owner = hook.owner() if isinstance(hook, Hook) else None
                if isinstance(owner, PassRecorder) and owner._guard and owner._serial < self._serial:
                    warnings.warn(f"SAL: the layer {layer.name!r} is watched by another SAL as well, and both will move it; call "
                                  "detach() of the one that is no longer needed", stacklevel=5)  # fmt: skip
                    return

    def _leave(self, module: nn.Module, arguments: tuple, output: object) -> None:
        """After every call of the model, even if it raised an exception."""
        self._depth -= 1
        if self._depth == 0:
            self.calls = None
            self.looks.stop()

    def _after_look(self) -> None:
        """Layers that are left out need no hooks any more; those that did not run get one that looks when they do."""
        self._normalized = [i for i, layer in enumerate(self.watched) if layer.norm is not None]
        for module, observer in self._observers.items():
            layers = [layer for layer in self.watched if layer.module is module]
            if all(layer.status not in (WATCHED, UNSEEN) for layer in layers):
                self._handle_of[module].remove()
            elif layers[0].status == UNSEEN and module not in self.looks.late:
                self.looks.late.add(module)
                self.handles.append(module.register_forward_pre_hook(Hook(observer.before)))

    # --- calls of single layers

    def counts(self, indices: list[int]) -> bool:
        """Whether a call that runs now belongs to the pass, and runs these layers with their own weights."""
        if self.calls is None or in_transform():
            return False
        for layer in (self.watched[i] for i in indices):
            if "weight_mask" in layer.module._buffers and "weight_orig" in layer.module._parameters:
                layer.mask = layer.module.weight_mask
            if layer.weight is not (current := layer.current_weight()):
                if self._on_pass is not None and isinstance(current, nn.Parameter):  # the monitor measures what is there
                    layer.weight, layer.bias = current, getattr(layer.module, "bias", None)
                    continue
                self.replaced = layer.name
                # It was replaced, or torch.func.functional_call runs the modules with the weights of another network.
                self.calls = None
                break
        return self.calls is not None

    def ran_outside(self) -> None:
        """A watched layer ran, but not in a call of the model that counts."""
        if not self._depth:
            if not self.outside and not in_backward():
                model = self._model()
                self.by_forward = model is not None and forward_in_progress(model)
            self.outside += not in_backward()

    def note_layout(self, indices: list[int], module: nn.RNN, inputs: object) -> None:
        packed = isinstance(inputs, PackedSequence)
        layout = "packed" if packed else "single" if inputs.ndim == 2 else "batch first" if module.batch_first else "time first"
        self._layouts |= dict.fromkeys(indices, layout)

    def _keep_added(self, module: nn.Module, arguments: tuple, output: Tensor) -> None:
        """The hook for a layer whose output is added to that of a watched one."""
        if self.calls is not None and not in_transform():
            self._added.setdefault(module, []).append(output.detach().clone())

    # --- what a step uses

    def _count_masked(self) -> None:
        """Sums the pass over the samples that count."""
        found, finished, self.finished = {}, self.finished, None  # a pass whose mask is refused does not count
        for index, layer in enumerate(self.watched):
            if finished[index]:
                pairs = [(x, u) for x, u, _, _ in finished[index]]
                pairs, masks = counted(layer, pairs, self.mask, self._layouts.get(index, ""))
                found[index] = pooled(layer, pairs, masks)
        if (bad := next((i for i, one in found.items() if not one.finite()), None)) is not None:
            self.skip(self.watched[bad].name)
            return
        for index, one in found.items():
            if bool(one.count.any()):
                self.sums[index] = one if self.sums[index] is None else self.sums[index] + one
            else:
                self.empty += 1

    def add_up(self) -> None:
        """Adds the last pass to the sums, so that the next one can take its place. A pass with NaN or infinity is left out."""
        if self.finished is None:
            return
        observations = self.observations()
        self.finished = None
        if self.skip_if_not_finite(observations):
            return
        for index, calls in enumerate(observations):
            if calls:
                found = pooled(self.watched[index], calls)
                self.sums[index] = found if self.sums[index] is None else self.sums[index] + found

    def skip_if_not_finite(self, observations: Sequence[Sequence[Observation]]) -> bool:
        """Whether these observations hold NaN or infinity; then they are counted as skipped, and said once."""
        # A recurrent tanh network and a deep one of ours hand NaN on to their last step and layer, and their states are bounded:
        # those tell of all. Where a call does not go on from the state of the one before, another call of the network begins.
        asked = []
        for i, (layer, calls) in enumerate(zip(self.watched, observations, strict=True)):
            recurrent = layer.rnn_layer is not None and layer.row_map is None
            stepwise = layer.network is not None or recurrent and layer.activation.name == "tanh"
            if stepwise and calls:
                final = self._last.get(layer.network, i)
                if final != i and len(calls) == len(observations[final]):
                    asked.append([])
                    continue
                ends = [k for k, (_, u) in enumerate(calls) if k + 1 == len(calls) or calls[k + 1][0] is not u]
                stacked = self._layouts.get(i) != "packed" and calls[0][1].ndim > layer.weight.ndim
                firsts = [calls[k][0] for k in (0, *(end + 1 for end in ends[:-1]))]  # which may be infinite
                tensors = [*((t, -1) for t in (calls[k][1] for k in ends)), *((t, 0) for t in firsts)]
                calls = [(t, t[step] if stacked else t) for t, step in tensors]
            asked.append(calls)
        bad = non_finite(asked)
        if bad is not None:
            self.skip(self.watched[bad].name)
        return bad is not None

    def skip(self, name: str) -> None:
        """Counts a pass as skipped; the first time a warning says so."""
        self.skipped_now += 1
        self.skipped += 1
        if self.skipped == 1:
            warnings.warn(f"SAL: the pass that just ended has NaN or infinite numbers in the layer {name!r}; it is left out, as "
                          "every such pass will be. sal.skipped_passes counts them; this is said once", stacklevel=4)  # fmt: skip

    def observations(self) -> list[list[Observation]]:
        """The calls of the last pass, a list for each layer, after the check that nothing was overwritten."""
        found = []
        for layer, calls in zip(self.watched, self.finished or [[]] * len(self.watched), strict=True):
            for x, u, seen_x, seen_u in calls:
                # An inference tensor counts no versions, and cannot be asked.
                if seen_x is not None and x._version != seen_x:
                    raise RuntimeError(f"SAL: the input of {layer.name} was changed in place after the layer ran (a buffer into "
                                       "which the next batch was copied?); call sal.step() or sal.discard() before, or give the "
                                       "layer a copy")  # fmt: skip
                if seen_u is not None and u._version != seen_u:
                    raise RuntimeError(f"SAL: the pre-activation of {layer.name} was changed in place after the layer ran, which "
                                       "it was not when SAL looked; attach SAL anew, or leave it as it is")  # fmt: skip
            found.append([(x, u) for x, u, _, _ in calls])
        return found


def _remove(handles: list) -> None:
    for handle in handles:
        handle.remove()


def _has_compiled_parts(model: nn.Module) -> bool:
    """Whether a part was given to ``torch.compile``: in it nothing could be seen."""
    parts = model.modules()
    return any(hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) is not None for part in parts)
