"""Two networks that part: is there a barrier between them where their singular vectors no longer agree?"""

import torch
from torch import Tensor
from torch.func import functional_call

from ...networks.deep import DeepNet
from ..barrier import loss_barrier
from ..singular_vectors import singular_vector_agreement, subspace_overlap
from .data import Samples, split_of
from .training import MATRICES, MIDDLE, Recipe, accuracies, losses, network, train

State = dict[str, Tensor]


def copied(net: DeepNet) -> State:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


def compared(net: DeepNet, a: State, b: State, samples: Samples) -> dict[str, list[float]]:
    """Barrier, agreement, overlap (the mean over the middle matrices) and relative distance of two states, in lists over R."""
    barrier = loss_barrier(lambda p: losses(lambda x: functional_call(net, p, (x,)), samples), a, b)
    squares = lambda s: sum(s[name].square().sum((-2, -1)) for name in MATRICES)  # noqa: E731
    apart = squares({name: a[name] - b[name] for name in MATRICES})
    mean = lambda function: torch.stack([function(a[name], b[name]) for name in MIDDLE]).mean(0).tolist()  # noqa: E731
    return {"barrier": barrier.tolist(), "agreement": mean(singular_vector_agreement), "overlap": mean(subspace_overlap),
            "distance": (apart / (squares(a) * squares(b)).sqrt()).sqrt().tolist()}  # fmt: skip


def perturbed(state: State, size: float, generator: torch.Generator) -> State:
    """Every matrix but the readout moved by ``size`` times its norm in a random direction, and brought back to its norm."""
    found = dict(state)
    for name in MATRICES[:-1]:
        weight = state[name]
        norm = torch.linalg.matrix_norm(weight, keepdim=True)
        drawn = torch.randn(weight.shape, generator=generator)
        moved = weight + size * norm * drawn / torch.linalg.matrix_norm(drawn, keepdim=True)
        found[name] = moved * norm / torch.linalg.matrix_norm(moved, keepdim=True)
    return found


def part(
    data: str, seeds: tuple[int, int], *, splits: tuple[int, ...], perturbed_at: int, sizes: tuple[float, ...], replicas: int = 8,
    width: int = 256, **recipe: float,
) -> dict:  # fmt: skip
    """Trains R trunks, lets each part at several epochs into two branches, and compares their ends; returns lists over R.

    Args:
        data: name of the set. seeds: of data and order, and of weights. splits: epochs at which two branches begin that see the
            samples in two orders. perturbed_at, sizes: one of these epochs, and how far the second branch is moved there first.
        recipe: see ``Recipe``.
    """
    settings = Recipe(**recipe)
    draws, weights = (torch.Generator().manual_seed(seed) for seed in seeds)
    split = split_of(data, replicas, draws)
    net, trunk = network(split.fit.inputs.shape[-1], width, replicas, weights), {}
    trunk[0] = copied(net)

    def keep(epoch: int) -> None:
        if epoch in splits:
            trunk[epoch] = copied(net)

    train(net, split.fit, Recipe(**{**recipe, "epochs": max(splits)}), draws, after_epoch=keep)

    def branch(state: State, epoch: int) -> State:
        net.load_state_dict(state)
        train(net, split.fit, settings, draws, first_epoch=epoch)
        return copied(net)

    found, first = {}, {}
    for epoch in splits:
        first[epoch] = branch(trunk[epoch], epoch)
        found[f"split at {epoch}"] = compared(net, first[epoch], branch(trunk[epoch], epoch), split.fit)
    for size in sizes:
        second = branch(perturbed(trunk[perturbed_at], size, draws), perturbed_at)
        found[f"moved by {size:g}"] = compared(net, first[perturbed_at], second, split.fit)
    return {"pairs": found, "accuracy": accuracies(net, split.test).tolist()}
