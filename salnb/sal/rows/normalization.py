"""Normalizations between a layer and its activation: which they are, and how they change a neuron's row of weights.

A BatchNorm that uses stored statistics is a scale and a shift for each neuron, and so a part of its activation. LayerNorm and
RMSNorm mix the neurons of one sample: then the row is that of a Jacobian.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from ...sensitivity.activations import Activation

# The arguments of PyTorch's functions after the first.
SIGNATURES = {
    "batch_norm": ("running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    "layer_norm": ("normalized_shape", "weight", "bias", "eps"),
    "rms_norm": ("normalized_shape", "weight", "eps"),
    "group_norm": ("num_groups", "weight", "bias", "eps"),
    "instance_norm": (),
}
# torch.batch_norm, which has its arguments in another order than torch.nn.functional's.
PLAIN_BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")
FREEZE = (
    "in training mode it hangs every neuron on the whole batch. Freeze its statistics: call its eval() after every "
    "model.train(), and attach SAL then"
)
BY_ROWS = "name a module that holds the layer and its activation, by rows: layers={name: 'rows'}"

Place = tuple[nn.Module, str]  # a module and the name of one of its parameters or buffers


@dataclass(frozen=True, eq=False)
class Normalization:
    """A normalization that takes exactly a layer's output. ``fault``: why no row can be given, or an empty word.

    Its tensors are looked up at every use, since ``model.to`` and ``load_state_dict(assign=True)`` put others in their place.
    """

    kind: str  # "batch", "layer", "rms" or another one
    places: Mapping[str, Place] = field(default_factory=dict)  # of weight γ, bias β, running_mean and running_var, each (N,)
    eps: float = 0.0
    fault: str = ""

    def _tensor(self, name: str) -> Tensor | None:
        return None if name not in self.places else getattr(*self.places[name])

    @property
    def weight(self) -> Tensor | None:
        """γ (N,)."""
        return self._tensor("weight")

    @property
    def bias(self) -> Tensor | None:
        """β (N,)."""
        return self._tensor("bias")

    @property
    def parameters(self) -> list[nn.Parameter]:
        """γ and β, where they are parameters."""
        return [part for part in (self.weight, self.bias) if isinstance(part, nn.Parameter)]

    def scale_and_shift(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """a and c (N,) of a BatchNorm a · U + c."""
        scale = torch.rsqrt(self._tensor("running_var").to(dtype) + self.eps)
        scale = scale if self.weight is None else scale * self.weight.detach().to(dtype)
        shift = -scale * self._tensor("running_mean").to(dtype)
        return scale, shift if self.bias is None else shift + self.bias.detach().to(dtype)

    def has_moved(self, modules: Collection[nn.Module]) -> bool:
        """Whether it is another one now than in the look: its module is none of the model's any more, or has another ε."""
        owners = {owner for owner, _ in self.places.values()}
        return any(owner not in modules or getattr(owner, "eps", None) not in (None, self.eps) for owner in owners)

    def uses_the_batch(self) -> bool:
        """Whether a BatchNorm would now take the statistics of the batch."""
        return self.kind == "batch" and self.places["running_mean"][0].training


def place_of(tensor: Tensor, model: nn.Module) -> Place | None:
    """Which module holds this tensor as a parameter or buffer, and by which name."""
    for module in model.modules():
        for name, held in (*module._parameters.items(), *module._buffers.items()):
            if held is tensor:
                return module, name
    return None


def _neurons_last(neurons: int, dimension: int, output: Tensor, taken: Tensor) -> bool:
    """Whether ``taken`` has the layer's neurons along this dimension: it may be another view of the output."""
    if taken.numel() != output.numel() or taken.shape[dimension] != neurons:
        return False
    return bool(torch.equal(taken.movedim(dimension, -1).reshape(-1, neurons), output.reshape(-1, neurons)))


def normalization_of(
    name: str, arguments: tuple, keywords: Mapping[str, object], output: Tensor | None, convolution: bool, model: nn.Module
) -> Normalization:
    """What a call of PyTorch's function ``name`` does to a layer's ``output``: neurons last, or a convolution's channels."""
    plain = name == "batch_norm" and len(arguments) == 9
    names = PLAIN_BATCH_NORM if plain else SIGNATURES[name]
    given = dict(zip(names, arguments[1:], strict=False)) | dict(keywords)
    taken = arguments[0] if arguments else given["input"]
    if output is None or output.is_nested or not isinstance(taken, Tensor):
        return Normalization(name, fault="its neurons could not be told from its samples")
    neurons = output.shape[1 if convolution and output.ndim > 2 else -1]
    tensors = {key: given[key] for key in ("weight", "bias", "running_mean", "running_var") if given.get(key) is not None}
    if name == "batch_norm" and (given.get("training", False) or "running_mean" not in tensors):
        return Normalization("batch", fault=FREEZE)
    places = {key: place_of(tensor, model) for key, tensor in tensors.items()}
    if computed := [key for key, place in places.items() if place is None]:
        return Normalization(name, fault=f"its {computed[0]} is computed anew at every call; {BY_ROWS}")
    if name == "batch_norm":
        fits = taken.shape == output.shape if convolution else taken.ndim > 1 and _neurons_last(neurons, 1, output, taken)
        if not fits or tensors["running_mean"].numel() != neurons:
            return Normalization("batch", fault="it does not go along the layer's neurons")
        return Normalization("batch", places, given.get("eps", 1e-5))
    if name in ("layer_norm", "rms_norm") and not convolution:
        shape = given["normalized_shape"]
        if tuple([shape] if isinstance(shape, int) else shape) == (neurons,) and _neurons_last(neurons, -1, output, taken):
            eps = given.get("eps", 1e-5 if name == "layer_norm" else None)
            return Normalization(name.removesuffix("_norm"), places, torch.finfo(taken.dtype).eps if eps is None else eps)
        return Normalization(name, fault="it goes over more than the layer's neurons")
    return Normalization(name, fault=f"it mixes neurons of several places or samples; {BY_ROWS}")


# --- a BatchNorm and the activation behind it as one elementwise function ------------------------------------------------
def _function(u: Tensor, inner: Activation, norm: Normalization) -> Tensor:
    scale, shift = norm.scale_and_shift(u.dtype)
    return inner.function(scale * u + shift)


def _slope(u: Tensor, inner: Activation, norm: Normalization) -> Tensor:
    scale, shift = norm.scale_and_shift(u.dtype)
    return inner.slope(scale * u + shift) * scale


def _curvature(u: Tensor, inner: Activation, norm: Normalization) -> Tensor:
    scale, shift = norm.scale_and_shift(u.dtype)
    return inner.curvature(scale * u + shift) * scale.square()


def folded(inner: Activation, norm: Normalization) -> Activation:
    """The activation f(a U + c) of the pre-activation U, neurons last, with the statistics and γ, β as they are at each call."""
    given = {"inner": inner, "norm": norm}
    straight = inner.curvature is torch.zeros_like
    curvature = torch.zeros_like if straight else partial(_curvature, **given)
    return Activation(f"{inner.name} of BatchNorm", partial(_function, **given), partial(_slope, **given), curvature)
