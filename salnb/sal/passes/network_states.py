"""Observing all layers of a ``DeepNet`` or a ``TanhRNN`` by one hook on the whole network.

A hook on a layer costs about as much as the layer's product: 300 of them, for 300 layers or 300 time steps, take a third of the
time of a forward pass. But these networks append their states h = tanh(U) to a list if they are given one, and the slopes
follow from h as well as from U.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...networks.deep import DeepNet
from ...networks.linear import ReplicaLinear
from ...networks.recurrent import TanhRNN
from ...sensitivity.activations import ACTIVATIONS
from ..hooks import Observation, version
from ..layers import WatchedLayer

Call = tuple[Tensor, Tensor, int | None, int | None]  # an observation and the versions of its tensors; None of our own copies


@torch.no_grad()
def layer_observations(
    network: nn.Module, arguments: tuple, keywords: dict, states: list[Tensor]
) -> dict[ReplicaLinear, list[Call]]:
    """Inputs (..., S, M) and outputs (..., S, N) of every layer that SAL may watch, from the ``states`` of this call."""
    if not states:
        return {}
    given = dict(zip(("inputs", "state"), arguments, strict=False)) | keywords
    if type(network) is DeepNet:
        each = torch.stack(states).unbind(0)  # a copy, since the caller may change the states
        reading = islice(network.hidden, 1, None)  # a slice of a ModuleList would build another ModuleList
        pairs = {layer: [(before, after)] for layer, before, after in zip(reading, each, each[1:], strict=False)}
    else:
        start = given.get("state")
        start = torch.zeros_like(states[0]) if start is None else start.expand(states[0].shape).to(states[0].dtype).clone()
        every, layer = [start, *(state.detach() for state in states)], network.recurrent[0]
        kept = None if network.replicas else torch.stack(every)  # with replicas the time steps stay apart
        pairs = {layer: list(zip(every, every[1:], strict=False)) if kept is None else [(kept[:-1], kept[1:])]}
    if states[0].dtype != network.readout.weight.dtype:
        drives = given["inputs"] if isinstance(network, TanhRNN) and network.n_in else None
        pairs = {layer: _recomputed(network, layer, found, drives) for layer, found in pairs.items()}
    if type(network) is TanhRNN and network.replicas:
        return {layer: [(x, h, version(x), version(h)) for x, h in found] for layer, found in pairs.items()}
    return {layer: [(*pair, None, None) for pair in found] for layer, found in pairs.items()}


def _recomputed(network: nn.Module, layer: ReplicaLinear, pairs: list[Observation], inputs: Tensor | None) -> list[Observation]:
    """The outputs once more in full precision: under autocast h has 8 bits, too few for 1 − h² where h is near 1."""
    dtype, function = layer.weight.dtype, ACTIVATIONS[layer.activation].function
    with torch.autocast(layer.weight.device.type, enabled=False):
        if inputs is None:
            drives = [None] * len(pairs)
        else:
            plain = inputs.ndim == 3  # shared by the replicas
            inputs = inputs.reshape(len(inputs), *[1] * len(network.replicas), *inputs.shape[1:]) if plain else inputs
            drives = network.input(inputs.to(dtype))
            drives = [drives] if len(pairs) == 1 else drives.unbind(0)
        befores = [before.to(dtype) for before, _ in pairs]
        return [(x, function(layer.forward(x, drive))) for x, drive in zip(befores, drives, strict=True)]


def _size(calls: Sequence[tuple]) -> int:
    """The number of outputs of a layer in all these calls."""
    return sum(call[1].numel() for call in calls)


class NetworkStates:
    """Observes, during a pass, those networks that give the states of their watched layers.

    At first the layers have hooks of their own as well, because a model may also run a layer without its network. A pass in
    which every call of a layer was a call of the network removes these hooks. If a model begins to run single layers after
    that, those calls are not observed. ``counts(indices)`` says whether a call of these layers belongs to a pass.
    """

    def __init__(self, watched: Sequence[WatchedLayer], counts: Callable[[list[int]], bool]) -> None:
        self._watched, self._counts = watched, counts
        self._networks: dict[nn.Module, list[int]] = {}
        for index, layer in enumerate(watched):
            if layer.network is not None:
                self._networks.setdefault(layer.network, []).append(index)
        self._one_by_one: dict[nn.Module, list[RemovableHandle]] = {}
        self.begin()

    def hooks(self) -> Iterator[tuple[Callable, Callable, dict]]:
        """The hooks to register: the method that registers it, the hook, and keyword arguments of the method."""
        for network in self._networks:
            yield network.register_forward_pre_hook, self._request, {"with_kwargs": True}
            yield network.register_forward_hook, self._collect, {"with_kwargs": True}

    def one_by_one(self, handle_of: dict[nn.Module, RemovableHandle]) -> None:
        """Remembers the hooks on single layers, to remove them when they are no longer needed."""
        for network, indices in self._networks.items():
            self._one_by_one[network] = [handle_of[self._watched[i].module] for i in indices]

    def begin(self) -> None:
        """Starts a new pass; the observations of the last one are forgotten."""
        self._requested: tuple[list[Tensor], int] | None = None
        self._found: dict[nn.Module, dict[ReplicaLinear, list[Call]]] = {}

    def replace(self, calls: list[list]) -> None:
        """Replaces the observations of single layers by those of their network, unless a layer also ran without it."""
        for network, found in self._found.items():
            of = {i: found.get(self._watched[i].module, []) for i in self._networks[network]}
            if network in self._one_by_one:
                if any(_size(calls[i]) != _size(found_calls) for i, found_calls in of.items()):
                    continue
                for handle in self._one_by_one.pop(network):
                    handle.remove()
            for i, found_calls in of.items():
                calls[i] = found_calls
        self._found = {}

    def _request(self, network: nn.Module, arguments: tuple, keywords: dict) -> tuple[tuple, dict] | None:
        """Before a call: makes the network append its states to a list, and remembers the list and its length."""
        self._requested = None
        if not self._counts([]):
            return None
        place = 1 if type(network) is DeepNet else 2
        given = arguments[place] if len(arguments) > place else keywords.get("states")
        states = [] if given is None else given
        self._requested = states, len(states)
        return (arguments[:place], {**keywords, "states": states}) if given is None else None

    def _collect(self, network: nn.Module, arguments: tuple, keywords: dict, output: object) -> None:
        """After a call: turns the states of this call into observations of the layers."""
        requested, self._requested = self._requested, None  # so that the states can be freed
        if requested is not None and self._counts(self._networks[network]):
            calls = self._found.setdefault(network, {})
            for layer, found in layer_observations(network, arguments, keywords, requested[0][requested[1] :]).items():
                calls.setdefault(layer, []).extend(found)
