"""What comes out of every activation of a model, in the order in which they run: modules and functions of PyTorch."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from ..sensitivity.activations import ACTIVATIONS, AUTOMATIC, from_module

# Modules of PyTorch's that belong to its activations, but mix numbers or hold weights.
NO_ACTIVATION = (nn.MultiheadAttention, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin)
NAMES = frozenset(name + end for name in (*ACTIVATIONS, *AUTOMATIC, "prelu", "rrelu", "log_sigmoid", "glu") if name != "identity"
                  for end in ("", "_"))  # fmt: skip


def is_activation(module: nn.Module) -> bool:
    """Whether a module is one of PyTorch's activations, or made like one: without parts of its own in torch.nn."""
    if isinstance(module, NO_ACTIVATION):
        return False
    known = from_module(module)
    if known is not None:
        return known.name != "identity"
    return type(module).__module__ == "torch.nn.modules.activation"


def is_function(module: nn.Module) -> bool:
    """Whether a module of the user's has neither parameters, buffers nor parts, like a function."""
    own = not type(module).__module__.startswith("torch.nn.")
    return own and not any(True for _ in (*module.parameters(), *module.buffers(), *module.children()))


class Seen(TorchFunctionMode):
    """Collects results of activations, or of the named modules, while a model runs.

    Attributes:
        found: for each its place in the graph, which stays the same whatever works in place on the result later. A result from
            which no gradient would lead back, because everything before it is frozen, becomes the beginning of a graph.
    """

    def __init__(self, model: nn.Module, layers: Iterable[nn.Module] | None) -> None:
        super().__init__()
        self.found: list[GradientEdge] = []
        self._by_name = layers is not None
        self._inside = 0  # calls of activation modules that are running: their own functions are no further activations
        self._handles: list[RemovableHandle] = []
        for module in model.modules() if layers is None else layers:
            if layers is not None or is_activation(module):
                self._handles += [module.register_forward_pre_hook(self._enter), module.register_forward_hook(self._leave)]
            elif module is not model and is_function(module):
                self._handles += [module.register_forward_pre_hook(self._begin), module.register_forward_hook(self._end)]
        self._begun: list[int] = []

    def remove(self) -> None:
        """Removes the hooks."""
        for handle in self._handles:
            handle.remove()

    def _keep(self, output: Tensor, in_place: bool) -> Tensor:
        """The same numbers, from now on with a graph."""
        if not output.requires_grad:
            zero = torch.zeros_like(output, requires_grad=True)
            output = output.add_(zero) if in_place else output + zero
        self.found.append(get_gradient_edge(output))
        return output

    def _begin(self, module: nn.Module, arguments: tuple) -> None:
        self._begun.append(len(self.found))

    def _end(self, module: nn.Module, arguments: tuple, output: object) -> object:
        """After a module of the user's without parameters: if activations ran in it, it is one as a whole."""
        begun = self._begun.pop()
        tensors = isinstance(output, Tensor) and arguments and isinstance(arguments[0], Tensor)
        alike = tensors and output.shape == arguments[0].shape
        if len(self.found) == begun or not alike:
            return None
        del self.found[begun:]
        return self._keep(output, output is arguments[0])

    def _enter(self, module: nn.Module, arguments: tuple) -> None:
        self._inside += 1

    def _leave(self, module: nn.Module, arguments: tuple, output: object) -> object:
        self._inside -= 1
        if isinstance(output, Tensor) and output.is_floating_point():
            return self._keep(output, bool(arguments) and output is arguments[0])
        if isinstance(output, tuple) and output and isinstance(output[0], Tensor):  # an nn.RNN gives its states as well
            return (self._keep(output[0], False), *output[1:])
        raise TypeError(f"layers: {type(module).__name__} gives {type(output).__name__}, expected a floating-point tensor, or a "
                        "tuple that begins with one")  # fmt: skip

    def __torch_function__(self, function: Callable, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        name = getattr(function, "__name__", "")
        if self._by_name or self._inside or name not in NAMES or not isinstance(result, Tensor):
            return result
        return self._keep(result, bool(arguments) and result is arguments[0])
