"""What the watched layers saw during one call of the model, kept by hooks that never change the computation."""

import torch
from torch import Tensor, nn

from .watch import WatchedLayer

Observation = tuple[Tensor, Tensor]  # inputs (..., B, M) and pre-activation (..., B, N) of one call of one layer


def _in_transform(*tensors: object) -> bool:
    """True for the wrapped tensors that vmap, jvp and grad of torch.func pass around: they are no data."""
    return any(isinstance(t, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(t) for t in tensors)


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


class _Hook:
    """A hook that is left behind when the model is copied or saved: the copy is not watched, and pickling works."""

    def __init__(self, function) -> None:
        self.function = function

    def __call__(self, *arguments):
        return None if self.function is None else self.function(*arguments)

    def __deepcopy__(self, memo) -> "_Hook":
        return _Hook(None)

    def __reduce__(self):
        return _Hook, (None,)


def rnn_observations(module: nn.RNN, inputs: Tensor, state: Tensor | None, output: Tensor) -> list[Observation]:
    """Recurrent inputs h_{t-1} and pre-activations of every layer of an nn.RNN; all but the last layer are run again."""
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
        before = torch.cat([start, out[:-1]])
        bias = own[2] + own[3] if module.bias else None
        found.append((before, nn.functional.linear(inputs, own[0], bias) + before @ own[1].mT))
        inputs = out
    return found


class PassRecorder:
    """Keeps, per watched layer, the calls of the last complete training pass: one call of ``model``.

    Attributes:
        finished: a list of observations per layer, or None when no pass is waiting to be used.
    """

    def __init__(self, model: nn.Module, watched: list[WatchedLayer]) -> None:
        self.watched, self.finished = watched, None
        self._calls: list[list] | None = None
        self._depth, self._foreign = 0, False
        by_module: dict[nn.Module, list[int]] = {}
        for index, layer in enumerate(watched):
            by_module.setdefault(layer.module, []).append(index)
        hooked = []
        for module, indices in by_module.items():  # before the model's own hook, for a model that is itself the layer
            hooked.append((module.register_forward_hook, self._observer(indices), {"with_kwargs": True}))
        hooked += [
            (model.register_forward_pre_hook, self._enter, {"prepend": True}),
            (model.register_forward_hook, self._succeed, {}),
            (model.register_forward_hook, self._leave, {"always_call": True}),
        ]
        # Hooks stay out of torch.compile's graph: what they keep is a side effect by design.
        self.handles = [register(_Hook(torch.compiler.disable(function)), **given) for register, function, given in hooked]

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.finished, self._calls = None, None

    def _enter(self, module: nn.Module, arguments: tuple) -> None:
        self._depth += 1
        if self._depth == 1 and module.training:
            self._calls, self._foreign = [[] for _ in self.watched], _in_transform(*arguments)

    def _succeed(self, module: nn.Module, arguments: tuple, output: object) -> None:
        if self._depth == 1 and self._calls is not None and not self._foreign:
            self.finished = self._calls

    def _leave(self, module: nn.Module, arguments: tuple, output: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._calls = None

    def _observer(self, indices: list[int]):
        @torch.no_grad()
        def observe(module: nn.Module, arguments: tuple, keywords: dict, output: object) -> None:
            if self._calls is None:
                return
            given = {**dict(zip(("input", "hx"), arguments, strict=False)), **keywords}
            inputs = given.get("input", given.get("inputs"))
            if _in_transform(inputs, output):
                self._foreign = True
            elif isinstance(module, nn.RNN):
                self._observe_rnn(indices, module, inputs, given.get("hx"), output[0])
            else:
                self._keep(indices[0], inputs.detach(), output.detach())

        return observe

    def _observe_rnn(self, indices: list[int], module: nn.RNN, inputs: object, state: object, output: object) -> None:
        if not isinstance(inputs, Tensor):
            raise TypeError(f"SAL: nn.RNN was called with a {type(inputs).__name__}; its samples have no common time axis. "
                            "Pad the sequences and pass a tensor")  # fmt: skip
        if module.dropout and module.num_layers > 1:
            raise RuntimeError(f"SAL: dropout={module.dropout} in training mode between the layers of nn.RNN hides their "
                               "pre-activations; set dropout=0")  # fmt: skip
        if _in_transform(*module.parameters(), state):
            self._foreign = True
            return
        observations = rnn_observations(module, inputs.detach(), state, output.detach())
        for index in indices:
            self._keep(index, *observations[self.watched[index].rnn_layer])

    def _keep(self, index: int, inputs: Tensor, pre_activation: Tensor) -> None:
        pre_activation = pre_activation.clone() if self.watched[index].copy else pre_activation
        self._calls[index].append((inputs, pre_activation, _version(inputs), _version(pre_activation)))

    def observations(self) -> list[list[Observation]]:
        """The calls of the waiting pass per layer, checked: every layer ran and nothing was overwritten since."""
        if self.finished is None:
            raise RuntimeError("SAL: there is no pass to use. Call the model in training mode (model.train()) after SAL was "
                               "attached, once for every step()")  # fmt: skip
        silent = [layer.name for layer, calls in zip(self.watched, self.finished, strict=True) if not calls]
        if silent:
            raise RuntimeError(f"SAL: the layers {', '.join(silent)} are watched but did not run in the last pass; "
                               "leave them out with layers=")  # fmt: skip
        for layer, calls in zip(self.watched, self.finished, strict=True):
            if any(_version(x) != seen_x or _version(u) != seen_u for x, u, seen_x, seen_u in calls):
                raise RuntimeError(f"SAL: the input or the pre-activation of {layer.name} was changed in place after the "
                                   f"layer ran; name its activation with layers={{{layer.name!r}: ...}}, or work on a copy")  # fmt: skip
        return [[(x, u) for x, u, *_ in calls] for calls in self.finished]
