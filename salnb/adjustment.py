"""The arithmetic of one SAL step: layers of one shape side by side, their sensitivities, averages and changes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .activations import Activation
from .functional import log_sensitivity, neuron_sensitivity, sensitivity_gradient
from .recompute import Observation
from .watch import WatchedLayer

RULES, AVERAGES = ("one_sided", "proportional"), ("mean", "rms")


def check_settings(lr: float, target: float, decay: float, rule: str, average: str) -> None:
    for name, value, fits, wanted in (
        ("lr", lr, lr >= 0, "a rate >= 0"),
        ("target", target, target > 0, "a sensitivity > 0 (1 keeps signals at their size)"),
        ("decay", decay, 0 <= decay < 1, "a number in [0, 1); 0 means no memory of earlier passes"),
        ("rule", rule, rule in RULES, f"one of {', '.join(RULES)}"),
        ("average", average, average in AVERAGES, f"one of {', '.join(AVERAGES)}"),
    ):
        if not fits:
            raise ValueError(f"{name}: got {value!r}, expected {wanted}")


class Measure(NamedTuple):
    """What one pass says of a stack of layers."""

    average: Tensor  # (L, ..., N), the running average after this pass
    log_sensitivity: Tensor  # (L, ...), of this pass alone


def samples_of(layer: WatchedLayer, calls: Sequence[Observation]) -> Observation:
    r"""All samples and time steps a layer saw: inputs (\*replicas, S, M) and pre-activations (\*replicas, S, N)."""
    *replicas, n, m = layer.weight.shape

    def flat(tensor: Tensor, units: int) -> Tensor:
        lead = tensor.ndim - len(replicas) - 2  # time dimensions in front of the replicas
        if replicas and lead > 0:
            tensor = tensor.movedim(tuple(range(lead)), tuple(range(-lead - 2, -2)))
        return tensor.reshape(*replicas, -1, units).to(layer.weight.dtype)

    pairs = [(flat(x.expand(*u.shape[:-1], m), m), flat(u, n)) for x, u in calls]
    return torch.cat([x for x, _ in pairs], -2), torch.cat([u for _, u in pairs], -2)


def next_average(old: Tensor | None, observed: Tensor, squares: Tensor, decay: Tensor, average: str) -> Tensor:
    """The running average s̄ after one more pass; it starts at its first observation."""
    if average == "mean":
        return observed if old is None else decay * old + (1 - decay) * observed
    return (squares if old is None else decay * old.square() + (1 - decay) * squares).sqrt()


def pull(average: Tensor, target: Tensor, rule: str) -> Tensor:
    """How strongly each neuron is moved along its gradient, in units of the rate."""
    return (average < target).to(average.dtype) if rule == "one_sided" else target - average


@dataclass(frozen=True)
class Stack:
    """Layers of one shape and setting, with a leading layer dimension L."""

    weight: Tensor  # (L, ..., N, M)
    inputs: Tensor  # (L, ..., S, M)
    pre_activation: Tensor  # (L, ..., S, N)
    mask: Tensor | None  # (L, ..., N, M)
    old: Tensor | None  # (L, ..., N)
    lr: Tensor  # (L, 1, ...), as the next two
    target: Tensor
    decay: Tensor
    activation: Activation
    rule: str
    average: str

    def measure(self) -> Measure:
        seen = neuron_sensitivity(self.weight, self.pre_activation, self.activation)
        average = next_average(self.old, seen.mean(-2), seen.square().mean(-2), self.decay, self.average)
        return Measure(average, log_sensitivity(seen, dim=(-2, -1)))

    def change(self, average: Tensor) -> tuple[Tensor, Tensor]:
        """The change of weights (L, ..., N, M) and biases (L, ..., N)."""
        by_weight, by_bias = sensitivity_gradient(self.weight, self.inputs, self.pre_activation, self.activation)
        amount = self.lr * pull(average, self.target, self.rule)
        by_weight = by_weight * amount.unsqueeze(-1)
        return by_weight if self.mask is None else by_weight * self.mask, by_bias * amount


def stack_layers(
    layers: Sequence[WatchedLayer],
    observations: Sequence[Sequence[Observation]],
    groups: Sequence[Mapping[str, object]],
    averages: Sequence[Tensor | None],
) -> Iterator[tuple[list[int], Stack]]:
    """Groups layers that can be computed in one batched product; yields their indices and the stack."""
    samples = [samples_of(layer, calls) for layer, calls in zip(layers, observations, strict=True)]
    alike: dict[tuple, list[int]] = {}
    for i, (layer, group) in enumerate(zip(layers, groups, strict=True)):
        key = (layer.weight.shape, samples[i][0].shape, layer.weight.dtype, layer.weight.device, layer.activation,
               layer.mask is None, averages[i] is None, group["rule"], group["average"])  # fmt: skip
        alike.setdefault(key, []).append(i)
    for members in alike.values():
        first, group = layers[members[0]], groups[members[0]]
        weight = torch.stack([layers[i].weight.detach() for i in members])
        mask = None if first.mask is None else torch.stack([layers[i].mask for i in members])
        shape = (-1, *[1] * (weight.ndim - 2))
        settings = {n: weight.new_tensor([groups[i][n] for i in members]).view(shape) for n in ("lr", "target", "decay")}
        yield members, Stack(
            weight=weight if mask is None else weight * mask,
            inputs=torch.stack([samples[i][0] for i in members]),
            pre_activation=torch.stack([samples[i][1] for i in members]),
            mask=mask,
            old=None if averages[members[0]] is None else torch.stack([averages[i] for i in members]),
            activation=first.activation,
            rule=group["rule"],
            average=group["average"],
            **settings,
        )
