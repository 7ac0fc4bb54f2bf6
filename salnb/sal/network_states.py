"""What a single call of one of our own networks says of all its layers, without a hook on each of them.

A hook costs about as much as the product that it watches: 300 of them, in 300 layers or 300 time steps, are a third of a
forward pass. Our networks hand their states over anyway, h = tanh(U), and the slopes follow from these as from U.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..networks.deep import DeepNet
from ..networks.linear import ReplicaLinear
from ..networks.recurrent import TanhRNN
from ..sensitivity.activations import ACTIVATIONS
from .hooks import Observation, version
from .layers import WatchedLayer

Call = tuple[Tensor, Tensor, int | None, int | None]  # an observation, and the versions of its tensors if others have them


@torch.no_grad()
def layer_observations(
    network: nn.Module, arguments: tuple, keywords: dict, states: list[Tensor]
) -> dict[ReplicaLinear, list[Call]]:
    """Inputs (..., S, M) and outputs (..., S, N) of every layer that SAL may watch; ``states`` are those of this call."""
    if not states:
        return {}
    given = dict(zip(("inputs", "state"), arguments, strict=False)) | keywords
    if type(network) is DeepNet:
        each = torch.stack(states).unbind(0)  # a copy: whoever has the states may change them
        reading = islice(network.hidden, 1, None)  # a slice of the list would be made anew every time
        pairs = {layer: [(before, after)] for layer, before, after in zip(reading, each, each[1:], strict=False)}
    else:
        start = given.get("state")
        start = torch.zeros_like(states[0]) if start is None else start.expand(states[0].shape).to(states[0].dtype).clone()
        every, layer = [start, *(state.detach() for state in states)], network.recurrent[0]
        kept = None if network.replicas else torch.stack(every)  # replicas lie between time and samples: copied only in parts
        pairs = {layer: list(zip(every, every[1:], strict=False)) if kept is None else [(kept[:-1], kept[1:])]}
    if states[0].dtype != network.readout.weight.dtype:
        drives = given["inputs"] if isinstance(network, TanhRNN) and network.n_in else None
        pairs = {layer: _recomputed(network, layer, found, drives) for layer, found in pairs.items()}
    if type(network) is TanhRNN and network.replicas:
        return {layer: [(x, h, version(x), version(h)) for x, h in found] for layer, found in pairs.items()}
    return {layer: [(*pair, None, None) for pair in found] for layer, found in pairs.items()}


def _recomputed(network: nn.Module, layer: ReplicaLinear, pairs: list[Observation], inputs: Tensor | None) -> list[Observation]:
    """The outputs in full precision. Under autocast 1 − h² is lost in the 8 bits of h where h is near 1."""
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
    """How many numbers the neurons of a layer put out, in however many calls."""
    return sum(call[1].numel() for call in calls)


class NetworkStates:
    """The networks among what is watched that tell by themselves, and what they told in one pass.

    Until a pass has shown that a network's calls tell everything, its layers are watched one by one as well: a model may
    also run them without the network. One that begins to do so later, in passes that call the network as well, is seen by the
    network's calls alone. ``counts(indices)`` says whether a call of these layers belongs to a pass.
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
        """How each network is to be watched: where to register, what, and with which settings."""
        for network in self._networks:
            yield network.register_forward_pre_hook, self._request, {"with_kwargs": True}
            yield network.register_forward_hook, self._collect, {"with_kwargs": True}

    def one_by_one(self, handle_of: dict[nn.Module, RemovableHandle]) -> None:
        """The hooks on single layers, to be removed when they have become superfluous."""
        for network, indices in self._networks.items():
            self._one_by_one[network] = [handle_of[self._watched[i].module] for i in indices]

    def begin(self) -> None:
        """A new pass."""
        self._requested: tuple[list[Tensor], int] | None = None
        self._found: dict[nn.Module, dict[ReplicaLinear, list[Call]]] = {}

    def replace(self, calls: list[list]) -> None:
        """What the networks told, in place of what their layers showed one by one, unless these also ran at other times."""
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
        """Has a network hand over its states; where they will be, and from which place on, is remembered."""
        self._requested = None
        if not self._counts([]):
            return None
        place = 1 if type(network) is DeepNet else 2
        given = arguments[place] if len(arguments) > place else keywords.get("states")
        states = [] if given is None else given
        self._requested = states, len(states)
        return (arguments[:place], {**keywords, "states": states}) if given is None else None

    def _collect(self, network: nn.Module, arguments: tuple, keywords: dict, output: object) -> None:
        requested, self._requested = self._requested, None  # nothing is to keep the states alive
        if requested is not None and self._counts(self._networks[network]):
            calls = self._found.setdefault(network, {})
            for layer, found in layer_observations(network, arguments, keywords, requested[0][requested[1] :]).items():
                calls.setdefault(layer, []).extend(found)
