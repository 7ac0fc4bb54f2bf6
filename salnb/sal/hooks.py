"""Forward hooks that do not change the computation, and what they need to know about the call that they observe."""

import sys

import torch
from torch import Tensor, nn

Observation = tuple[Tensor, Tensor]  # inputs (..., B, M), pre-activations (or outputs) (..., B, N) of a call


def in_transform() -> bool:
    """Whether we are inside vmap, jvp or grad of torch.func, where tensors are wrappers and not data to be kept."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def calls_in_progress(module: nn.Module) -> int:
    """How many calls of this module the current stack of Python frames holds."""
    frame, count = sys._getframe(), 0
    while frame is not None:
        count += frame.f_code is nn.Module._call_impl.__code__ and frame.f_locals.get("self") is module
        frame = frame.f_back
    return count


def moves_with_training(tensor: Tensor) -> bool:
    """Whether the optimizer may overwrite it before ``SAL.step()`` reads it: a parameter (a learned h₀) or a view of one."""
    base = tensor if tensor._base is None else tensor._base
    return base.requires_grad and base.is_leaf


def version(tensor: Tensor) -> int | None:
    """How often the tensor has been changed in place, as PyTorch counts it; None where it does not count."""
    try:
        return tensor._version
    except RuntimeError:  # an inference tensor counts no versions
        return None


class Hook:
    """A hook that a copied or pickled model does not take along: the copy has a hook that does nothing."""

    def __init__(self, function) -> None:
        self.function = function

    def __call__(self, *arguments):
        if self.function is None:
            return None
        # A hook keeps tensors, a side effect that has no place in a compiled graph. The detour costs time, so only there.
        return self._uncompiled(*arguments) if torch.compiler.is_compiling() else self.function(*arguments)

    @torch._disable_dynamo  # torch.compiler.disable, but imports the compiler only when it is called: that takes seconds
    def _uncompiled(self, *arguments):
        return self.function(*arguments)

    def __deepcopy__(self, memo) -> "Hook":
        return Hook(None)

    def __reduce__(self):
        return Hook, (None,)
