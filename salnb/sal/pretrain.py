"""SAL before learning: it brings a network to the edge of chaos without labels."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from ..common.arguments import check_integers
from ..common.denormals import flushed_denormals
from ..common.progress import progress_bar
from .optimizer import SAL

Batches = Tensor | Callable[[], Tensor] | Iterable


def _endless(batches: Batches) -> Iterator[Tensor]:
    """The inputs of one batch after the other, without end. Labels beside the inputs are ignored."""
    if isinstance(batches, Tensor):
        while True:
            yield batches
    if callable(batches):
        while True:
            yield batches()
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield batch[0] if isinstance(batch, tuple | list) else batch
        if empty:
            return


def sal_pretrain(
    model: nn.Module, batches: Batches, sal: SAL, *, steps: int, progress: bool = False
) -> dict[str, Tensor]:
    r"""Runs ``steps`` passes of the model and a SAL step after each; no labels, no gradients.

    Args:
        model: the module SAL is attached to; it is put into training mode and back afterwards.
        batches: inputs: one tensor for all passes, a function that returns the next one, or an iterable of tensors or
            (inputs, labels) pairs such as a DataLoader, begun again when it ends.
        sal: the attached ``SAL``.
        steps: number of passes. progress: show a progress bar.

    Returns:
        history: "log_sensitivity" (steps, L, ...) of each pass, "below_target" (steps, L, ...) the share of neurons whose
        average is still below target.

    Raises:
        ValueError: steps below 0, or batches that end and cannot be begun again.

    Example:
        >>> from salnb import SAL, DeepNet
        >>> net = DeepNet(2, 8, 1, depth=3, gain=0.5)
        >>> history = sal_pretrain(net, torch.ones(4, 2), SAL(net), steps=10)
        >>> history["log_sensitivity"].shape
        torch.Size([10, 2])
    """
    check_integers(steps=(steps, 0))
    supply, modes = _endless(batches), {module: module.training for module in model.modules()}
    logs: list[Tensor] = []
    shares: list[Tensor] = []
    model.train()
    try:
        for done in progress_bar(range(steps), enabled=progress, label="SAL", total=steps):
            inputs = next(supply, None)
            if inputs is None:
                raise ValueError(f"batches: ended after {done} of {steps} passes; pass a function or a re-iterable collection")
            with flushed_denormals(), torch.no_grad():  # states of a network with low sensitivity may be so small
                model(inputs)
                sal.step()
            logs.append(sal.log_sensitivity())
            shares.append(sal.share_below_target())
    finally:
        for module, training in modes.items():  # one by one: a part that was frozen in eval mode stays so
            module.training = training
    empty = torch.empty(0)
    return {
        "log_sensitivity": torch.stack(logs) if logs else empty,
        "below_target": torch.stack(shares) if shares else empty,
    }
