"""SAL in several processes (DistributedDataParallel): every process makes the same step, from the samples of all."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..layers import WatchedLayer
from .sums import Sums, no_sums


def process_group(model: nn.Module) -> object | None:
    """The group of processes that train this model together, or None for a single process.

    Either the model is a ``DistributedDataParallel``, or one is calling it right now.
    """
    if not dist.is_available() or not dist.is_initialized():
        return None
    active = DistributedDataParallel._active_ddp_module if hasattr(DistributedDataParallel, "_active_ddp_module") else None
    found = model if isinstance(model, DistributedDataParallel) else active
    if found is None:
        found = next((part for part in model.modules() if isinstance(part, DistributedDataParallel)), None)
    return None if found is None else found.process_group


def summed_over(group: object, layers: Sequence[WatchedLayer], sums: Sequence[Sums | None]) -> list[Sums | None]:
    """The sums over the samples of all processes, equal in each of them to the bit; None for layers that ran in none.

    A process in which a layer did not run takes part with zeros. All sums of one type travel together.
    """
    whole = [no_sums(layer) if one is None else one for layer, one in zip(layers, sums, strict=True)]
    parts = [tensor for one in whole for tensor in one.tensors()]
    reduced = list(parts)
    for kind in {(tensor.dtype, tensor.device) for tensor in parts}:
        where = [i for i, tensor in enumerate(parts) if (tensor.dtype, tensor.device) == kind]
        packed = torch.cat([parts[i].reshape(-1) for i in where])
        dist.all_reduce(packed, group=group)
        for i, part in zip(where, packed.split([parts[i].numel() for i in where]), strict=True):
            reduced[i] = part.view(parts[i].shape)
    found = [Sums(*reduced[i : i + 5]) for i in range(0, len(reduced), 5)]
    return [one if bool(one.count.any()) else None for one in found]
