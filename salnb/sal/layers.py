"""Which layers SAL watches (found by their place in the model, or named by the user), and what it needs to know of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ..lyapunov.steps import refuse_unsupported
from ..networks.deep import DeepNet
from ..networks.linear import ReplicaLinear
from ..networks.recurrent import TanhRNN
from ..sensitivity.activations import ACTIVATIONS, Activation, activation_formulas, from_module
from ..sensitivity.formulas import tanh_slope_of_output


def gives_all_states(network: nn.Module) -> bool:
    """Whether this network can give the states of all its watched layers. Not a subclass: it may compute something else."""
    return type(network) is DeepNet or type(network) is TanhRNN and len(network.recurrent) == 1  # a ring: the last layer's alone


def tanh_curvature_of_output(output: Tensor) -> Tensor:
    """The second derivative of tanh from its output."""
    return -2 * output * tanh_slope_of_output(output)


# Activations as functions of the output: an nn.RNN returns outputs, not pre-activations. ReLU's slope is the same function of
# either, since the output is positive where U is.
ACTIVATIONS_OF_OUTPUT: dict[str, Activation] = {
    "tanh": Activation("tanh", ACTIVATIONS["identity"].function, tanh_slope_of_output, tanh_curvature_of_output),
    "relu": ACTIVATIONS["relu"],
}


@dataclass(frozen=True, eq=False)
class WatchedLayer:
    """A layer that SAL watches: the weights whose rows give its neurons' sensitivities, and what else belongs to the neurons."""

    name: str
    module: nn.Module
    weight: nn.Parameter
    bias: nn.Parameter | None
    activation: Activation
    mask: Tensor | None = None
    others: tuple[nn.Parameter, ...] = ()  # input weights and second biases: gradients are gated, SAL never moves them
    rnn_layer: int | None = None
    adds: tuple[nn.Module, ...] = ()  # layers whose outputs are added to this one's before the activation
    copy: bool = False  # the hook keeps a copy, since the activation may overwrite the pre-activation
    network: nn.Module | None = None  # a network that gives the layer's outputs, which are observed in place of pre-activations

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for p in (self.weight, self.bias) if p is not None]

    def current_weight(self) -> Tensor:
        """The weight that the module holds now, which is another tensor than ``weight`` if it has been replaced."""
        name = "weight" if self.rnn_layer is None else f"weight_hh_l{self.rnn_layer}"
        own = self.module._parameters.get(name)  # nearly always there; getattr takes five times as long
        return getattr(self.module, name) if own is None else own


def output_of(layer: WatchedLayer, pre_activation: Tensor) -> Tensor:
    """The output at this pre-activation, of a layer that is otherwise observed by its output."""
    return ACTIVATIONS[layer.activation.name].function(pre_activation.to(layer.weight.dtype))


def join_names(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def rnn_layers(name: str, module: nn.RNN) -> list[WatchedLayer]:
    """The recurrent weights of every layer of an nn.RNN."""
    refuse_unsupported(module, f"SAL on {name or 'the model'}")
    activation, found = ACTIVATIONS_OF_OUTPUT[module.nonlinearity], []
    for layer in range(module.num_layers):
        own = [getattr(module, f"{part}_l{layer}", None) for part in ("weight_hh", "bias_hh", "weight_ih", "bias_ih")]
        others = tuple(p for p in own[2:] if p is not None)
        found.append(
            WatchedLayer(
                join_names(name, f"weight_hh_l{layer}"), module, own[0], own[1], activation, others=others, rnn_layer=layer
            )
        )
    return found


def replica_layers(name: str, network: DeepNet | TanhRNN) -> list[WatchedLayer]:
    """The layers of one of the library's own networks that SAL adjusts."""
    found = []
    for path, (layer, others) in network.sal_layers().items():
        source = network if gives_all_states(network) and layer.activation in ACTIVATIONS_OF_OUTPUT else None
        activation = activation_formulas(layer.activation) if source is None else ACTIVATIONS_OF_OUTPUT[layer.activation]
        found.append(
            WatchedLayer(
                join_names(name, path), layer, layer.weight, layer.bias, activation, layer.mask, others, network=source
            )
        )
    return found


def plain_layer(
    name: str, layer: nn.Linear | ReplicaLinear, activation: Activation, copy: bool, adds: tuple[nn.Module, ...] = ()
) -> WatchedLayer:
    """A single linear layer with its activation; ``adds`` are layers whose outputs are added to its own."""
    others = tuple(parameter for module in adds for parameter in module.parameters(recurse=False))
    mask = getattr(layer, "mask", None)
    return WatchedLayer(name, layer, layer.weight, layer.bias, activation, mask, others, adds=adds, copy=copy)


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
