"""Masks on weights: the largest ones kept, and random masks beside which that can be judged."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ..common.arguments import as_float, check_integers
from ..common.tensors import check_floats, check_tensor

Tensors = list[Tensor] | dict[str, Tensor]


def named(name: str, tensors: Tensors) -> dict[str, Tensor]:
    """The tensors by the names that messages call them."""
    if isinstance(tensors, Mapping):
        found = {f"{name}[{key!r}]": value for key, value in tensors.items()}
    elif isinstance(tensors, Iterable) and not isinstance(tensors, (Tensor, str, bytes)):
        found = {f"{name}[{i}]": value for i, value in enumerate(tensors)}
    else:
        raise TypeError(f"{name}: got {type(tensors).__name__}, expected a list or a dict of tensors; one alone as [tensor]")
    if not found:
        raise ValueError(f"{name}: got none, expected at least one tensor")
    return found


def as_given(tensors: Tensors, found: list[Tensor]) -> Tensors:
    """A list of results in the form in which the tensors came."""
    return dict(zip(tensors, found, strict=True)) if isinstance(tensors, Mapping) else found


def replica_shape(tensors: dict[str, Tensor], dims: int) -> torch.Size:
    """The leading dimensions that all tensors share."""
    check_integers(replica_dims=(dims, 0))
    first_name, first = next(iter(tensors.items()))
    for name, value in tensors.items():
        if value.ndim < dims or value.shape[:dims] != first.shape[:dims]:
            raise ValueError(f"{name}: got shape {tuple(value.shape)}, expected {tuple(first.shape[:dims])} as the first "
                             f"{dims} dimensions, which are the replicas of {first_name}")  # fmt: skip
    return first.shape[:dims]


def largest(scores: Tensor, count: int | Tensor) -> Tensor:
    """True at exactly ``count`` places of the last dimension, those of the largest scores; of equal ones the earlier."""
    order = scores.sort(dim=-1, descending=True, stable=True).indices
    places = torch.arange(scores.shape[-1], device=scores.device).expand_as(scores)
    return torch.zeros_like(scores, dtype=torch.bool).scatter(-1, order, places < count)


def check_weights(weights: Tensors) -> dict[str, Tensor]:
    found = named("weights", weights)
    for name, value in found.items():
        check_floats(name, value, "of weights", dims=1)
    return found


def magnitude_masks(weights: Tensors, density: float, *, replica_dims: int = 0) -> Tensors:
    r"""Masks that keep the largest weights by absolute value, with one threshold for all tensors together.

    .. math:: M = [\,|w| \ge \theta\,], \qquad \theta: \textstyle\sum M = \lfloor \text{density} \cdot n + \tfrac12 \rfloor

    Args:
        weights: tensors of any shapes, in a list or a dict. density: share of all weights that is kept, in [0, 1].
        replica_dims: how many leading dimensions are replicas, each with a threshold of its own.

    Returns:
        Booleans of the same shapes, in a list or a dict as the weights are. Exactly as many are True as the density says: of
        weights that are equal, those that come first.

    Raises:
        TypeError: no list or dict of tensors. ValueError: a density outside [0, 1], numbers that are not finite, no tensor.

    Source: arXiv 2408.11804, appendix A.8; the masks of Frankle and Carbin, ICLR 2019.

    Example:
        >>> magnitude_masks([torch.tensor([3.0, -1.0]), torch.tensor([0.5, -2.0])], 0.5)
        [tensor([ True, False]), tensor([False,  True])]
    """
    tensors, share = check_weights(weights), as_float(density)
    if not 0 <= share <= 1:
        raise ValueError(f"density: got {density!r}, expected a share of the weights in [0, 1]")
    lead = replica_shape(tensors, replica_dims)
    sizes = [value[(0,) * replica_dims].numel() for value in tensors.values()]
    device = next(iter(tensors.values())).device
    together = torch.cat([value.detach().abs().reshape(*lead, -1).to(device) for value in tensors.values()], -1)
    kept = largest(together, int(share * sum(sizes) + 0.5))
    parts = zip(kept.split(sizes, -1), tensors.values(), strict=True)
    return as_given(weights, [mask.reshape(value.shape).to(value.device) for mask, value in parts])


def uniform(shape: torch.Size, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Numbers between 0 and 1, drawn on the generator's device, so that one of the CPU gives the same ones everywhere."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"generator: got {type(generator).__name__}, expected a torch.Generator or None")
    source = generator.device if generator is not None else device
    # In double precision no two of them are equal in practice, so that every order has the same chance.
    return torch.rand(shape, generator=generator, device=source, dtype=torch.float64).to(device)


def check_masks(masks: Tensors) -> dict[str, Tensor]:
    found = named("masks", masks)
    for name, value in found.items():
        check_tensor(name, value, "of booleans")
        if value.dtype != torch.bool:
            raise ValueError(f"{name}: got dtype {value.dtype}, expected booleans; convert with .bool()")
    return found


def random_masks_like(masks: Tensors, *, generator: torch.Generator | None = None, replica_dims: int = 0) -> Tensors:
    """Random masks that keep exactly as many weights of each tensor as the masks do, and of each replica.

    Args:
        masks: tensors of booleans, in a list or a dict. generator: of the draw. replica_dims: leading dimensions of replicas.

    Returns:
        Masks of the same shapes, in a list or a dict as the given ones are.

    Raises:
        TypeError: no list or dict of tensors. ValueError: another dtype than booleans, no tensor.

    Source: arXiv 2408.11804, appendix A.8 (random masks of the same density in each layer).

    Example:
        >>> drawn = random_masks_like([torch.tensor([True, False, False])], generator=torch.Generator().manual_seed(0))
        >>> int(drawn[0].sum())
        1
    """
    tensors = check_masks(masks)
    lead = replica_shape(tensors, replica_dims)
    found = []
    for mask in tensors.values():
        flat = mask.reshape(*lead, -1)
        drawn = largest(uniform(flat.shape, mask.device, generator), flat.sum(-1, keepdim=True))
        found.append(drawn.reshape(mask.shape))
    return as_given(masks, found)


def random_masks_of_equal_energy(
    masks: Tensors, weights: Tensors, *, generator: torch.Generator | None = None, replica_dims: int = 0
) -> Tensors:
    r"""Random masks that keep as much of each tensor's squared norm as the masks do: a control that the paper does not have.

    .. math:: \sum M_{random} w^2 \approx \sum M w^2 \quad\text{for each tensor}

    A mask of the largest weights keeps more of the matrix than a random one of the same density, whatever the matrix is. This one
    draws weights in random order until it has kept as much, to the nearest weight.

    Args:
        masks: tensors of booleans, in a list or a dict. weights: the weights that they are for, in the same form and shapes.
        generator: of the draw. replica_dims: leading dimensions of replicas, each with an energy of its own.

    Returns:
        Masks of the same shapes, in a list or a dict as the given ones are.

    Raises:
        TypeError: no list or dict of tensors. ValueError: other names or shapes than the masks', numbers that are not finite.

    Example:
        >>> weights, masks = [torch.ones(10)], [torch.arange(10) < 4]
        >>> int(random_masks_of_equal_energy(masks, weights)[0].sum())  # equal weights: as many
        4
    """
    tensors, values = check_masks(masks), check_weights(weights)
    same_names = list(masks) == list(weights) if isinstance(masks, Mapping) and isinstance(weights, Mapping) else (
        len(tensors) == len(values) and isinstance(masks, Mapping) == isinstance(weights, Mapping))  # fmt: skip
    if not same_names:
        raise ValueError(f"weights: got {', '.join(values)}, expected one for each of {', '.join(tensors)}, in this order")
    lead = replica_shape(tensors, replica_dims)
    found = []
    for (name, weight), mask in zip(values.items(), tensors.values(), strict=True):
        if weight.shape != mask.shape:
            raise ValueError(f"{name}: got shape {tuple(weight.shape)}, expected {tuple(mask.shape)} as its mask")
        energy = weight.detach().double().square().reshape(*lead, -1)
        wanted = (energy * mask.reshape(*lead, -1).to(energy.device)).sum(-1, keepdim=True)
        order = uniform(energy.shape, energy.device, generator).argsort(-1)
        drawn = energy.gather(-1, order)
        # A weight is kept if with half of it the sum is still below what is wanted: the nearest sum that this order allows.
        kept = drawn.cumsum(-1) - 0.5 * drawn < wanted
        found.append(torch.zeros_like(kept).scatter(-1, order, kept).reshape(mask.shape).to(mask.device))
    return as_given(masks, found)
