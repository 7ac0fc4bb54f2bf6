"""Which samples count: a mask of the user's, laid onto the samples that a layer was observed with."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..hooks import Observation
from ..layers import WatchedLayer


def check_mask(mask: object) -> Tensor:
    """A boolean tensor; a TypeError or ValueError for anything else."""
    if not isinstance(mask, Tensor):
        raise TypeError(f"mask: got {type(mask).__name__}, expected a boolean tensor, True where a sample counts")
    if mask.dtype != torch.bool:
        raise ValueError(f"mask: got dtype {mask.dtype}, expected torch.bool, True where a sample counts (mask.bool())")
    return mask


def counted(
    layer: WatchedLayer, calls: Sequence[Observation], mask: Tensor, layout: str
) -> tuple[list[Observation], list[Tensor]]:
    r"""The calls and for each a mask (\*replicas, S), as ``sums_of`` takes them.

    The mask has the shape of the layer's output without its neurons, which are the last dimension or a convolution's channels;
    for a layer that ran once per time step, or was observed step by step, a leading dimension of steps is taken apart.

    Raises:
        ValueError: a mask of another shape, or packed sequences, which have no padding.
    """
    if layout == "packed":
        raise ValueError(f"counting: {layer.name} ran on packed sequences, which hold no padding; call the model "
                         "without counting()")  # fmt: skip
    given, mask = tuple(mask.shape), mask.to(calls[0][1].device)
    mask = mask.transpose(-1, -2) if layout == "batch first" and mask.ndim > 1 else mask
    mask = mask.unsqueeze(-1) if layout == "single" else mask
    replicas, steps = layer.replicas, len(calls)
    sizes = [u.shape[:-1] for _, u in calls]
    if layer.is_convolution:  # the channels stand in front of the places
        sizes = [u.shape[:1] + u.shape[2:] if u.ndim == layer.weight.ndim else u.shape[1:] for _, u in calls]
    every, step = tuple(mask.shape), tuple(mask.shape[1:])  # one mask for every call, or one for each

    def fits(shape: tuple[int, ...]) -> bool:  # without the replicas: shared by them
        return all(size == shape or (replicas and shape and size[len(size) - len(shape) :] == shape) for size in sizes)

    at_every, one_each = fits(every), mask.ndim > 1 and steps == len(mask) and fits(step)
    if not (at_every or one_each) or at_every and one_each and steps > 1:  # with both, replicas could be taken for steps
        size = {"batch first": sizes[0][::-1], "single": sizes[0][:1]}.get(layout, sizes[0])
        wanted = tuple(size) if steps == 1 else (steps, *size)
        output = tuple(calls[0][1].shape) if layer.is_convolution else (*size, calls[0][1].shape[-1])
        raise ValueError(f"counting: got a mask of shape {given}, but {layer.name!r} ran {steps} times with an output of shape "
                         f"{output}, so that the mask should be {wanted}; leave this layer out, or give a mask for it in a pass "
                         "of its own")  # fmt: skip
    parts = [mask] * steps if at_every else mask.unbind(0)
    flat = []
    for one in (part.expand(size) for part, size in zip(parts, sizes, strict=True)):
        lead = one.ndim - len(replicas) - 1
        if replicas and lead > 0:
            one = one.movedim(tuple(range(lead)), tuple(range(-lead - 1, -1)))
        flat.append(one.reshape(*replicas, -1))
    counts = torch.cat(flat, -1).any(-1)
    if bool(counts.any()) and not bool(counts.all()):
        raise ValueError(f"counting: the mask lets no sample of some replicas of {layer.name!r} count; let one of each count")
    return list(calls), flat
