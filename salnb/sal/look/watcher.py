"""Watching one pass: which function takes exactly the output of each layer, and what flows from where to where.

While it watches, a ``TorchFunctionMode`` sees every call of a PyTorch function, and hooks see every call of a module. Each
tensor gets a note of where it comes from; nothing is computed differently.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ...sensitivity.activations import from_module
from ..hooks import calls_in_progress, samples_without_padding
from ..layers import WatchedLayer
from ..rows.normalization import SIGNATURES, normalization_of
from .functions import BETWEEN, SHAPES, WEIGHTED, activation_of, in_words, is_source, is_weighted, memory_of, name_of, tensors_in
from .modules import gives, tried
from .notes import NOTHING, Consumer, LayerCall, Note, merged, product, slopes_are_the_neurons

PLAIN_FORWARDS = tuple(kind.forward for kind in WEIGHTED)
OPAQUE = (nn.MultiheadAttention, nn.TransformerEncoder)  # inside them a mode would make PyTorch take another path


class Watcher(TorchFunctionMode):
    """Watches from ``begin`` to ``end`` what becomes of the outputs of ``layers``.

    Attributes:
        calls: of each layer, in the order in which they ran.
        consumed: the layers whose output reached further weights.
        lost: whether a layer was given a tensor of unknown origin after other layers had run.
    """

    def __init__(self, model: nn.Module, layers: list[WatchedLayer]) -> None:
        super().__init__()
        self.model = model
        self.calls: dict[WatchedLayer, list[LayerCall]] = {layer: [] for layer in layers}
        self.consumed: set[WatchedLayer] = set()
        self.order: list[WatchedLayer] = []
        self.lost, self.partial, self._named = False, False, any(layer.given is not None for layer in layers)
        self._notes: dict[int, tuple[weakref.ref, Note]] = {}
        self._outputs: dict[object, list[weakref.ref]] = {}  # by their memory: what holds outputs of layers, or was made of them
        # Module, whether we watch inside, its inputs, the call whose output it took and what took that inside, a copy of it.
        self._frames: list[tuple[nn.Module, bool, Note, list, Tensor | None]] = []
        self._handles, self._busy, self._on, self._ran_weights = [], False, False, False

    # --- beginning and end

    def begin(self, arguments: tuple, keywords: dict, *, partial: bool = False) -> None:
        """Watches from now on; ``partial``: the pass has begun already, so that nothing is known of what came before."""
        self.partial = partial
        for tensor in tensors_in((arguments, keywords)):
            self._write(tensor, Note(from_input=True))
        for tensor in self.model.buffers():
            self._write(tensor, Note())
        # Without gradients nothing tells a constant from what was computed out of sight.
        self._learns = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in self.model.parameters())
        for module in self.model.modules():
            if module is not self.model and not isinstance(module, torch.jit.ScriptModule):
                self._handles += [module.register_forward_pre_hook(self._enter_module, prepend=True),
                                  module.register_forward_hook(self._leave_module)]  # fmt: skip
        if isinstance(self.model, OPAQUE):
            self._frames.append((self.model, False, Note(from_input=True), [], None))
        self._switch(not self._frames)

    def end(self, output: object) -> None:
        """Stops, and notes which consumers the model's output depends on."""
        self.stop()
        with self.aside():
            for tensor in tensors_in(output):
                self._recognize(tensor)
        outputs = [self.note(tensor) for tensor in tensors_in(output)]
        live = merged(outputs).marks
        # If nothing is known of the output, every consumer counts.
        known = any(not note.unknown for note in outputs)
        for call in (deeper for calls in self.calls.values() for first in calls for deeper in first.and_behind()):
            call.output = None
            for consumer in call.consumers:
                consumer.live = consumer.live or consumer in live or not known
        self._notes.clear()
        self._outputs.clear()

    def stop(self) -> None:
        """Stops watching, also where an exception has left the pass unfinished."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._frames = [], []
        self._switch(False)

    def _switch(self, on: bool) -> None:
        if on and not self._on:
            self.__enter__()
        elif self._on and not on:
            above = []  # modes that were entered later and are in force still: only after an interrupted pass
            while (mode := torch.overrides._get_current_function_mode()) is not self and mode is not None:
                above.append(mode)
                torch.overrides._pop_mode()
            if mode is self:
                self.__exit__(None, None, None)
            for mode in reversed(above):
                torch.overrides._push_mode(mode)
        self._on = on

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Computations of our own, which are not the model's."""
        before, self._busy = self._busy, True
        try:
            with torch.no_grad():
                yield
        finally:
            self._busy = before

    # --- notes

    def note(self, tensor: Tensor) -> Note:
        found = self._notes.get(id(tensor))
        if found is not None and found[0]() is tensor:
            return found[1]
        if isinstance(tensor, nn.Parameter):
            return Note(is_weight=True, view_of=tensor)
        # What no gradient flows to is a constant of the user's, like a mask or a scale.
        return Note() if self._learns and not tensor.requires_grad else NOTHING

    def _write(self, tensor: Tensor, note: Note) -> None:
        reference = weakref.ref(tensor)
        self._notes[id(tensor)] = reference, note
        if note.exact or note.derived:
            self._outputs.setdefault(memory_of(tensor), []).append(reference)

    def _write_in_place(self, tensor: Tensor, note: Note) -> None:
        """All tensors that share the memory of this one have changed with it."""
        for reference in self._outputs.pop(memory_of(tensor), ()):
            if (other := reference()) is not None and other is not tensor:
                self._write(other, note)
        self._write(tensor, note)

    # --- functions

    def __torch_function__(self, function: Callable, types, arguments=(), keywords=None):
        keywords = keywords or {}
        if self._busy or not self._frames and not calls_in_progress(self.model):
            return function(*arguments, **keywords)
        result = function(*arguments, **keywords)
        name = name_of(function)
        seen = arguments[0] if name == "__setitem__" else result
        if isinstance(seen, Tensor | list | tuple):
            self._busy = True
            try:
                self._called(name, arguments, keywords, seen)
            finally:
                self._busy = False
        return result

    def _called(self, name: str, arguments: tuple, keywords: dict, result: object) -> None:
        results, tensors = tensors_in(result), tensors_in((arguments, keywords))
        if not results:
            return
        first = tensors[0] if tensors else None
        if is_source(name):
            for tensor in results:
                self._write(tensor, Note())
            return
        if name == "unbind" and first is not None and first.is_nested:  # SAL's own hook does this, among others
            for tensor in results:
                self._write(tensor, merged([self.note(first)]))
            return
        for tensor in tensors:
            self._recognize(tensor)
        notes = [self.note(tensor) for tensor in tensors]
        if name in SHAPES:
            for tensor in results:
                # What only looks at the numbers of another tensor is that tensor; float16 for float32 is near enough.
                self._write(tensor, self.note(first))
            return
        all_of = merged(notes)
        weighted = is_weighted(name, tensors, lambda tensor: self.note(tensor).is_weight)
        if weighted:
            self._through_weights(all_of)
            all_of = Note(weighted=True, from_input=all_of.from_input)
        all_of.product_of = product(name, weighted, notes)
        changed = [tensor for tensor in results if any(tensor is other for other in tensors)]
        derived = self._take(name, arguments, keywords, tensors, notes, all_of, any(tensor is first for tensor in changed))
        numbers = any(tensor.is_floating_point() or tensor.is_complex() for tensor in results)  # not indices and comparisons
        all_of.derived, all_of.also = (derived[0], tuple(derived[1:])) if derived and not weighted and numbers else (None, ())
        if all_of.exact is not None:  # a normalization of exactly a layer's output: what takes its result is the activation
            all_of.exact.output, all_of.pending = results[0].detach(), frozenset([all_of.exact.layer])
            all_of.derived, all_of.also = None, ()
        for tensor in results:
            if self._named:
                self._compare(tensor, notes)
            (self._write_in_place if any(tensor is other for other in changed) else self._write)(tensor, all_of)

    def _take(self, name, arguments, keywords, tensors, notes, all_of: Note, in_place: bool) -> list:
        """Notes that a function took tensors; returns the calls from whose outputs its result was made without activation."""
        found, marks = [], set()
        first = self.note(tensors[0]) if tensors else NOTHING
        alone = first.exact is not None or first.derived is not None
        activation = activation_of(name, arguments, keywords) if alone else None
        for note in notes:
            if note.exact is not None:
                mine = activation if note is first and slopes_are_the_neurons(note.exact.layer, activation, tensors[0]) else None
                consumer = Consumer(in_words(name), activation=mine, in_place=in_place)
                if name in SIGNATURES and note is first:
                    call, given = note.exact, (name, arguments, keywords)
                    consumer.norm = normalization_of(*given, call.output, call.layer.is_convolution, self.model)
                    consumer.behind = all_of.exact = LayerCall(call.layer)
                note.exact.consumers.append(consumer)
                marks.add(consumer)
                for frame in self._frames:
                    if frame[3] and frame[3][0] is note.exact:
                        frame[3].append(consumer)
                if mine is None and consumer.behind is None:
                    found.append((note.exact, consumer))
            elif note.derived is not None:
                for call, consumer in (note.derived, *note.also):
                    if activation is not None and note is first:
                        consumer.then = consumer.then or activation
                        if call.layer.adds or any(call.layer.module in layer.adds for layer in self.calls):
                            call.activated.append(tensors[0].detach().clone())
                    else:
                        found.append((call, consumer))
        all_of.marks |= marks
        return found

    def _compare(self, tensor: Tensor, notes: list[Note]) -> None:
        """Whether this tensor is what the activation, which the user named, makes of a layer's output."""
        calls = {note.exact for note in notes if note.exact is not None}
        calls |= {call for note in notes if note.derived for call, _ in (note.derived, *note.also)}
        for call in calls:
            if not call.matched and self._match(call, tensor):
                call.matched_at_once = True
        for note in notes:  # behind an activation: x · sigmoid(x) is made of both
            for consumer in note.marks:
                if (consumer.activation or consumer.then) is not None and (call := self._call_of(consumer)) is not None:
                    self._match(call, tensor)

    def _recognize(self, tensor: Tensor) -> None:
        """A tensor that was made where nothing could be seen (torch.jit) may be what the activation that the user named gives."""
        if id(tensor) in self._notes and self._notes[id(tensor)][0]() is tensor or isinstance(tensor, nn.Parameter):
            return
        for layer, calls in self.calls.items():
            for call in calls:
                if call.expected is not None and not call.matched and self._match(call, tensor):
                    self._write(tensor, Note(pending=frozenset([layer]), weighted=True))
                    return

    def _call_of(self, consumer: Consumer) -> LayerCall | None:
        for calls in self.calls.values():
            if calls and calls[-1].expected is not None and consumer in calls[-1].consumers:
                return calls[-1]
        return None

    def _match(self, call: LayerCall, tensor: Tensor) -> bool:
        expected = call.expected
        if expected is None or call.matched or not tensor.is_floating_point():
            return call.matched
        tensor = samples_without_padding(tensor)
        if tensor.numel() != expected.numel():
            return False
        limit = 32 * torch.finfo(tensor.dtype).eps
        with torch.no_grad():
            found, wanted = tensor.detach().reshape(-1), expected.to(tensor.dtype).reshape(-1)
            call.matched = bool(torch.allclose(found, wanted, rtol=limit, atol=limit, equal_nan=True))
        return call.matched

    # --- modules

    def _enter_module(self, module: nn.Module, arguments: tuple) -> None:
        if self._busy or not self._handles or not calls_in_progress(self.model):
            return
        tensors = tensors_in(arguments)
        parent = self._frames[-1] if self._frames else None
        if parent is not None and not parent[1]:  # a part of a module that is not watched inside: what comes in comes from there
            for tensor in tensors:
                if self._unseen(tensor):
                    self._write(tensor, parent[2])
        with self.aside():
            for tensor in tensors:
                self._recognize(tensor)
            notes = [self.note(tensor) for tensor in tensors]
            taken = [notes[0].exact] if len(notes) == 1 and notes[0].exact is not None else []
            before = tensors[0].clone() if taken and not tensors[0].is_nested else None
        inside = not isinstance(module, OPAQUE) and (parent is None or parent[1] or type(parent[0]) is nn.TransformerEncoder)
        self._frames.append((module, inside, merged(notes), taken, before))
        self._switch(inside)

    def _leave_module(self, module: nn.Module, arguments: tuple, output: object) -> None:
        if self._busy or all(frame[0] is not module for frame in self._frames):
            return
        while True:  # an exception that the model itself caught leaves frames behind
            left, _, inputs, taken, before = self._frames.pop()
            if left is module:
                break
        outputs = tensors_in(output)
        has_weights = any(parameter.ndim >= 2 for parameter in module.parameters())
        for tensor in outputs:
            if self._unseen(tensor):  # made where nothing could be seen: compiled, scripted, a function of autograd's
                if has_weights:
                    self._through_weights(inputs)
                    self._write(tensor, Note(weighted=True, from_input=inputs.from_input))
                else:
                    self._write(tensor, merged([inputs]))
        if taken and len(outputs) == 1:
            self._took(module, taken[0], taken[1:], before, outputs[0])
        self._switch(not self._frames or self._frames[-1][1])

    def _took(self, module: nn.Module, call: LayerCall, inside: list[Consumer], before: Tensor | None, output: Tensor) -> None:
        """A module took exactly the output of a layer: it may be an activation as a whole."""
        activation = from_module(module)
        if activation is not None and activation.name == "identity" or self.note(output).exact is call:
            return
        if normalizing := [consumer for consumer in inside if consumer.behind is not None]:
            for consumer in normalizing:
                if consumer.behind is self.note(output).exact:
                    consumer.name = type(module).__name__  # the module is that normalization, and nothing more
            return  # what else it does has been noted
        with self.aside():
            if activation is None and not isinstance(module, BETWEEN):
                activation = tried(module, output)
            if not slopes_are_the_neurons(call.layer, activation, output):
                return
            if activation is not None and not gives(call.layer, activation, before, output):
                activation = None  # a hook of the user's does something else
        if activation is None and not isinstance(module, BETWEEN):
            return  # its parts have been noted one by one
        then = next((consumer.then for consumer in inside if consumer.then is not None), None)
        in_place = getattr(module, "inplace", False) or any(consumer.in_place for consumer in inside)
        consumer = Consumer(type(module).__name__, activation=activation, then=then, in_place=bool(in_place))
        call.consumers = [other for other in call.consumers if other not in inside] + [consumer]
        for frame in self._frames:
            if frame[3] and frame[3][0] is call:
                frame[3][:] = [call] + [other for other in frame[3][1:] if other not in inside] + [consumer]
        note = self.note(output)
        derived = None if activation is not None else (call, consumer)
        marks = note.marks - set(inside) | {consumer}
        self._write(output, Note(pending=note.pending or frozenset([call.layer]), marks=frozenset(marks), weighted=True,
                                 from_input=note.from_input, derived=derived))  # fmt: skip

    def _unseen(self, tensor: Tensor) -> bool:
        """Whether nothing is noted of the tensor."""
        found = self._notes.get(id(tensor))
        return (found is None or found[0]() is not tensor) and not isinstance(tensor, nn.Parameter)

    # --- layers

    def layer_called(self, layer: WatchedLayer, inputs: Tensor, output: Tensor, fault: str | None) -> None:
        """Called by the layer's own hook, after the layer has run."""
        if not isinstance(inputs, Tensor) or not isinstance(output, Tensor):  # which is its fault
            self.calls[layer].append(LayerCall(layer, fault=fault))
            self.order.append(layer)
            return
        note, made = self.note(inputs), self.note(output)
        plain = isinstance(layer.module, WEIGHTED) and layer.module._parameters.get("weight") is layer.weight
        own_forward = type(layer.module).forward not in PLAIN_FORWARDS or "forward" in vars(layer.module)
        (matrices, vectors), bias = made.product_of, [] if layer.bias is None else [layer.bias]
        product_is = any(one is layer.weight for one in matrices) and [*map(id, vectors)] == [*map(id, bias)]
        if fault is None and plain and not product_is and (own_forward or not self._unseen(output)):
            fault = "its output is not what F.linear(input, weight, bias) returns; its own forward or a hook does more than that"
        if fault is None and not slopes_are_the_neurons(layer, layer.given, output):
            fault = "the slopes of its prelu lie along dimension 1 of its output, not one for each neuron"
        from_nowhere = note.is_weight or note.unknown and not (note.weighted or note.from_input)
        self.lost = self.lost or from_nowhere and self._ran_weights and not self.partial
        known = not note.unknown or note.from_input or not self._ran_weights
        reads = not note.weighted and not note.is_weight and known and not self.partial
        call = LayerCall(layer, fault=fault, reads_input=reads, output=output.detach())
        if layer.given is not None and not layer.adds:
            with self.aside():
                try:
                    call.expected = layer.given.function(samples_without_padding(output).detach().clone())
                except Exception as error:
                    raise ValueError(f"layers: the activation given for {layer.name!r}, {layer.given.name}, cannot be "
                                     f"called with the layer's output ({output.dtype}): {error}") from error  # fmt: skip
        self.calls[layer].append(call)
        self.order.append(layer)
        self._through_weights(note)
        self._write(output, Note(exact=call, pending=frozenset([layer]), weighted=True, from_input=note.from_input))

    def _through_weights(self, note: Note) -> None:
        """What reaches further weights counts: the layers it comes from are no readouts, its consumers are no dead ends."""
        self.consumed |= note.pending
        for consumer in note.marks:
            consumer.live = True
        self._ran_weights = True
