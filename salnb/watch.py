"""Which layers SAL watches: found by their place in the model, or named by the reader."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from .activations import ACTIVATIONS, Activation, activation_formulas, from_module
from .layers import ReplicaLinear
from .networks import DeepNet, TanhRNN
from .steps import refuse_unsupported


@dataclass(frozen=True, eq=False)
class WatchedLayer:
    """A layer of neurons: the weights their sensitivity counts, and everything else that belongs to their rows."""

    name: str
    module: nn.Module
    weight: nn.Parameter
    bias: nn.Parameter | None
    activation: Activation
    mask: Tensor | None = None
    others: tuple[nn.Parameter, ...] = ()  # input weights and second biases: gated with the neuron, never moved by SAL
    rnn_layer: int | None = None
    copy: bool = False  # the activation may overwrite the pre-activation, so the hook must keep a copy

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for p in (self.weight, self.bias) if p is not None]

    def current_weight(self) -> Tensor:
        """What the module holds now: another tensor than ``weight`` where someone has swapped it."""
        return getattr(self.module, "weight" if self.rnn_layer is None else f"weight_hh_l{self.rnn_layer}")


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _rnn_layers(name: str, module: nn.RNN) -> list[WatchedLayer]:
    refuse_unsupported(module, f"SAL on {name or 'the model'}")
    activation, found = ACTIVATIONS[module.nonlinearity], []
    for layer in range(module.num_layers):
        own = [getattr(module, f"{part}_l{layer}", None) for part in ("weight_hh", "bias_hh", "weight_ih", "bias_ih")]
        others = tuple(p for p in own[2:] if p is not None)
        found.append(
            WatchedLayer(
                _join(name, f"weight_hh_l{layer}"), module, own[0], own[1], activation, others=others, rnn_layer=layer
            )
        )
    return found


def _replica_layers(name: str, network: DeepNet | TanhRNN) -> list[WatchedLayer]:
    return [
        WatchedLayer(_join(name, path), layer, layer.weight, layer.bias, activation_formulas(layer.activation), layer.mask, others)
        for path, (layer, others) in network.sal_layers().items()
    ]


def _plain_layer(name: str, layer: nn.Linear | ReplicaLinear, activation: Activation, copy: bool) -> WatchedLayer:
    mask = getattr(layer, "mask", None)
    return WatchedLayer(name, layer, layer.weight, layer.bias, activation, mask, copy=copy)


def _is_sequential(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _in_order(name: str, module: nn.Sequential) -> list[tuple[str, nn.Module]]:
    """The parts of a Sequential in the order they run, nested ones unfolded."""
    parts = []
    for child_name, child in module._modules.items():  # named_children() leaves out a module used a second time
        path = _join(name, child_name)
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
            activation = from_module(after)
            if isinstance(layer, nn.Linear) and activation is not None and path not in found:
                found[path] = _plain_layer(path, layer, activation, getattr(after, "inplace", False))
    return found


def _first_with_weights(model: nn.Module) -> nn.Module | None:
    return next((m for m in model.modules() if next(m.parameters(recurse=False), None) is not None), None)


def _by_default(model: nn.Module) -> list[WatchedLayer]:
    followed, reads_input, found = _followed_linears(model), _first_with_weights(model), []
    for name, module in model.named_modules():
        if isinstance(module, nn.RNN):
            found += _rnn_layers(name, module)
        elif isinstance(module, DeepNet | TanhRNN):
            found += _replica_layers(name, module)
        elif name in followed and module is not reads_input:
            found.append(followed[name])
    return [layer for layer in found if layer.weight.requires_grad]


def _by_name(model: nn.Module, name: str, activation: object) -> list[WatchedLayer]:
    modules = dict(model.named_modules())
    owner, _, last = name.rpartition(".")
    if name not in modules and isinstance(modules.get(owner), nn.RNN) and last.startswith("weight_hh"):
        if found := [layer for layer in _rnn_layers(owner, modules[owner]) if layer.name == name]:
            return found
    if name not in modules:
        raise ValueError(f"layers: the model has no layer named {name!r}; it has {', '.join(n for n in modules if n)}")
    module = modules[name]
    if isinstance(module, nn.RNN):
        return _rnn_layers(name, module)
    if isinstance(module, DeepNet | TanhRNN):
        return _replica_layers(name, module)
    if not isinstance(module, nn.Linear | ReplicaLinear):
        raise ValueError(
            f"layers: {name!r} is a {type(module).__name__}; SAL acts on Linear and nn.RNN layers and on DeepNet and "
            "TanhRNN, where each neuron has one slope and one row of weights"
        )
    activation = activation or getattr(module, "activation", None)
    if activation is not None:
        return [_plain_layer(name, module, activation_formulas(activation), copy=True)]
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
