"""Lottery tickets: do the masks of the largest weights keep the leading singular vectors, and do such networks learn again?"""

import torch
from torch import Tensor

from ..masks import magnitude_masks, random_masks_like, random_masks_of_equal_energy
from ..singular_vectors import singular_vector_agreement, subspace_overlap
from .data import split_of
from .training import MATRICES, MIDDLE, Recipe, accuracies, matrices_of, network, train

KINDS = ("largest", "random", "equal energy")


def masks_of(weights: dict[str, Tensor], density: float, generator: torch.Generator) -> dict[str, dict[str, Tensor]]:
    """The three kinds of masks; one threshold for each network and all its matrices but the readout."""
    largest = magnitude_masks(weights, density, replica_dims=1)
    return {"largest": largest, "random": random_masks_like(largest, generator=generator, replica_dims=1),
            "equal energy": random_masks_of_equal_energy(largest, weights, generator=generator, replica_dims=1)}  # fmt: skip


def draw_tickets(
    data: str, seeds: tuple[int, int], *, densities: tuple[float, ...], retrained: float, rewind: int = 2, replicas: int = 8,
    width: int = 256, **recipe: float,
) -> dict:  # fmt: skip
    """Trains R networks, masks them, and trains the masked ones again from epoch ``rewind``; returns lists over R.

    Args:
        data: name of the set. seeds: of data and order, and of weights. densities: shares of the weights that are kept.
        retrained: the one with which networks are trained again. recipe: see ``Recipe``.
    """
    settings = Recipe(**recipe)
    draws, weights = (torch.Generator().manual_seed(seed) for seed in seeds)
    split = split_of(data, replicas, draws)
    net = network(split.fit.inputs.shape[-1], width, replicas, weights)
    rewound, initial = {}, matrices_of(net)

    def keep(epoch: int) -> None:
        if epoch == rewind:
            rewound.update({name: value.detach().clone() for name, value in net.state_dict().items()})

    train(net, split.fit, settings, draws, after_epoch=keep)
    dense = matrices_of(net)
    found = {"accuracy": accuracies(net, split.test).tolist(), "agreement": {}, "overlap": {}, "kept": {}, "at the start": {},
             "retrained": {}}  # fmt: skip
    for density in densities:
        masks = masks_of({name: dense[name] for name in MATRICES[:-1]}, density, draws)
        for kind in KINDS:
            key = f"{kind}, {density:g}"
            masked = {name: dense[name] * masks[kind][name] for name in MIDDLE}
            found["agreement"][key] = {n: singular_vector_agreement(dense[n], masked[n]).tolist() for n in MIDDLE}
            found["overlap"][key] = {n: subspace_overlap(dense[n], masked[n]).tolist() for n in MIDDLE}
            found["kept"][key] = {n: masks[kind][n].float().mean((-2, -1)).tolist() for n in MIDDLE}
            if kind == "largest":  # the mask alone: on the weights before learning, against the dense weights after it
                found["at the start"][key] = {
                    n: singular_vector_agreement(dense[n], initial[n] * masks[kind][n]).tolist() for n in MIDDLE}  # fmt: skip
            if density == retrained:
                net.load_state_dict(rewound)
                mask_and_train(net, masks[kind], split.fit, settings, draws, rewind)
                found["retrained"][key] = accuracies(net, split.test).tolist()
    return found


def mask_and_train(net, masks: dict[str, Tensor], samples, recipe: Recipe, generator: torch.Generator, first_epoch: int) -> None:
    """Trains with masks that are put on again after every step."""
    parameters = {name: parameter for name, parameter in net.named_parameters() if name in masks}

    def put_on(epoch: float) -> None:
        for name, parameter in parameters.items():
            parameter.mul_(masks[name])

    with torch.no_grad():
        put_on(first_epoch)
    train(net, samples, recipe, generator, first_epoch=first_epoch, after_step=put_on)
