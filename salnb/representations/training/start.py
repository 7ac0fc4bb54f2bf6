"""The network before training, with hidden weights as the recipe wants them; what a frozen layer and a linear front need."""

import torch
from torch import Tensor

from ...common.tensors import check_floats
from ..hidden_net import HiddenNet
from ..krotov_hopfield_rule import effective_weight
from .recipe import Recipe

ROWS = 2000  # samples of each replica whose frozen hidden activities are computed at once


def first_net(
    recipe: Recipe, x: Tensor, classes: int, given: Tensor | None, lead: tuple[int, ...], generator: torch.Generator | None
) -> HiddenNet:  # fmt: skip
    """The network before training, for inputs like x (..., n, D); the hidden weights of a frozen one take no gradient."""
    width, settings = x.shape[-1], {"power": recipe.power, "activation": recipe.activation, "generator": generator}
    if (given is not None) != (recipe.hidden == "given"):
        needed = "are needed: give hidden_weight=, for instance layer.effective_weight()" if given is None else "are not read"
        raise ValueError(f"hidden_weight: with hidden={recipe.hidden!r}, hidden weights {needed}")
    if recipe.hidden == "given":
        check_floats("hidden_weight", given, f"(..., units, {width})", dims=2)
        fits = given.shape[-1] == width and given.shape[:-2] in ((), lead)
        if not fits or given.dtype != x.dtype or given.device != x.device:
            raise ValueError(
                f"hidden_weight: got shape {tuple(given.shape)}, {given.dtype} on {given.device}, expected (..., units, {width}) "
                f"with the replicas {lead} or none, {x.dtype} on {x.device}"
            )
        return HiddenNet.from_weight(given.expand(*lead, *given.shape[-2:]), classes, **settings)
    if recipe.hidden == "exemplars":
        if recipe.units > x.shape[-2]:
            raise ValueError(f"units: got {recipe.units} exemplars of {x.shape[-2]} samples, expected at most that many")
        chosen = shuffled(x.shape[:-1], generator, x.device)[..., : recipe.units]
        exemplars = torch.take_along_dim(x, chosen.unsqueeze(-1), -2)
        return HiddenNet.from_weight(effective_weight(exemplars, recipe.p), classes, **settings)
    net = HiddenNet(width, recipe.units, classes, replicas=lead, device=x.device, dtype=x.dtype, **settings)
    net.hidden_weight.requires_grad_(recipe.hidden != "random")
    return net


@torch.no_grad()
def activities(net: HiddenNet, x: Tensor) -> Tensor:
    """Hidden activities (..., n, H) of frozen weights, computed once for all epochs."""
    return torch.cat([net.hidden(rows) for rows in x.split(ROWS, -2)], -2)


def principal_components(x: Tensor, count: int) -> Tensor:
    """The first principal components of each replica's samples (..., n, D), as orthonormal rows (..., count, D)."""
    if count > x.shape[-1]:
        raise ValueError(f"components: got {count} for inputs of {x.shape[-1]} numbers, expected at most that many")
    centred = x.double() - x.double().mean(-2, keepdim=True)
    return torch.linalg.eigh(centred.mT @ centred)[1][..., -count:].flip(-1).mT.to(x.dtype)


def with_front(net: HiddenNet, front: Tensor) -> HiddenNet:
    """The same network on the inputs themselves, W = A P, where the given one reads the components P x."""
    whole = HiddenNet.from_weight(
        net.hidden_weight.detach() @ front, net.readout_bias.shape[-1], power=net.power, activation=net.activation,
        trainable=True,
    )  # fmt: skip
    with torch.no_grad():
        whole.readout_weight.copy_(net.readout_weight)
        whole.readout_bias.copy_(net.readout_bias)
    return whole


def shuffled(shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """A random order of 0 … n − 1 for every replica, (..., n), drawn on the generator's device."""
    source = generator.device if generator is not None else device
    return torch.rand(shape, generator=generator, device=source).argsort(-1).to(device)
