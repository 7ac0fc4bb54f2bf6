"""Which layers SAL watches: found by their place in the model, or named by the reader."""

from collections.abc import Iterable, Mapping

from torch import nn

from .activations import activation_formulas, from_module
from .layers import ReplicaLinear
from .networks import DeepNet, TanhRNN
from .watch import WatchedLayer, join_names, plain_layer, replica_layers, rnn_layers


def _is_sequential(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _in_order(name: str, module: nn.Sequential) -> list[tuple[str, nn.Module]]:
    """The parts of a Sequential in the order they run, nested ones unfolded."""
    parts = []
    for child_name, child in module._modules.items():  # named_children() leaves out a module used a second time
        path = join_names(name, child_name)
        parts += _in_order(path, child) if _is_sequential(child) else [(path, child)]
    return parts


def _followed_linears(model: nn.Module) -> dict[str, WatchedLayer]:
    """Every Linear that a known activation module directly follows inside a Sequential."""
    found: dict[str, WatchedLayer] = {}
    for name, module in model.named_modules():
        if not _is_sequential(module):
            continue
        parts = _in_order(name, module)
        for (path, layer), (_, after) in zip(parts, parts[1:], strict=False):
            activation = None if isinstance(after, nn.Identity) else from_module(after)
            if isinstance(layer, nn.Linear) and activation is not None and path not in found:
                found[path] = plain_layer(path, layer, activation, getattr(after, "inplace", False))
    return found


def _ends(model: nn.Module, followed: dict[str, WatchedLayer]) -> set[nn.Module]:
    """The Linear that reads the input and the one that is read out.

    The first module with weights reads the input. The last one is a readout if no activation follows it, or if a sigmoid
    does while other activations follow the layers before it: that sigmoid makes probabilities, it is no hidden layer.
    """
    weighted = [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]
    hidden = {layer.activation for layer in followed.values() if layer.module is not weighted[-1]}
    last = next((layer for layer in followed.values() if layer.module is weighted[-1]), None)
    reads_out = last is not None and hidden and last.activation.name == "sigmoid" and last.activation not in hidden
    return {weighted[0], weighted[-1]} if reads_out else {weighted[0]}


def _by_default(model: nn.Module) -> list[WatchedLayer]:
    followed, found = _followed_linears(model), []
    ends = _ends(model, followed) if followed else set()
    for name, module in model.named_modules():
        if isinstance(module, nn.RNN):
            found += rnn_layers(name, module)
        elif isinstance(module, DeepNet | TanhRNN):
            found += replica_layers(name, module)
        elif name in followed and module not in ends:
            found.append(followed[name])
    return [layer for layer in found if layer.weight.requires_grad]


def _by_name(model: nn.Module, name: str, activation: object) -> list[WatchedLayer]:
    modules = dict(model.named_modules())
    owner, _, last = name.rpartition(".")
    if name not in modules and isinstance(modules.get(owner), nn.RNN) and last.startswith("weight_hh"):
        if found := [layer for layer in rnn_layers(owner, modules[owner]) if layer.name == name]:
            return found
    if name not in modules:
        raise ValueError(f"layers: the model has no layer named {name!r}; it has {', '.join(n for n in modules if n)}")
    module = modules[name]
    if isinstance(module, nn.RNN):
        return rnn_layers(name, module)
    if isinstance(module, DeepNet | TanhRNN):
        return replica_layers(name, module)
    if not isinstance(module, nn.Linear | ReplicaLinear):
        raise ValueError(
            f"layers: {name!r} is a {type(module).__name__}; SAL acts on Linear and nn.RNN layers and on DeepNet and "
            "TanhRNN, where each neuron has one slope and one row of weights"
        )
    activation, *others = activation if isinstance(activation, tuple | list) and activation else (activation,)
    activation = activation or getattr(module, "activation", None)
    if wrong := [other for other in others if not isinstance(modules.get(other), nn.Linear)]:
        raise ValueError(f"layers: {wrong[0]!r}, to be added to {name!r}, is no Linear of the model")
    if activation is not None:
        adds = tuple(modules[other] for other in others)
        return [plain_layer(name, module, activation_formulas(activation), copy=True, adds=adds)]
    if name in (followed := _followed_linears(model)):
        return [followed[name]]
    raise ValueError(
        f"layers: no known activation module follows {name!r}; if forward calls the activation as a function, "
        f"say which: layers={{{name!r}: 'tanh'}}"
    )


def find_layers(model: nn.Module, layers: Iterable[str] | Mapping[str, object] | None = None) -> list[WatchedLayer]:
    """The layers to watch, in the order of the model (default) or as named; a ValueError says why there are none."""
    if layers is None:
        found = _by_default(model)
    else:
        named = {layers: None} if isinstance(layers, str) else layers if isinstance(layers, Mapping) else dict.fromkeys(layers)
        found = [layer for name, activation in named.items() for layer in _by_name(model, name, activation)]
    if not found:
        raise ValueError(
            f"model: found no layer to act on in {type(model).__name__}; by default these are the trainable Linear layers "
            "followed by a known activation inside a Sequential (not the one that reads the input), nn.RNN, DeepNet and "
            "TanhRNN. Name others with layers=[...] or layers={name: activation}"
        )
    if len({id(layer.weight) for layer in found}) < len(found):
        raise ValueError(f"layers: two of {', '.join(layer.name for layer in found)} share one weight; name only one of them")
    return found
