"""The arithmetic of one SAL step: layers of one shape side by side, their sensitivities, averages and changes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import NamedTuple

import torch
from torch import Tensor

from .activations import Activation
from .functional import log_sensitivity, steepness_and_bend
from .memory import joined
from .recompute import Observation
from .watch import WatchedLayer


class Measure(NamedTuple):
    """What one pass says of a stack of layers."""

    average: Tensor  # (L, ..., N), the running average after this pass
    log_sensitivity: Tensor  # (L, ...), of this pass alone


def flat_calls(layer: WatchedLayer, calls: Sequence[Observation]) -> Sequence[Observation]:
    r"""Each call's inputs (\*replicas, S, M) and pre-activations (\*replicas, S, N), time steps being further samples."""
    dimensions = layer.weight.ndim
    for x, u in calls:
        if x.shape != u.shape or u.ndim != dimensions:
            break
    else:
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


def total(tensors: Iterable[Tensor]) -> Tensor:
    """Their sum; of a single one, itself: Python's own would add it to 0, one more pass over memory."""
    return reduce(Tensor.add, tensors)


Piece = Sequence[Sequence[Observation]]  # some of the samples: of each of the L layers, some calls


@dataclass(frozen=True)
class Stack:
    """As many layers of one shape and setting, and as many of their samples in a piece, as a processor's cache holds."""

    weight: Tensor  # (L, ..., N, M), which ``move`` writes to
    mask: Tensor | None  # (L, ..., N, M)
    pieces: Sequence[Piece]
    activation: Activation
    old: Tensor | None  # (L, ..., N)
    lr: Tensor  # (L, 1, ...), as the next two
    target: Tensor
    decay: Tensor
    rule: str
    average: str

    @property
    def _connected(self) -> Tensor:
        return self.weight if self.mask is None else self.weight * self.mask

    def _join(self, tensors: Iterable[Sequence[Tensor]]) -> Tensor:
        whole = [parts[0] if len(parts) == 1 else torch.cat(parts, -2) for parts in tensors]
        return (whole[0].unsqueeze(0) if len(whole) == 1 else joined(whole)).to(self.weight.dtype)

    @cached_property
    def _responses(self) -> list[tuple[Tensor, Callable[[], Tensor]]]:
        """|f'| (L, ..., S, N) of each piece, with what gives sgn(f') f''."""
        return [
            steepness_and_bend(self.activation, self._join([u for _, u in calls] for calls in piece)) for piece in self.pieces
        ]

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """The length of w and the means of |f'| and f'² over the samples, each (L, ..., N)."""
        first = total(steepness.sum(-2) for steepness, _ in self._responses)
        second = total(steepness.square().sum(-2) for steepness, _ in self._responses)
        return torch.linalg.vector_norm(self._connected, dim=-1), first / self._samples, second / self._samples

    @property
    def _samples(self) -> int:
        return sum(steepness.shape[-2] for steepness, _ in self._responses)

    def measure(self) -> Measure:
        norm, first, second = self._moments
        squares = norm.square() * second
        average = next_average(self.old, norm * first, squares, self.decay, self.average)
        return Measure(average, log_sensitivity(squares.sqrt()))

    def move(self, average: Tensor) -> tuple[list[int], Tensor, Tensor]:
        """Which layers of the stack move, where their weights move to (l, ..., N, M) and by how much their biases (l, ..., N)."""
        norm, first, _ = self._moments
        amount = self.lr * pull(average, self.target, self.rule)
        # A row of norm 0 has no direction: divided by 1 instead, its gradient stays 0.
        stretch, share = amount * first / torch.where(norm > 0, norm, 1.0), amount * norm
        # A layer at rest costs no product, unless a device would have to be waited for to know.
        moves = amount.flatten(1).any(1).tolist() if amount.is_cpu else [True] * len(amount)
        moving = [i for i, moved in enumerate(moves) if moved]
        return moving, *self._moved(stretch, share, moving)

    def _moved(self, stretch: Tensor, share: Tensor, moving: Sequence[int]) -> tuple[Tensor, Tensor]:
        """w + stretch · w + share · mean of sgn(f') f'' x for the ``moving`` layers, and by how much their biases move."""
        some = slice(None) if len(moving) == len(self.weight) else moving
        weight, mask, by_bias = self.weight[some], None if self.mask is None else self.mask[some], []
        weight.addcmul_(self._connected[some], stretch[some].unsqueeze(-1))
        if moving and self.activation.curvature is not torch.zeros_like:
            share = (share[some] / self._samples).unsqueeze(-2)
            for piece, (_, bend_of) in zip(self.pieces, self._responses, strict=True):
                bend, inputs = bend_of()[some].mul_(share), self._join([x for x, _ in piece[i]] for i in moving)
                if mask is None:
                    weight.flatten(0, -3).baddbmm_(bend.flatten(0, -3).mT, inputs.flatten(0, -3))
                else:
                    weight.add_((bend.mT @ inputs).mul_(mask))
                by_bias.append(bend.sum(-2))
        return weight, total(by_bias) if by_bias else torch.zeros_like(stretch[some])
