"""The arithmetic of one SAL step: layers of one shape side by side, their sensitivities, averages and changes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from .activations import Activation
from .functional import log_sensitivity, steepness_and_bend
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


def flat_calls(layer: WatchedLayer, calls: Sequence[Observation]) -> Sequence[Observation]:
    r"""Each call's inputs (\*replicas, S, M) and pre-activations (\*replicas, S, N), time steps being further samples."""
    dimensions = layer.weight.ndim
    if all(x.shape == u.shape and u.ndim == dimensions for x, u in calls):
        return calls
    *replicas, _, m = layer.weight.shape

    def flat(tensor: Tensor) -> Tensor:
        lead = tensor.ndim - len(replicas) - 2  # time dimensions in front of the replicas
        if replicas and lead > 0:
            tensor = tensor.movedim(tuple(range(lead)), tuple(range(-lead - 2, -2)))
        return tensor.reshape(*replicas, -1, tensor.shape[-1])

    return [(flat(x.expand(*u.shape[:-1], m)), flat(u)) for x, u in calls]


def samples_of(layer: WatchedLayer, calls: Sequence[Observation]) -> Observation:
    r"""All samples and time steps a layer saw: inputs (\*replicas, S, M) and pre-activations (\*replicas, S, N)."""
    return tuple(torch.cat(parts, -2).to(layer.weight.dtype) for parts in zip(*flat_calls(layer, calls), strict=True))


def next_average(old: Tensor | None, observed: Tensor, squares: Tensor, decay: Tensor, average: str) -> Tensor:
    """The running average s̄ after one more pass; it starts at its first observation."""
    if average == "mean":
        return observed if old is None else decay * old + (1 - decay) * observed
    return (squares if old is None else decay * old.square() + (1 - decay) * squares).sqrt()


def pull(average: Tensor, target: Tensor, rule: str) -> Tensor:
    """How strongly each neuron is moved along its gradient, in units of the rate."""
    return (average < target).to(average.dtype) if rule == "one_sided" else target - average


Piece = Sequence[Sequence[Observation]]  # some of the samples: of each of the L layers, some calls


@dataclass(frozen=True)
class Part:
    """As many layers of one shape, and as many of their samples in a piece, as a processor's cache holds."""

    weight: Tensor  # (L, ..., N, M)
    mask: Tensor | None  # (L, ..., N, M)
    pieces: Sequence[Piece]
    activation: Activation

    def _join(self, tensors: Iterable[Sequence[Tensor]]) -> Tensor:
        whole = [parts[0] if len(parts) == 1 else torch.cat(parts, -2) for parts in tensors]
        return (whole[0].unsqueeze(0) if len(whole) == 1 else torch.stack(whole)).to(self.weight.dtype)

    @cached_property
    def responses(self) -> list[tuple[Tensor, Callable[[], Tensor]]]:
        """|f'| (L, ..., S, N) of each piece, with what gives sgn(f') f''."""
        return [
            steepness_and_bend(self.activation, self._join([u for _, u in calls] for calls in piece)) for piece in self.pieces
        ]

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """The length of w and the means of |f'| and f'² over the samples, each (L, ..., N)."""
        first = sum(steepness.sum(-2) for steepness, _ in self.responses)
        second = sum(steepness.square().sum(-2) for steepness, _ in self.responses)
        samples = sum(steepness.shape[-2] for steepness, _ in self.responses)
        return torch.linalg.vector_norm(self.weight, dim=-1), first / samples, second / samples

    def change(self, stretch: Tensor, share: Tensor, moving: Sequence[int]) -> tuple[Tensor, Tensor]:
        """stretch · w + share · mean of sgn(f') f'' x, for the ``moving`` layers (l, ..., N, M), and for biases (l, ..., N)."""
        some = slice(None) if len(moving) == len(self.weight) else moving
        by_weight, by_bias = self.weight[some] * stretch[some].unsqueeze(-1), torch.zeros_like(share[some])
        if self.activation.curvature is not torch.zeros_like:
            share = (share[some] / sum(steepness.shape[-2] for steepness, _ in self.responses)).unsqueeze(-2)
            for piece, (_, bend_of) in zip(self.pieces, self.responses, strict=True):
                bend, inputs = bend_of()[some].mul_(share), self._join([x for x, _ in piece[i]] for i in moving)
                by_weight.flatten(0, -3).baddbmm_(bend.flatten(0, -3).mT, inputs.flatten(0, -3))
                by_bias += bend.sum(-2)
        return by_weight if self.mask is None else by_weight * self.mask[some], by_bias


@dataclass(frozen=True)
class Stack:
    """Layers of one shape and setting, with a leading layer dimension L."""

    parts: Sequence[Part]
    old: Tensor | None  # (L, ..., N)
    lr: Tensor  # (L, 1, ...), as the next two
    target: Tensor
    decay: Tensor
    rule: str
    average: str

    @cached_property
    def _moments(self) -> Sequence[Tensor]:
        return [torch.cat(each) for each in zip(*(part.moments() for part in self.parts), strict=True)]

    def measure(self) -> Measure:
        norm, first, second = self._moments
        squares = norm.square() * second
        average = next_average(self.old, norm * first, squares, self.decay, self.average)
        return Measure(average, log_sensitivity(squares.sqrt()))

    def changes(self, average: Tensor) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Which layers of the stack move, with the changes of their weights (l, ..., N, M) and biases (l, ..., N)."""
        norm, first, _ = self._moments
        amount = self.lr * pull(average, self.target, self.rule)
        # A row of norm 0 has no direction: divided by 1 instead, its gradient stays 0.
        stretch, share = amount * first / torch.where(norm > 0, norm, 1.0), amount * norm
        # A layer at rest costs no product, unless a device would have to be waited for to know.
        moves, start = amount.flatten(1).any(1).tolist() if amount.is_cpu else [True] * len(amount), 0
        for part in self.parts:
            rows = slice(start, start + len(part.weight))
            if moving := [i for i, moved in enumerate(moves[rows]) if moved]:
                yield [start + i for i in moving], *part.change(stretch[rows], share[rows], moving)
            start = rows.stop
