"""Tensors of one shape that lie side by side in memory are one tensor: taken and written without a copy."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import increment_version


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of one shape as one (L, ...): a view where they lie one after the other in one memory, else a copy."""
    first = tensors[0]
    size, shape, strides, begin = first.numel(), first.shape, first.stride(), first.data_ptr()
    apart = size * first.element_size()
    ends = begin + len(tensors) * apart
    places = range(begin, ends, apart) if apart else [begin] * len(tensors)
    if not first.is_contiguous() or [tensor.data_ptr() for tensor in tensors] != [*places]:
        return torch.stack(tensors)
    if [tensor.stride() for tensor in tensors] != [strides] * len(tensors):
        return torch.stack(tensors)
    storage = first.untyped_storage()
    if storage.data_ptr() + storage.nbytes() < ends:  # neighbors by chance
        return torch.stack(tensors)
    return first.detach().as_strided((len(tensors), *shape), (size, *strides))


def write(parameters: Sequence[Tensor], values: Tensor) -> None:
    if parameters[0].data_ptr() != values.data_ptr():
        torch._foreach_copy_(list(parameters), list(values.unbind(0)))
        return
    for parameter in parameters:  # the values are there already; only autograd has to be told
        increment_version(parameter)  # one by one: torch 2.4 takes no lists
