"""Plain training of many networks side by side: stochastic gradient descent with momentum, each network with its own samples."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...common.denormals import flushed_denormals
from ...networks.deep import DeepNet
from .data import Samples

DEPTH, CLASSES = 3, 10  # hidden layers: weights of shapes (H, D), (H, H), (H, H), (10, H)
MATRICES = tuple(f"hidden.{i}.weight" for i in range(DEPTH)) + ("readout.weight",)
MIDDLE = MATRICES[1:3]  # the square ones
# As long as nn.Linear's start by PyTorch's default, whose weights are uniform within ±1/√fan-in.
GAIN = 1 / math.sqrt(3)


@dataclass(frozen=True)
class Recipe:
    """lr and momentum of SGD; decay adds decay · w to each gradient; epochs over the samples in batches, the rest left out."""

    lr: float = 0.05
    momentum: float = 0.9
    decay: float = 0.0
    batch: int = 32
    epochs: int = 200


def network(inputs: int, width: int, replicas: int, generator: torch.Generator, scale: float = 1.0) -> DeepNet:
    """R ReLU networks of three hidden layers at PyTorch's scale, or at ``scale`` times it."""
    return DeepNet(inputs, width, CLASSES, DEPTH, gain=scale * GAIN, replicas=replicas, activation="relu", generator=generator)


def matrices_of(net: nn.Module) -> dict[str, Tensor]:
    """Copies of the four weight matrices (R, m, n)."""
    parameters = dict(net.named_parameters())
    return {name: parameters[name].detach().clone() for name in MATRICES}


def losses(net: Callable[[Tensor], Tensor], samples: Samples) -> Tensor:
    """Cross-entropy (R,) of each network on its own samples."""
    logits = net(samples.inputs)
    each = nn.functional.cross_entropy(logits.flatten(0, 1), samples.labels.flatten(), reduction="none")
    return each.view(samples.labels.shape).mean(-1)


@torch.no_grad()
def accuracies(net: Callable[[Tensor], Tensor], samples: Samples) -> Tensor:
    """Share of right answers (R,)."""
    return (net(samples.inputs).argmax(-1) == samples.labels).float().mean(-1)


def batches(samples: Samples, size: int, generator: torch.Generator) -> Iterator[Samples]:
    """One epoch: every network reads its samples in an order of its own."""
    replicas, n = samples.labels.shape
    order = torch.rand((replicas, n), generator=generator).argsort(-1)
    row = torch.arange(replicas).unsqueeze(-1)
    for start in range(0, n - size + 1, size):
        some = order[:, start : start + size]
        yield Samples(samples.inputs[row, some], samples.labels[row, some])


def train(
    net: DeepNet, samples: Samples, recipe: Recipe, generator: torch.Generator, *, first_epoch: int = 0,
    after_step: Callable[[float], None] | None = None, after_epoch: Callable[[int], None] | None = None,
) -> None:  # fmt: skip
    """Trains the networks from ``first_epoch`` to the recipe's last.

    ``after_step`` gets the time in epochs, and may change weights (to hold a norm, to apply a mask). ``after_epoch`` gets the
    number of epochs done, and looks.
    """
    optimizer = torch.optim.SGD(net.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.decay)
    per_epoch = samples.labels.shape[-1] // recipe.batch
    for epoch in range(first_epoch, recipe.epochs):
        with flushed_denormals():
            for i, batch in enumerate(batches(samples, recipe.batch, generator), 1):
                optimizer.zero_grad()
                losses(net, batch).sum().backward()  # a sum, so that each network learns as if alone
                optimizer.step()
                if after_step is not None:
                    with torch.no_grad():
                        after_step(epoch + i / per_epoch)
        if after_epoch is not None:
            after_epoch(epoch + 1)
