"""One SAL step of a layer by rows: its sensitivities over the inputs that were kept, and the move along their gradient."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from ..layers import WatchedLayer
from ..rule import next_average, pull
from .keeping import Kept
from .maps import RowMap

AT_ONCE = 2**18  # numbers of the inputs that are computed together


class RowMeasure(NamedTuple):
    """The result of the passes since the last step, with a leading dimension of 1 as for a stack of one layer."""

    average: Tensor  # (1, N)
    log_sensitivity: Tensor  # (1,)


def working(x: Tensor, row_map: RowMap) -> Tensor:
    """Inputs in the precision in which rows are computed: at least float32, and that of the weights."""
    return x.to(torch.promote_types(row_map.parameters[0].dtype, torch.float32))


def parts_of(kept: Kept | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The kept inputs in parts that need not much memory, each with its mask."""
    for x, mask in () if kept is None else kept.portions:
        rows = max(1, AT_ONCE // max(1, x[:1].numel()))
        masks = [None] * len(x) if mask is None else mask.split(rows)
        yield from zip(x.split(rows), masks, strict=False)


def counting(values: Tensor, mask: Tensor | None) -> Tensor:
    """The values (S', N) of samples and places that count."""
    if mask is None:
        return values.flatten(0, -2)
    while mask.ndim < values.ndim - 1:
        mask = mask.unsqueeze(-1).expand(values.shape[: mask.ndim + 1])
    return values[mask]


@contextmanager
def derivatives_in_words(name: str) -> Iterator[None]:
    """PyTorch's error for a function without further derivatives becomes ours."""
    try:
        yield
    except RuntimeError as error:
        if any(words in str(error) for words in ("derivative for", "is not differentiable", "once_differentiable")):
            cause = str(error).splitlines()[0]
            raise RuntimeError(f"SAL: the layer {name!r} by rows holds a function without a third derivative, which the gradient "
                               f"of a sensitivity needs ({cause}); name another part of the model") from error  # fmt: skip
        raise


class RowStack:
    """A layer by rows with what was kept of its passes; the counterpart of ``Stack``.

    Args:
        kept: None where the layer did not run in this process, but in another one.
        rates: lr, target and decay (3,), the rate 0 if nothing may be moved.
        seed: of the random tangents; the same in ``measure`` and ``changes``, whose gradient is that of what was measured.
        add_up: sums a tensor over the processes that train together, in place.
    """

    def __init__(
        self, name: str, row_map: RowMap, kept: Kept | None, old: Tensor | None, rates: Tensor, rule: str, average: str,
        seed: int, add_up: Callable[[Tensor], object] | None = None,
    ) -> None:  # fmt: skip
        self.name, self.map, self.kept, self.old, self.seed = name, row_map, kept, old, seed
        self.add_up, self._single = add_up or (lambda tensor: None), None
        self.lr, self.target, self.decay = rates.view(3, 1, 1).unbind(0)
        self.rule, self.average = rule, average

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    @torch.inference_mode(False)
    def measure(self, *, moving: bool = False) -> RowMeasure:
        """The running average after these passes, and their log-sensitivity; ``moving``: ``plan`` follows."""
        generator, sums = self._generator(), None if self.map.units is None else self.lr.new_zeros(3, self.map.units)
        parts = [*parts_of(self.kept)]
        for x, mask in parts:
            # Of a single part the graph is kept, which spares ``plan`` to compute it once more.
            with derivatives_in_words(self.name), torch.set_grad_enabled(moving and len(parts) == 1):
                found = self.map.sensitivities(working(x, self.map), generator)
            if moving and len(parts) == 1:
                self._single = found[0], mask
            lengths, squares = (counting(one.detach(), mask).to(self.lr.dtype) for one in found)
            here = torch.stack([lengths.sum(0), squares.sum(0), torch.full_like(lengths[:1].sum(0), len(lengths))])
            sums = here if sums is None else sums + here
        self.add_up(sums)
        first, second, counts = sums
        self.count = counts[0]
        first, second = first / counts, second / counts
        old = None if self.old is None else self.old.unsqueeze(0)
        average = next_average(old, first.unsqueeze(0), second.unsqueeze(0), self.decay, self.average)
        return RowMeasure(average, 0.5 * second.mean().log().view(1))

    @torch.inference_mode(False)
    def plan(self, average: Tensor) -> None:
        """Computes what ``apply`` will do, with all parameters as they are now.

        Raises:
            RuntimeError: a gradient that is not finite; then nothing moves.
        """
        self._planned = self.changes(average)
        if not all(bool(change.isfinite().all()) for _, change in self._planned):
            raise RuntimeError(f"SAL: the gradient of the sensitivities of the layer {self.name!r} by rows is not finite; "
                               "nothing was moved. Numbers of a half type overflow: keep the weights in float32")  # fmt: skip

    def changes(self, average: Tensor) -> list[tuple[int, Tensor]]:
        """By how much which parameters move: rate · Σ_i pull_i ∇ E[s_i]."""
        amount = (self.lr * pull(average, self.target, self.rule)).squeeze(0)
        moved = [k for k, parameter in enumerate(self.map.parameters) if parameter.requires_grad]
        if not moved or not bool(amount.any()):
            return []
        parameters, generator = [self.map.parameters[k] for k in moved], self._generator()
        found = [torch.zeros_like(parameter, dtype=working_type(parameter)) for parameter in parameters]
        with torch.enable_grad(), derivatives_in_words(self.name):
            single, self._single = self._single, None
            for x, mask in [(None, single[1])] if single is not None else parts_of(self.kept):
                lengths = self.map.sensitivities(working(x, self.map), generator)[0] if single is None else single[0]
                objective = (counting(lengths, mask).sum(0) * amount).sum() / self.count.clone()
                if objective.requires_grad:
                    gradients = torch.autograd.grad(objective, parameters, materialize_grads=True)
                    torch._foreach_add_(found, list(gradients))
        for change in found:
            self.add_up(change)
        return list(zip(moved, found, strict=True))

    def apply(self, average: Tensor, layers: Sequence[WatchedLayer], states: Sequence[dict]) -> bool:
        """Moves the parameters as planned; whether any moved. ``states`` keep what rounding takes away, and count the steps."""
        (state,) = states
        state["measured"] = torch.tensor(self.seed + 1)
        with torch.inference_mode(False), torch.no_grad():
            for k, change in self._planned:
                add_rounded(self.map.parameters[k], change, state, f"rounding_{k}")
        return bool(self._planned)


def working_type(parameter: Tensor) -> torch.dtype:
    """The type in which changes of this parameter are summed."""
    return torch.promote_types(parameter.dtype, torch.float32)


def add_rounded(parameter: Tensor, change: Tensor, state: dict, name: str) -> None:
    """parameter += change; what rounding to a half type takes away is kept in ``state`` for the next step."""
    if parameter.dtype == change.dtype:
        parameter.add_(change)
        return
    wanted = parameter.to(change.dtype) + change
    lost = state.get(name)
    wanted = wanted if lost is None or lost.shape != wanted.shape else wanted + lost
    parameter.copy_(wanted)
    state[name] = wanted - parameter.to(change.dtype)


def row_stack(
    layer: WatchedLayer, kept: Kept | None, group: Mapping[str, object], state: Mapping[str, Tensor],
    add_up: Callable[[Tensor], object] | None = None,
) -> RowStack:  # fmt: skip
    """A layer by rows, ready to be measured; random tangents are drawn anew at every step, the same after a resume."""
    row_map = layer.row_map
    lr = group["lr"] if any(parameter.requires_grad for parameter in row_map.parameters) else 0.0
    rates = torch.tensor([lr, group["target"], group["decay"]], dtype=working_type(layer.weight), device=layer.weight.device)
    seed, old = int(state.get("measured", 0)), state.get("sensitivity")
    return RowStack(layer.name, row_map, kept, old, rates, group["rule"], group["average"], seed, add_up)
