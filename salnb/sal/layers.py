"""A layer that SAL may watch, and what SAL needs to know of it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..lyapunov.steps import refuse_unsupported
from ..networks.deep import DeepNet
from ..networks.recurrent import TanhRNN
from ..sensitivity.activations import ACTIVATIONS, Activation, activation_formulas
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


UNSEEN, WATCHED, LEFT_OUT = "has not run yet", "watched", "left out"


@dataclass(eq=False)
class WatchedLayer:
    """A layer that SAL may watch: the weights whose rows give its neurons' sensitivities, and what else belongs to the neurons.

    ``status`` is UNSEEN until a look has shown what takes the layer's output; then WATCHED, or LEFT_OUT for a ``reason``.
    """

    name: str
    module: nn.Module
    weight: nn.Parameter
    bias: nn.Parameter | None
    activation: Activation | None = None
    mask: Tensor | None = None
    others: tuple[nn.Parameter, ...] = ()  # input weights and second biases: gradients are gated, SAL never moves them
    rnn_layer: int | None = None
    adds: tuple[nn.Module, ...] = ()  # layers whose outputs are added to this one's before the activation
    copy: bool = False  # the hook keeps a copy, since something overwrites the pre-activation
    network: nn.Module | None = None  # a network that gives the layer's outputs, which are observed in place of pre-activations
    named: bool = False  # by the user: what cannot be watched is then an error
    given: Activation | None = None  # the activation that the user gave with the name
    status: str = WATCHED
    reason: str = ""
    split_along: tuple[int | None, ...] = ()  # the time dimension of an added layer that ran all steps at once; else None
    only_measured: bool = False  # its weight is computed from others (a parametrization), so that there is nothing to move
    by_rows: bool = False  # the user wants the rows of the Jacobian, whatever stands between
    norm: object | None = None  # the normalization between it and its activation
    row_map: object | None = None  # a RowMap, if its neurons have no slope each; then that gives sensitivities and gradients
    whole: bool = False  # a module with all its parameters, of which ``weight`` is the first

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for p in (self.weight, self.bias) if p is not None] if self.row_map is None else list(self.row_map.parameters)

    @property
    def replicas(self) -> tuple[int, ...]:
        """The leading dimensions of the weight, in front of those of one network."""
        return () if self.row_map is not None else tuple(self.rows.shape[:-2])

    @property
    def neurons(self) -> tuple[int, ...] | None:
        """The shape of its sensitivities; None if only a pass shows it."""
        return None if self.row_map is not None else tuple(self.rows.shape[:-1])

    def __post_init__(self) -> None:
        self.is_convolution = isinstance(self.module, nn.modules.conv._ConvNd)

    @property
    def rows(self) -> Tensor:
        """The weight (..., N, M) with a row for each neuron; a convolution's row is the kernel of a channel."""
        return self.weight.flatten(1) if self.is_convolution else self.weight

    @property
    def mask_rows(self) -> Tensor | None:
        """The mask as ``rows``."""
        return self.mask.flatten(1) if self.mask is not None and self.is_convolution else self.mask

    @property
    def parameter_name(self) -> str:
        """What the module calls the weight."""
        if isinstance(self.module, nn.RNNCellBase):
            return "weight_hh"
        if self.rnn_layer is not None:
            return f"weight_hh_l{self.rnn_layer}"
        return "weight_orig" if "weight_orig" in self.module._parameters else "weight"

    def current_weight(self) -> Tensor:
        """The weight that the module holds now, which is another tensor than ``weight`` if it has been replaced."""
        if self.whole:
            now = tuple(self.module.parameters())
            kept = len(now) == len(self.parameters) and all(a is b for a, b in zip(now, self.parameters, strict=True))
            return self.weight if kept else None
        if self.only_measured:
            return stored_weight(self.module)
        own = self.module._parameters.get(self.parameter_name)  # nearly always there; getattr takes five times as long
        return getattr(self.module, self.parameter_name) if own is None else own

    def effective_weight(self) -> Tensor:
        """The numbers that multiply the inputs: without missing connections, and behind a parametrization."""
        if self.only_measured:
            return weight_in_force(self.module)
        return self.weight if self.mask is None else self.weight * self.mask


def stored_weight(module: nn.Module) -> nn.Parameter | None:
    """The first of the parameters from which a parametrized weight is computed; it is not computed for that."""
    if torch.nn.utils.parametrize.is_parametrized(module, "weight"):
        original = module.parametrizations.weight
        return original.original if hasattr(original, "original") else original.original0
    own = module._parameters
    return next((own[name] for name in ("weight", "weight_orig", "weight_v") if own.get(name) is not None), None)


@torch.no_grad()
def weight_in_force(module: nn.Module) -> Tensor:
    """The weight of a parametrized layer, computed in eval mode: a spectral norm would go on with its power iteration."""
    if not torch.nn.utils.parametrize.is_parametrized(module, "weight"):
        return module.weight.detach()  # a hook has computed it before the call
    modes = {part: part.training for part in module.parametrizations.weight}
    try:
        for part in modes:
            part.eval()
        return module.weight.detach()
    finally:
        for part, training in modes.items():
            part.train(training)


def output_of(layer: WatchedLayer, pre_activation: Tensor) -> Tensor:
    """The output at this pre-activation, of a layer that is otherwise observed by its output."""
    return ACTIVATIONS[layer.activation.name].function(pre_activation.to(layer.weight.dtype))


def join_names(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def rnn_layers(name: str, module: nn.RNN) -> list[WatchedLayer]:
    """The recurrent weights of every layer of an nn.RNN."""
    refuse_unsupported(module, f"{name or 'the model'}")
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


def rnn_cell_layer(name: str, module: nn.RNNCell) -> WatchedLayer:
    """The recurrent weights of an nn.RNNCell, observed by its outputs."""
    others = tuple(p for p in (module.weight_ih, module.bias_ih) if p is not None)
    activation = ACTIVATIONS_OF_OUTPUT[module.nonlinearity]
    return WatchedLayer(name, module, module.weight_hh, module.bias_hh, activation, others=others)


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
