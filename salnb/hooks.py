"""A hook that leaves no trace, and what it has to know of the call that it sees."""

import sys

import torch
from torch import Tensor, nn


def in_transform() -> bool:
    """True inside vmap, jvp and grad of torch.func: the wrapped tensors that they pass around are no data."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def calls_in_progress(module: nn.Module) -> int:
    """How many calls of this module the current stack of Python frames holds."""
    frame, count = sys._getframe(), 0
    while frame is not None:
        count += frame.f_code is nn.Module._call_impl.__code__ and frame.f_locals.get("self") is module
        frame = frame.f_back
    return count


def moves_with_training(tensor: Tensor) -> bool:
    """A learned start h₀ (or a view of it) is overwritten by the optimizer before ``SAL.step()`` reads it."""
    base = tensor._base if tensor._is_view() else tensor
    return base.is_leaf and base.requires_grad


def version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


class Hook:
    """A hook that is left behind when the model is copied or saved: the copy is not watched, and pickling works."""

    def __init__(self, function) -> None:
        self.function = function

    @torch.compiler.disable  # stays out of the graph: what a hook keeps is a side effect by design
    def __call__(self, *arguments):
        return None if self.function is None else self.function(*arguments)

    def __deepcopy__(self, memo) -> "Hook":
        return Hook(None)

    def __reduce__(self):
        return Hook, (None,)
