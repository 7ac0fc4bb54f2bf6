"""The arithmetic of one SAL step: layers of one shape are stacked, measured together and moved together."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from ..sensitivity.activations import Activation
from ..sensitivity.formulas import absolute_slope_and_derivative, log_sensitivity
from .hooks import Observation
from .layers import WatchedLayer
from .passes.sums import Sums, flat_calls, stacked, working_dtype
from .rule import next_average, pull


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of one shape as one (L, ...): a view where they lie one after the other in one memory, else a copy."""
    first = tensors[0]
    size, shape, strides, begin = first.numel(), first.shape, first.stride(), first.data_ptr()
    apart = size * first.element_size()
    ends = begin + len(tensors) * apart
    places = range(begin, ends, apart) if apart else [begin] * len(tensors)
    if not first.is_contiguous() or [tensor.data_ptr() for tensor in tensors] != [*places]:
        return torch.stack(tensors)
    if [tensor.stride() for tensor in tensors] != [strides] * len(tensors):
        return torch.stack(tensors)
    storage = first.untyped_storage()
    if storage.data_ptr() + storage.nbytes() < ends:  # neighbors by chance
        return torch.stack(tensors)
    return first.detach().as_strided((len(tensors), *shape), (size, *strides))


def write(parameters: Sequence[Tensor], values: Tensor) -> None:
    """Copies values (L, ...) into L parameters. Where the values are these parameters' own memory, nothing is copied."""
    if parameters[0].data_ptr() != values.data_ptr():
        same = values.shape[1:] == parameters[0].shape  # else kernels of a convolution, as rows
        torch._foreach_copy_(list(parameters), [value if same else value.view_as(parameters[0]) for value in values.unbind(0)])
        return
    for parameter in parameters:  # autograd must still learn of the change
        increment_version(parameter)  # one by one: torch 2.4 takes no lists


class Measure(NamedTuple):
    """The result of one pass for a stack of layers."""

    average: Tensor  # (L, ..., N), the running average after this pass
    log_sensitivity: Tensor  # (L, ...), of this pass alone


def total(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of the tensors. Python's own ``sum`` would add them to 0 first, one more pass over memory."""
    return reduce(Tensor.add, tensors)


Piece = Sequence[Sequence[Observation]]  # a part of the samples: for each of the L layers some calls


@dataclass(frozen=True)
class Stack:
    """Layers of one shape and setting, computed together, with their samples in pieces that fit a processor's cache."""

    weight: Tensor  # (L, ..., N, M), which ``move`` writes to
    mask: Tensor | None  # (L, ..., N, M)
    pieces: Sequence[Piece]
    activation: Activation | None  # None if there are only sums
    old: Tensor | None  # (L, ..., N)
    lr: Tensor  # (L, 1, ...), as the next two
    target: Tensor
    decay: Tensor
    rule: str
    average: str
    sums: Sums | None = None  # (L, ...), of passes before this one

    @property
    def _connected(self) -> Tensor:
        return self.weight if self.mask is None else self.weight * self.mask

    def _join(self, tensors: Iterable[Sequence[Tensor]]) -> Tensor:
        whole = [parts[0] if len(parts) == 1 else torch.cat(parts, -2) for parts in tensors]
        return (whole[0].unsqueeze(0) if len(whole) == 1 else joined(whole)).to(self.weight.dtype)

    @cached_property
    def _responses(self) -> list[tuple[Tensor, Callable[[], Tensor]]]:
        """|f'| (L, ..., S, N) of each piece, with what gives sgn(f') f''."""
        derivatives = partial(absolute_slope_and_derivative, self.activation)
        return [derivatives(self._join([u for _, u in calls] for calls in piece)) for piece in self.pieces]

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """The length of w and the means of |f'| and f'² over the samples, each (L, ..., N)."""
        before = ([], []) if self.sums is None else ([self.sums.slope], [self.sums.square])
        first = total([*before[0], *(absolute_slope.sum(-2) for absolute_slope, _ in self._responses)])
        second = total([*before[1], *(absolute_slope.square().sum(-2) for absolute_slope, _ in self._responses)])
        return torch.linalg.vector_norm(self._connected, dim=-1), first / self._samples, second / self._samples

    @cached_property
    def _samples(self) -> int | Tensor:
        here = sum(absolute_slope.shape[-2] for absolute_slope, _ in self._responses)
        return here if self.sums is None else here + self.sums.count

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
        # Layers in which no neuron moves are left out. On a GPU all are taken, because to find out would mean to wait for it.
        moves = amount.flatten(1).any(1).tolist() if amount.is_cpu else [True] * len(amount)
        moving = [i for i, moved in enumerate(moves) if moved]
        return moving, *self._moved(stretch, share, moving)

    def apply(self, average: Tensor, layers: Sequence[WatchedLayer], states: Sequence[dict]) -> bool:
        """Moves the layers of the stack; whether any moved. ``states`` keep what rounding takes away from half types."""
        moving, weight, by_bias = self.move(average)
        if moving:
            write_back([layers[j] for j in moving], weight, by_bias, [states[j] for j in moving])
        return bool(moving)

    def _moved(self, stretch: Tensor, share: Tensor, moving: Sequence[int]) -> tuple[Tensor, Tensor]:
        """w + stretch · w + share · mean of sgn(f') f'' x for the ``moving`` layers, and by how much their biases move."""
        some = slice(None) if len(moving) == len(self.weight) else moving
        weight, mask, by_bias = self.weight[some], None if self.mask is None else self.mask[some], []
        weight.addcmul_(self._connected[some], stretch[some].unsqueeze(-1))
        if moving and (self.activation is None or self.activation.curvature is not torch.zeros_like):
            samples = self._samples if self.sums is None else self._samples[some]
            share = (share[some] / samples).unsqueeze(-2)
            for piece, (_, derivative_of) in zip(self.pieces, self._responses, strict=True):
                slope_derivative, inputs = derivative_of()[some].mul_(share), self._join([x for x, _ in piece[i]] for i in moving)
                if mask is None:
                    weight.flatten(0, -3).baddbmm_(slope_derivative.flatten(0, -3).mT, inputs.flatten(0, -3))
                else:
                    weight.add_((slope_derivative.mT @ inputs).mul_(mask))
                by_bias.append(slope_derivative.sum(-2))
            if self.sums is not None:
                share = share.squeeze(-2)
                weight.add_(self.sums.by_weight[some] * share.unsqueeze(-1))
                by_bias.append(self.sums.by_bias[some] * share)
        return weight, total(by_bias) if by_bias else torch.zeros_like(stretch[some])


# How many numbers an intermediate tensor may have. AT_ONCE holds for the samples of one layer, which should fit a processor's
# cache; TOGETHER for several small layers, so many that the cost of calling PyTorch no longer matters. A GPU takes everything.
AT_ONCE = {"cpu": 2**16}
TOGETHER = {"cpu": 2**22}


def pieces_of(calls: Sequence[Observation], at_once: float) -> list[Piece]:
    """The samples of one layer in portions of about ``at_once`` numbers: short calls together, long ones cut."""
    portions, room = [], 0.0
    for inputs, pre in calls:
        size, samples = pre.numel(), pre.shape[-2]
        rows = samples if size <= at_once else max(1, int(at_once * samples / size))
        for part in [(inputs, pre)] if rows == samples else zip(inputs.split(rows, -2), pre.split(rows, -2), strict=True):
            if room < (size := part[1].numel()):
                portions.append([[]])
                room = at_once
            portions[-1][0].append(part)
            room -= size
    return portions


def rounding_of(state: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor | None:
    """What rounding to a half type has taken from a parameter so far (float32), or None; see ``write_rounded``."""
    lost = state.get(name)
    return None if lost is None or lost.shape != like.shape else lost


def stack_layers(
    layers: Sequence[WatchedLayer],
    observations: Sequence[Sequence[Observation]],
    groups: Sequence[Mapping[str, object]],
    averages: Sequence[Tensor | None],
    sums: Sequence[Sums | None],
    states: Sequence[Mapping[str, Tensor]],
) -> Iterator[tuple[list[int], Stack]]:
    """Groups layers that can be computed in one batched product; yields their indices and the stack.

    The stacks come one after the other, so that memory of one stack is still in the processor's cache when the next one uses it.
    """
    samples = [flat_calls(layer, calls) for layer, calls in zip(layers, observations, strict=True)]
    alike: dict[tuple, list[int]] = {}
    for i, (layer, group, calls) in enumerate(zip(layers, groups, samples, strict=True)):
        weight, shapes = layer.weight, [(inputs.shape, pre.shape) for inputs, pre in calls[:1]]
        key = (i if len(calls) > 1 else None, weight.shape, *shapes, weight.dtype, weight.device, weight.requires_grad,
               layer.activation if calls else None, layer.mask is None, averages[i] is None, sums[i] is None,
               group["rule"], group["average"])  # fmt: skip
        alike.setdefault(key, []).append(i)
    for same in alike.values():
        first, group, calls = layers[same[0]], groups[same[0]], samples[same[0]]
        at_once = AT_ONCE.get(first.weight.device.type, float("inf"))
        together = TOGETHER.get(first.weight.device.type, float("inf"))
        size = max(first.weight.numel(), calls[0][1].numel() if calls else 0)
        count = int(min(len(same), max(1, together // size)))
        dtype = working_dtype(first.weight.dtype)
        rates = [[group_of["lr"] if moves(layers[i]) else 0.0 for i, group_of in ((i, groups[i]) for i in same)],
                 *([groups[i][name] for i in same] for name in ("target", "decay"))]  # fmt: skip
        numbers = first.weight.new_tensor(rates, dtype=dtype).view(3, -1, *[1] * (first.rows.ndim - 1))
        for start in range(0, len(same), count):
            members = same[start : start + count]
            lr, target, decay = numbers[:, start : start + count].unbind(0)
            mask = None if first.mask is None else torch.stack([layers[i].mask_rows for i in members]).to(dtype)
            pieces = pieces_of(samples[members[0]], at_once) if len(members) == 1 else [[samples[i] for i in members]]
            yield members, Stack(
                weight=weights_of([layers[i] for i in members], [states[i] for i in members]),
                mask=mask,
                pieces=pieces if calls else [],
                activation=first.activation if calls else None,
                old=None if averages[members[0]] is None else joined([averages[i] for i in members]),
                lr=lr,
                target=target,
                decay=decay,
                rule=group["rule"],
                average=group["average"],
                sums=None if sums[members[0]] is None else stacked([sums[i] for i in members]),
            )


def moves(layer: WatchedLayer) -> bool:
    """Whether anything of the layer may be moved now: what is frozen (``requires_grad=False``) stays as it is."""
    return layer.weight.requires_grad or (layer.bias is not None and layer.bias.requires_grad)


def weights_of(layers: Sequence[WatchedLayer], states: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """The weights (L, ..., N, M), which ``Stack.move`` may write to: their own memory, or a copy where that must not be."""
    first = layers[0].weight
    weights = [layer.rows for layer in layers] if layers[0].is_convolution else [layer.weight for layer in layers]
    together, dtype = joined(weights), working_dtype(first.dtype)
    if dtype != first.dtype:
        together = together.to(dtype)
        for row, state in zip(together.unbind(0), states, strict=True):
            if (lost := rounding_of(state, "rounding", row)) is not None:
                row.add_(lost)
        return together
    return together if first.requires_grad else together.clone()


def write_back(layers: Sequence[WatchedLayer], weight: Tensor, by_bias: Tensor, states: Sequence[dict]) -> None:
    """Writes the moved weights, and the biases plus their changes, into the layers. One call: a Python loop takes longer."""
    weights = [layer.weight for layer in layers]
    rows = [i for i, layer in enumerate(layers) if layer.bias is not None and layer.bias.requires_grad]
    if weight.dtype != weights[0].dtype:
        for layer, moved, change, state in zip(layers, weight, by_bias, states, strict=True):
            write_rounded(layer, moved, change, state)
        return
    if weights[0].requires_grad:
        write(weights, weight)
    if rows:
        biases = [layers[i].bias for i in rows]
        write(biases, joined(biases).add_(by_bias if len(rows) == len(layers) else by_bias[rows]))


def write_rounded(layer: WatchedLayer, moved: Tensor, change: Tensor, state: dict) -> None:
    """Writes float32 numbers into parameters of a half type; what rounding takes away is kept in ``state`` for the next step.

    Without it a change below half a unit in the last place would be lost every time, and the weight would never move.
    """
    if layer.weight.requires_grad:
        layer.weight.copy_(moved.view_as(layer.weight))
        state["rounding"] = moved - layer.rows.to(moved.dtype)
    if layer.bias is not None and layer.bias.requires_grad:
        lost = rounding_of(state, "bias_rounding", change)
        wanted = layer.bias.to(change.dtype) + change if lost is None else layer.bias.to(change.dtype) + change + lost
        layer.bias.copy_(wanted)
        state["bias_rounding"] = wanted - layer.bias.to(change.dtype)
