"""Forward hooks that do not change the computation, and what they need to know about the call that they observe."""

import sys
import weakref
from collections.abc import Callable

import torch
from torch import Tensor, nn

NO_FULL_GRAPH = (
    "SAL and SensitivityMonitor observe layers with hooks that keep tensors, which has no place in one whole graph. Compile with "
    "fullgraph=False, or call sal.detach() before"
)
HAS_WORDS = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) >= (2, 8)  # older ones take no message
Observation = tuple[Tensor, Tensor]  # inputs (..., B, M), pre-activations (or outputs) (..., B, N) of a call


def in_transform() -> bool:
    """Whether we are inside vmap, jvp or grad of torch.func, where tensors are wrappers and not data to be kept."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def in_backward() -> bool:
    """Whether a backward pass is running: what is called then is a recomputation (checkpointing), not a pass."""
    return torch._C._current_graph_task_id() != -1


def calls_in_progress(module: nn.Module) -> int:
    """How many calls of this module the current stack of Python frames holds."""
    frame, count = sys._getframe(), 0
    while frame is not None:
        count += frame.f_code is nn.Module._call_impl.__code__ and frame.f_locals.get("self") is module
        frame = frame.f_back
    return count


def forward_in_progress(module: nn.Module) -> bool:
    """Whether the module's ``forward`` is running, called directly or by a call of the module."""
    frame, code = sys._getframe(), getattr(type(module).forward, "__code__", None)
    while frame is not None:
        if frame.f_code is code and frame.f_locals.get("self") is module:
            return True
        frame = frame.f_back
    return False


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


def samples_without_padding(tensor: Tensor) -> Tensor:
    """The rows (S, M) of a nested tensor, whose samples have different lengths; any other tensor as it is."""
    if not tensor.is_nested:
        return tensor
    if tensor.layout == torch.jagged:
        return tensor.values()
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in tensor.unbind()])


class Hook:
    """A hook that lives no longer than the object whose method it calls, and that a copied model does not take along.

    It holds the method weakly, so that a model does not keep its SAL alive; the copy of a model has hooks that do nothing.
    """

    compiled = False  # whether the hook that runs now was called from compiled code
    silent = False  # while SAL calls a part of the model once more by itself, no hook of ours observes it

    def __init__(self, function: Callable | None) -> None:
        self._method = None if function is None else weakref.WeakMethod(function)

    def owner(self) -> object | None:
        """The recorder to which this hook belongs, if it is alive."""
        method = None if self._method is None else self._method()
        return None if method is None else method.__self__.owner()

    def __call__(self, *arguments):
        if Hook.silent:
            return None
        # A hook keeps tensors, a side effect that has no place in a compiled graph. The detour costs time, so only there.
        if torch.compiler.is_compiling():
            if HAS_WORDS:
                torch._dynamo.graph_break(msg=NO_FULL_GRAPH)
            return self._uncompiled(*arguments)
        function = None if self._method is None else self._method()
        return None if function is None else function(*arguments)

    @torch._disable_dynamo  # torch.compiler.disable, but imports the compiler only when it is called: that takes seconds
    def _uncompiled(self, *arguments):
        before, Hook.compiled = Hook.compiled, True
        try:
            function = None if self._method is None else self._method()
            return None if function is None else function(*arguments)
        finally:
            Hook.compiled = before

    @property
    def __name__(self) -> str:
        if sys._getframe(1).f_globals.get("__name__", "").startswith("torch.jit"):
            raise RuntimeError("SAL: torch.jit.script cannot compile a model that SAL or SensitivityMonitor is attached to; call "
                               "sal.detach() before, or script the model after training")  # fmt: skip
        return "salnb_hook"

    def __deepcopy__(self, memo) -> "Hook":
        return Hook(None)

    def __reduce__(self):
        return Hook, (None,)
