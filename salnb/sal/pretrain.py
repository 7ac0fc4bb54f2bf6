"""SAL before learning: it brings a network to the edge of chaos without labels."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from ..common.arguments import check_integers
from ..common.denormals import flushed_denormals
from ..common.progress import progress_bar
from .optimizer import SAL

Batches = Tensor | Callable[[], object] | Iterable
Forward = Callable[..., object]


def _endless(batches: Batches) -> Iterator[object]:
    """One batch after the other, without end."""
    if isinstance(batches, Tensor | Mapping):
        while True:
            yield batches
    if callable(batches):
        while True:
            yield batches()
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty:
            return


def _required(function: Callable) -> tuple[int, set[str] | None]:
    """How many positional arguments a function needs, and the names it takes; None if it takes any."""
    parameters = inspect.signature(function).parameters.values()
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = sum(p.kind in places and p.default is p.empty for p in parameters)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return needed, None if takes_any else {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}


def run_batch(model: nn.Module, batch: object, forward: Forward | None = None) -> object:
    """Calls the model with a batch: a tensor, a tuple that begins with what ``forward`` needs, or a dictionary of its arguments.

    Raises:
        TypeError: a batch of another kind. ValueError: too few inputs, or a dictionary without a name that is needed.
    """
    if forward is not None:
        return forward(model, batch) if _required(forward)[0] > 1 else forward(batch)
    (needed, names), kind = _required(model.forward), type(model).__name__
    if isinstance(batch, Tensor):
        return model(batch)
    if isinstance(batch, Mapping):
        given = {name: value for name, value in batch.items() if names is None or name in names}
        if len(given) < needed:
            raise ValueError(f"batches: got a dictionary with {', '.join(map(str, batch))}, but {kind}.forward needs {needed} of "
                             f"{', '.join(sorted(names or ()))}; say how with forward=lambda model, batch: ...")  # fmt: skip
        return model(**given)
    if isinstance(batch, tuple | list) and batch and all(isinstance(part, Tensor) for part in batch[: max(needed, 1)]):
        if len(batch) < needed:
            raise ValueError(f"batches: got {len(batch)} tensors in a batch, but {kind}.forward needs {needed} inputs; "
                             "say how to call it with forward=lambda model, batch: ...")  # fmt: skip
        return model(*batch[: max(needed, 1)])
    raise TypeError(f"batches: got a batch of type {type(batch).__name__}, expected a tensor, a tuple that begins with the "
                    "inputs, or a dictionary of the model's arguments; else give forward=lambda model, batch: ...")  # fmt: skip


def _table(rows: list[Tensor], names: list[list[str]]) -> Tensor:
    """The rows (steps, L, ...) of all layers; NaN where a layer had not run yet."""
    listed = max(names, key=len, default=[])
    if any(own != listed for own in names):
        rows = [torch.stack([row[own.index(name)] if name in own else torch.full_like(row[0], math.nan) for name in listed])
                for row, own in zip(rows, names, strict=True)]  # fmt: skip
    return torch.stack(rows) if rows else torch.empty(0)


def sal_pretrain(
    model: nn.Module, batches: Batches, sal: SAL, *, steps: int, progress: bool = False, forward: Forward | None = None
) -> dict[str, Tensor]:
    r"""Runs ``steps`` passes of the model and a SAL step after each; no labels, no gradients.

    Args:
        model: the module SAL is attached to; it is put into training mode and back afterwards.
        batches: one batch for all passes, a function that returns the next one, or an iterable of batches such as a DataLoader,
            begun again when it ends. A batch is a tensor; a tuple that begins with as many inputs as the model's ``forward``
            needs, labels behind them being ignored; or a dictionary, of which ``forward`` gets the names that it takes.
        sal: the attached ``SAL``.
        steps: number of passes. progress: show a progress bar.
        forward: how to call the model with any other batch: ``lambda model, batch: model(batch.x)``.

    Returns:
        history: "log_sensitivity" (steps, L, ...) of each pass, "below_target" (steps, L, ...) the share of neurons whose
        average is still below target; NaN where a layer did not run.

    Raises:
        ValueError: steps below 0, batches that end and cannot be begun again, or a batch without an input that is needed.
        TypeError: a batch of another kind.

    Example:
        >>> from salnb import SAL, DeepNet
        >>> net = DeepNet(2, 8, 1, depth=3, gain=0.5)
        >>> history = sal_pretrain(net, torch.ones(4, 2), SAL(net), steps=10)
        >>> history["log_sensitivity"].shape
        torch.Size([10, 2])
    """
    check_integers(steps=(steps, 0))
    if all(part is not sal._model for part in model.modules()):
        raise ValueError(f"sal: is attached to another model than the {type(model).__name__} given here; give its own SAL(model)")
    nothing, supply, modes = object(), _endless(batches), {module: module.training for module in model.modules()}
    logs: list[Tensor] = []
    shares: list[Tensor] = []
    names: list[list[str]] = []
    model.train()
    try:
        for done in progress_bar(range(steps), enabled=progress, label="SAL", total=steps):
            batch = next(supply, nothing)
            if batch is nothing:
                raise ValueError(f"batches: ended after {done} of {steps} passes; pass a function or a re-iterable collection")
            with flushed_denormals(), torch.no_grad():  # states of a network with low sensitivity may be so small
                sal.discard()
                run_batch(model, batch, forward)
                sal.step()
            names.append([layer.name for layer in sal._watched()])
            logs.append(sal.log_sensitivity())
            shares.append(sal.share_below_target())
    finally:
        for module, training in modes.items():  # one by one: a part that was frozen in eval mode stays so
            module.training = training
    return {"log_sensitivity": _table(logs, names), "below_target": _table(shares, names)}
