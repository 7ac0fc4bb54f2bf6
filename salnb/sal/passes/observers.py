"""The hooks on a watched layer's module: what they keep of a call."""

import weakref
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ...lyapunov.steps import refuse_unsupported
from ..hooks import in_transform, moves_with_training, samples_without_padding, version
from ..layers import UNSEEN, output_of
from ..look.functions import tensors_in
from ..rows.module_maps import ModuleMap, channels_of
from .gated_states import gated_cell_observation, gated_observations, refuse_another_output
from .rnn_states import cell_observation, rnn_observations


def recurrent_arguments(arguments: tuple, keywords: dict) -> tuple[object, Tensor | None]:
    """Input and initial state of a call of an nn.RNN or nn.RNNCell."""
    given = {**dict(zip(("input", "hx"), arguments, strict=False)), **keywords}
    return given["input"], given.get("hx")


class Observer:
    """The hooks of one module with watched layers, for a ``PassRecorder``."""

    def __init__(self, recorder: object, indices: list[int]) -> None:
        self._recorder = self.owner = weakref.ref(recorder)
        self._indices = indices
        first = recorder.watched[indices[0]]
        # A pruned layer has no parameter of this name, and takes the way through ``counts``, where its mask is read anew.
        self._index, self._layer, self._name = indices[0], first, "weight"
        kinds = {nn.RNN: self._observe_rnn, nn.RNNCell: self._observe_cell, (nn.GRU, nn.LSTM): self._observe_gated,
                 (nn.GRUCell, nn.LSTMCell): self._observe_gated_cell}  # fmt: skip
        self.hook = next((hook for kind, hook in kinds.items() if isinstance(first.module, kind)), self._observe)
        if isinstance(first.row_map, ModuleMap):
            self.hook = self._observe_module

    def before(self, module: nn.Module, arguments: tuple) -> None:
        """Before a layer that no look has seen yet: looks from here on, since it did not run in the pass that was looked at."""
        recorder = self._recorder()
        if recorder is not None and recorder.calls is not None and not in_transform():
            recorder.looks.begin_late()

    def _observe(self, module: nn.Module, arguments: tuple, keywords: dict, output: object) -> None:
        # Runs once per layer and call, 300 times in one pass of a deep net: every look-up here shows in the time of a step.
        recorder = self._recorder()
        if recorder is None or in_transform():
            return
        if recorder.calls is None:
            recorder.ran_outside()
            return
        layer = self._layer
        if module._parameters.get(self._name) is not layer.weight and not recorder.counts(self._indices):
            return
        inputs = arguments[0] if arguments else keywords["input"] if "input" in keywords else keywords.get("inputs")
        if recorder.looks.watching and layer.status == UNSEEN:
            recorder.looks.layer_called(layer, inputs, output)
        if not isinstance(output, Tensor):
            return
        if output.is_nested:
            with recorder.looks.watching.aside() if recorder.looks.watching else nullcontext():
                inputs, output = samples_without_padding(inputs), samples_without_padding(output)
        kept = inputs.detach().clone() if moves_with_training(inputs) else inputs.detach() if inputs.requires_grad else inputs
        output = output.detach() if output.requires_grad else output
        copy = layer.copy or layer.status == UNSEEN
        output = output.clone() if copy else output if layer.network is None else output_of(layer, output)
        recorder.calls[self._index].append((kept, output, version(kept), version(output)))

    def _recording(self) -> object | None:
        """The recorder if a call that runs now counts; else None, and a call outside a pass is noted."""
        recorder = self._recorder()
        if recorder is None or in_transform():
            return None
        if recorder.calls is None:
            recorder.ran_outside()
            return None
        return recorder if recorder.counts(self._indices) else None

    @torch.no_grad()
    def _observe_cell(self, module: nn.RNNCell, arguments: tuple, keywords: dict, output: Tensor) -> None:
        if (recorder := self._recording()) is None:
            return
        inputs, state = recurrent_arguments(arguments, keywords)
        before, after = cell_observation(module, inputs, state, output)
        recorder.calls[self._index].append((before, after, version(before), version(after)))

    @torch.no_grad()
    def _observe_rnn(self, module: nn.RNN, arguments: tuple, keywords: dict, output: object) -> None:
        if (recorder := self._recording()) is None:
            return
        inputs, state = recurrent_arguments(arguments, keywords)
        if module.training and module.dropout and module.num_layers > 1:
            raise RuntimeError(f"SAL: dropout={module.dropout} in training mode between the layers of nn.RNN hides their "
                               "pre-activations; set dropout=0")  # fmt: skip
        with torch.autocast(module.weight_hh_l0.device.type, enabled=False):
            dtype = module.weight_hh_l0.dtype
            if isinstance(inputs, PackedSequence):
                plain = inputs._replace(data=inputs.data.detach().to(dtype))
                out = output[0]._replace(data=output[0].data.detach())
            else:
                plain, out = inputs.detach().to(dtype), output[0].detach()
            observations = rnn_observations(module, plain, None if state is None else state.detach(), out)
        for index in self._indices:
            before, after = observations[recorder.watched[index].rnn_layer]
            recorder.calls[index].append((before, after, version(before), version(after)))
        recorder.note_layout(self._indices, module, inputs)

    def _observe_gated(self, module: nn.GRU | nn.LSTM, arguments: tuple, keywords: dict, output: object) -> None:
        if (recorder := self._recording()) is None:
            return
        inputs, state = recurrent_arguments(arguments, keywords)
        refuse_unsupported(module, f"SAL: the layer {self._layer.name!r}")
        with torch.autocast(module.weight_hh_l0.device.type, enabled=False):
            observations = gated_observations(module, inputs, state)
        recorder.note_layout(self._indices, module, inputs)
        refuse_another_output(self._layer.name, module, observations[-1][1], output)
        sample = inputs.data if isinstance(inputs, PackedSequence) else inputs
        for index in self._indices:
            before, after = observations[recorder.watched[index].rnn_layer]
            if not isinstance(inputs, PackedSequence):  # (T, B, ...), as a mask of samples expects it
                steps = sample.shape[1 if module.batch_first and sample.ndim == 3 else 0]
                before, after = (one.view(steps, -1, one.shape[-1]) for one in (before, after))
            recorder.calls[index].append((before, after, version(before), version(after)))

    def _observe_gated_cell(self, module: nn.GRUCell | nn.LSTMCell, arguments: tuple, keywords: dict, output: object) -> None:
        if (recorder := self._recording()) is None:
            return
        inputs, state = recurrent_arguments(arguments, keywords)
        before, after = gated_cell_observation(module, inputs, state, output)
        recorder.calls[self._index].append((before, after, version(before), version(after)))

    def _observe_module(self, module: nn.Module, arguments: tuple, keywords: dict, output: object) -> None:
        if (recorder := self._recording()) is None:
            return
        layer, given = self._layer, dict(enumerate(arguments)) | keywords
        name, row_map = layer.name, layer.row_map
        places = [place for place, value in given.items() if isinstance(value, Tensor)]
        if len(places) != 1 or len(tensors_in(given)) != 1 or not isinstance(output, Tensor):
            came = ", ".join(type(one).__name__ for one in given.values())
            raise RuntimeError(f"SAL: the layer {name!r} by rows was called with {came} and gave {type(output).__name__}; "
                               "expected one tensor each. Name a module that takes and gives one tensor")  # fmt: skip
        x = given[places[0]]
        if x.ndim < 2 or output.shape[0] != x.shape[0] or not (x.is_floating_point() and output.is_floating_point()):
            took, gave = f"{x.dtype} of shape {tuple(x.shape)}", f"{output.dtype} of shape {tuple(output.shape)}"
            raise RuntimeError(f"SAL: the layer {name!r} by rows took {took} and gave {gave}; expected floating-point numbers "
                               "(S, ..., M) and (S, ..., N)")  # fmt: skip
        with torch.inference_mode(False):
            kept, after = x.detach().clone(), output.detach().clone()
        row_map.along = channels_of(name, module, output)
        if row_map.remember(arguments, keywords, places[0]) or not row_map.is_compared(kept):
            with recorder.looks.watching.aside() if recorder.looks.watching else nullcontext():
                row_map.check(kept, after)
        recorder.calls[self._index].append((kept, after.movedim(row_map.along, -1), version(kept), None))
