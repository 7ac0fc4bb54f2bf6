"""SAL in several processes (DistributedDataParallel): every process makes the same step, from the samples of all."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..layers import WatchedLayer
from ..rows.keeping import Kept
from .sums import Sums, no_sums

NOWHERE = Kept((), 0)  # of a layer by rows that ran in another process


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


def summed_over(group: object, layers: Sequence[WatchedLayer], sums: Sequence[Sums | Kept | None]) -> list[Sums | Kept | None]:
    """The sums over the samples of all processes, equal in each of them to the bit; None for layers that ran in none.

    A process in which a layer did not run takes part with zeros. All sums of one type travel together. What is kept of a layer by
    rows stays in its process, and is None or Kept as before, but where it ran nowhere.
    """
    by_rows = [i for i, layer in enumerate(layers) if layer.row_map is not None]
    ran = ran_by_rows(group, layers, sums)
    if by_rows:
        plain = [i for i in range(len(layers)) if i not in set(by_rows)]
        found = dict(zip(plain, summed_over_plain(group, [layers[i] for i in plain], [sums[i] for i in plain]), strict=True))
        return [found[i] if i in found else sums[i] or NOWHERE if ran[i] else None for i in range(len(layers))]
    return summed_over_plain(group, layers, sums)


def ran_by_rows(group: object, layers: Sequence[WatchedLayer], sums: Sequence[Sums | Kept | None]) -> list[bool]:
    """Which layers by rows ran in some process.

    Raises:
        RuntimeError: in every process, if not all of them know that a layer is one, or if one cannot tell its units.
    """
    flags = [(layer.row_map is not None, one is not None, one is not None or layer.row_map is None
              or layer.row_map.units is not None) for layer, one in zip(layers, sums, strict=True)]  # fmt: skip
    counts = torch.tensor(flags, dtype=torch.float32, device=layers[0].weight.device)
    dist.all_reduce(counts, group=group)
    processes = dist.get_world_size(group)
    for layer, (are, ran, know) in zip(layers, counts.tolist(), strict=True):
        if are and (are < processes or ran and know < processes):
            raise RuntimeError(f"SAL: the layer {layer.name!r}, which is adjusted by rows, did not run in every process; let "
                               "each process run it before the step, or name other layers")  # fmt: skip
    return [bool(ran) for _, ran, _ in counts.tolist()]


def summed_over_plain(group: object, layers: Sequence[WatchedLayer], sums: Sequence[Sums | None]) -> list[Sums | None]:
    """The sums over the samples of all processes, of layers that are not by rows."""
    if not layers:
        return []
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
