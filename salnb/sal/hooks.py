"""Forward hooks that do not change the computation, and what they need to know about the call that they observe."""

import sys

import torch
from torch import Tensor, nn

Observation = tuple[Tensor, Tensor]  # inputs (..., B, M) and pre-activation (..., B, N) of one call; nn.RNN: output


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
    base = tensor if tensor._base is None else tensor._base
    return base.requires_grad and base.is_leaf


def version(tensor: Tensor) -> int | None:
    try:
        return tensor._version
    except RuntimeError:  # an inference tensor counts no versions
        return None


class Hook:
    """A hook that is left behind when the model is copied or saved: the copy is not watched, and pickling works."""

    def __init__(self, function) -> None:
        self.function = function

    def __call__(self, *arguments):
        if self.function is None:
            return None
        # Stays out of a compiled graph: what a hook keeps is a side effect by design. Only asked for there, as it costs time.
        return self._uncompiled(*arguments) if torch.compiler.is_compiling() else self.function(*arguments)

    @torch._disable_dynamo  # torch.compiler.disable, but imports the compiler only when it is called: that takes seconds
    def _uncompiled(self, *arguments):
        return self.function(*arguments)

    def __deepcopy__(self, memo) -> "Hook":
        return Hook(None)

    def __reduce__(self):
        return Hook, (None,)
