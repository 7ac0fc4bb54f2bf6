"""Recording a pass: hooks keep the inputs and pre-activations of every watched layer during one call of the model."""

import torch
from torch import Tensor, nn

from .hooks import Hook, Observation, calls_in_progress, in_transform, moves_with_training, version
from .layers import WatchedLayer, output_of
from .network_states import NetworkStates


def rnn_observations(module: nn.RNN, inputs: Tensor, state: Tensor | None, output: Tensor) -> list[Observation]:
    """Recurrent inputs h_{t-1} and outputs h_t of every layer of an nn.RNN; the slopes follow from the outputs.

    An nn.RNN returns the states of its last layer alone, so the lower layers are run again. Both tensors are views of one copy,
    since the model may change its output in place.
    """
    if inputs.ndim == 2:  # no batch dimension
        inputs, output = inputs.unsqueeze(1), output.unsqueeze(1)
        state = None if state is None else state.unsqueeze(1)
    elif module.batch_first:
        inputs, output = inputs.transpose(0, 1), output.transpose(0, 1)
    if state is None:
        state = output.new_zeros((module.num_layers, inputs.shape[1], module.hidden_size))
    fused = torch.rnn_relu if module.nonlinearity == "relu" else torch.rnn_tanh
    found = []
    for layer, start in enumerate(state.to(inputs.dtype).split(1)):
        own = [getattr(module, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
               if module.bias or name.startswith("weight")]  # fmt: skip
        last = layer == module.num_layers - 1
        out = output if last else fused(inputs, start, own, module.bias, 1, 0.0, False, False, False)[0]
        states = torch.cat([start, out])
        before = states[:-1]
        if out.dtype != own[1].dtype and module.nonlinearity == "tanh":  # autocast: 1 - h² is lost in 8 bits where h is near 1
            pre = nn.functional.linear(inputs, own[0], own[2] + own[3] if module.bias else None) + before @ own[1].mT
            found.append((before, torch.tanh(pre.to(own[1].dtype))))
        else:
            found.append((before, states[1:]))
        inputs = out
    return found


def add_outputs(calls: list[tuple], added: list[list[Tensor]], name: str) -> list[tuple]:
    """The calls of a layer with the outputs of other layers added to its pre-activations, U = b(h) + a(x).

    The k-th call of the one belongs to the k-th of the other; a layer that took the whole sequence at once, as is common for
    the input, counts as one call per time step.
    """
    for outputs in added:
        if len(outputs) == 1 and len(calls) > 1 and outputs[0].ndim > 2 and len(outputs[0]) == len(calls):
            outputs = list(outputs[0].unbind(0))
        if len(outputs) != len(calls):
            raise RuntimeError(
                f"SAL: {name} ran {len(calls)} times in this pass, but a layer whose output is added to its own ran "
                f"{len(outputs)} times; their calls must come in pairs"
            )
        calls = [(x, u + other, *rest) for (x, u, *rest), other in zip(calls, outputs, strict=True)]
        # The sum is our own tensor: nothing outside can change it, so its version starts anew.
        calls = [(x, u, seen, None if u.is_inference() else u._version) for x, u, seen, _ in calls]
    return calls


class PassRecorder:
    """Keeps the calls of every watched layer in the last complete training pass. A pass is one call of ``model``.

    Attributes:
        finished: the observations of this pass, a list for each layer; None before the first pass and after ``step()``.
    """

    def __init__(self, model: nn.Module, watched: list[WatchedLayer], *, in_evaluation: bool = False, on_pass=None) -> None:
        self.watched, self.finished = watched, None
        self._in_evaluation, self._on_pass = in_evaluation, on_pass
        self._calls: list[list] | None = None
        self._added: dict[nn.Module, list[Tensor]] = {}
        self._network_states, self._depth = NetworkStates(watched, self._counts), 0
        by_module: dict[nn.Module, list[int]] = {}
        for index, layer in enumerate(watched):
            by_module.setdefault(layer.module, []).append(index)
        hooked = []
        for module, indices in by_module.items():  # before the model's own hook, in case the model itself is the layer
            hooked.append((module.register_forward_hook, self._observer(indices), {"with_kwargs": True}))
        for module in {module for layer in watched for module in layer.adds}:
            hooked.append((module.register_forward_hook, self._keep_added, {}))
        hooked += [
            *self._network_states.hooks(),
            (model.register_forward_pre_hook, self._enter, {"prepend": True}),
            (model.register_forward_hook, self._succeed, {}),
            (model.register_forward_hook, self._leave, {"always_call": True}),
        ]
        self.handles = [register(Hook(function), **given) for register, function, given in hooked]
        self._network_states.one_by_one(dict(zip(by_module, self.handles, strict=False)))

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.finished, self._calls = None, None

    def _enter(self, module: nn.Module, arguments: tuple) -> None:
        """Before a call of the model: a new pass begins, unless the model is calling itself."""
        if self._depth and calls_in_progress(module) <= 1:
            self._depth = 0  # Ctrl-C during an earlier call: then PyTorch skips even the hooks that it always calls
        self._depth += 1
        if self._depth == 1:
            counts = (module.training or self._in_evaluation) and not in_transform()
            self._calls, self._added = [[] for _ in self.watched] if counts else None, {}
            self._network_states.begin()

    def _succeed(self, module: nn.Module, arguments: tuple, output: object) -> None:
        """After a call of the model that returned: the pass is complete and ``step()`` can use it."""
        if self._depth == 1 and self._calls is not None:
            self._network_states.replace(self._calls)
            self.finished = [
                add_outputs(calls, [self._added.get(m, []) for m in a.adds], a.name) if a.adds else calls
                for calls, a in zip(self._calls, self.watched, strict=True)
            ]
            if self._on_pass is not None:
                self._on_pass()

    def _leave(self, module: nn.Module, arguments: tuple, output: object) -> None:
        """After every call of the model, even if it raised an exception."""
        self._depth -= 1
        if self._depth == 0:
            self._calls = None

    def _observer(self, indices: list[int]):
        """The hook for the watched layers ``indices`` of one module."""
        first = self.watched[indices[0]]
        index, weight, copy = indices[0], first.weight, first.copy

        def observe(module: nn.Module, arguments: tuple, keywords: dict, output: Tensor) -> None:
            # Runs once per layer and call, 300 times in one pass of a deep net: every look-up here shows in the time of a step.
            if self._calls is None or in_transform():
                return
            if module._parameters.get("weight") is not weight and not self._counts(indices):
                return
            inputs = arguments[0] if arguments else keywords["input"] if "input" in keywords else keywords["inputs"]
            kept = inputs.detach().clone() if moves_with_training(inputs) else inputs.detach() if inputs.requires_grad else inputs
            output = output.detach() if output.requires_grad else output
            output = output.clone() if copy else output if first.network is None else output_of(first, output)
            self._calls[index].append((kept, output, version(kept), version(output)))

        @torch.no_grad()
        def observe_rnn(module: nn.RNN, arguments: tuple, keywords: dict, output: object) -> None:
            if not self._counts(indices):
                return
            given = {**dict(zip(("input", "hx"), arguments, strict=False)), **keywords}
            self._observe_rnn(indices, module, given["input"], given.get("hx"), output[0])

        return observe_rnn if isinstance(first.module, nn.RNN) else observe

    def _counts(self, indices: list[int]) -> bool:
        """Whether a call that runs now belongs to the pass, and runs these layers with their own weights."""
        if self._calls is None or in_transform():
            return False
        if any(layer.weight is not layer.current_weight() for layer in (self.watched[i] for i in indices)):
            self._calls = None  # torch.func.functional_call runs the modules with the weights of another network
        return self._calls is not None

    def _keep_added(self, module: nn.Module, arguments: tuple, output: Tensor) -> None:
        """The hook for a layer whose output is added to that of a watched one."""
        if self._calls is not None and not in_transform():
            self._added.setdefault(module, []).append(output.detach().clone())

    def _observe_rnn(self, indices: list[int], module: nn.RNN, inputs: object, state: object, output: object) -> None:
        if not isinstance(inputs, Tensor):
            raise TypeError(f"SAL: nn.RNN was called with a {type(inputs).__name__}; its samples have no common time axis. "
                            "Pad the sequences and pass a tensor")  # fmt: skip
        if module.training and module.dropout and module.num_layers > 1:
            raise RuntimeError(f"SAL: dropout={module.dropout} in training mode between the layers of nn.RNN hides their "
                               "pre-activations; set dropout=0")  # fmt: skip
        observations = rnn_observations(module, inputs.detach(), state, output.detach())
        for index in indices:
            before, after = observations[self.watched[index].rnn_layer]
            self._calls[index].append((before, after, version(before), version(after)))

    def observations(self) -> list[list[Observation]]:
        """The calls of the last pass, a list for each layer, after checks that every layer ran and nothing was overwritten."""
        if self.finished is None:
            raise RuntimeError("SAL: there is no pass to use. Call the model in training mode (model.train()) after SAL was "
                               "attached, once for every step()")  # fmt: skip
        silent, empty, changed, found = [], False, [], []
        for layer, calls in zip(self.watched, self.finished, strict=True):
            pairs = []
            for x, u, seen_x, seen_u in calls:
                pairs.append((x, u))
                empty = empty or not u.numel()
                # An inference tensor counts no versions, and cannot be asked.
                if (seen_x is not None and x._version != seen_x) or (seen_u is not None and u._version != seen_u):
                    changed.append(layer.name)
            if not pairs:
                silent.append(layer.name)
            found.append(pairs)
        if silent:
            raise RuntimeError(f"SAL: the layers {', '.join(silent)} are watched but did not run in the last pass; "
                               "leave them out with layers=")  # fmt: skip
        if empty:
            raise RuntimeError("SAL: the last pass had no samples, so it says nothing of the neurons; skip empty batches")
        if changed:
            raise RuntimeError(f"SAL: the input or the pre-activation of {changed[0]} was changed in place after the layer "
                               f"ran; name its activation with layers={{{changed[0]!r}: ...}}")  # fmt: skip
        return found
