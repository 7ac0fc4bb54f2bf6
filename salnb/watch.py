"""What is known of a layer that SAL watches, for each kind of layer there is."""

from dataclasses import dataclass

from torch import Tensor, nn

from .activations import ACTIVATIONS, Activation, activation_formulas
from .functional import tanh_slope_of_output
from .layers import ReplicaLinear
from .networks import DeepNet, TanhRNN
from .steps import refuse_unsupported
from .told import tells


def tanh_curvature_of_output(output: Tensor) -> Tensor:
    return -2 * output * tanh_slope_of_output(output)


# What an nn.RNN shows of its neurons is their output. ReLU's slope is the same function of either: u > 0 where the output is.
OF_OUTPUT: dict[str, Activation] = {
    "tanh": Activation("tanh", ACTIVATIONS["identity"].function, tanh_slope_of_output, tanh_curvature_of_output),
    "relu": ACTIVATIONS["relu"],
}


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
    adds: tuple[nn.Module, ...] = ()  # layers whose outputs are added to this one's before the activation
    copy: bool = False  # the activation may overwrite the pre-activation, so the hook must keep a copy
    network: nn.Module | None = None  # whose calls tell what the layer saw, its outputs in place of pre-activations

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for p in (self.weight, self.bias) if p is not None]

    def current_weight(self) -> Tensor:
        """What the module holds now: another tensor than ``weight`` where someone has swapped it."""
        name = "weight" if self.rnn_layer is None else f"weight_hh_l{self.rnn_layer}"
        own = self.module._parameters.get(name)  # where it nearly always is; getattr takes five times as long
        return getattr(self.module, name) if own is None else own


def output_of(layer: WatchedLayer, pre_activation: Tensor) -> Tensor:
    """What a layer whose activation is known by its output would have shown."""
    return ACTIVATIONS[layer.activation.name].function(pre_activation.to(layer.weight.dtype))


def join_names(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def rnn_layers(name: str, module: nn.RNN) -> list[WatchedLayer]:
    refuse_unsupported(module, f"SAL on {name or 'the model'}")
    activation, found = OF_OUTPUT[module.nonlinearity], []
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
    found = []
    for path, (layer, others) in network.sal_layers().items():
        telling = network if tells(network) and layer.activation in OF_OUTPUT else None
        activation = activation_formulas(layer.activation) if telling is None else OF_OUTPUT[layer.activation]
        found.append(
            WatchedLayer(
                join_names(name, path), layer, layer.weight, layer.bias, activation, layer.mask, others, network=telling
            )
        )
    return found


def plain_layer(
    name: str, layer: nn.Linear | ReplicaLinear, activation: Activation, copy: bool, adds: tuple[nn.Module, ...] = ()
) -> WatchedLayer:
    others = tuple(parameter for module in adds for parameter in module.parameters(recurse=False))
    mask = getattr(layer, "mask", None)
    return WatchedLayer(name, layer, layer.weight, layer.bias, activation, mask, others, adds=adds, copy=copy)
