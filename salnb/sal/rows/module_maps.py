"""Any module as a map from its input to its output: the rows of its Jacobian by automatic differentiation."""

import math

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .maps import root

EXACT = 64  # up to so many derivatives are taken one by one; beyond, random tangents measure
PROBES = 4


def mean_length(probes: int) -> float:
    """E of the root of the mean of so many squares of standard normal numbers, below 1.

    For a standard normal v, (J v)_i is normal with the row's length for its standard deviation, so that the root of the mean of
    squares is too short by exactly this factor.
    """
    return math.sqrt(2 / probes) * math.exp(math.lgamma((probes + 1) / 2) - math.lgamma(probes / 2))


def random_in(module: nn.Module) -> str:
    """What in this module makes each call another map, or one that mixes the samples; an empty word if nothing does."""
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd) and part.training and part.p > 0:
            return f"{type(part).__name__}(p={part.p}) in training mode, which draws anew at every call; set p=0, or eval() of it"
        if isinstance(part, nn.modules.batchnorm._NormBase) and (part.training or not part.track_running_stats) and (
            not isinstance(part, nn.modules.instancenorm._InstanceNorm)
        ):
            return f"{type(part).__name__} in training mode, which makes every sample depend on the others; call its eval()"
        if isinstance(part, nn.MultiheadAttention | nn.RNNBase) and part.training and part.dropout > 0:
            return f"{type(part).__name__} with dropout={part.dropout} in training mode; set it to 0"
    return ""


def unit_vectors(like: Tensor, number: int) -> Tensor:
    """For each sample the unit vector along this number."""
    found = torch.zeros(like.shape, dtype=like.dtype, device=like.device)
    found.view(len(like), -1)[:, number] = 1
    return found


def refuse_single_derivatives(name: str, derivative: Tensor) -> None:
    """A RuntimeError if the graph of a first derivative ends where a function has no second one.

    PyTorch raises only where a gradient runs through that very place, and takes the derivative for a constant everywhere else.
    """
    waiting, seen = [derivative.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if "Error" in node.name():
            raise RuntimeError(f"SAL: the layer {name!r} by rows holds a function that can be differentiated only once "
                               "(once_differentiable); the gradient of a sensitivity needs more. Name another part")  # fmt: skip
        waiting += [following for following, _ in node.next_functions]


class ModuleMap:
    """x (S, ..., M) -> module(x) (S, ..., N): of each unit the row by all numbers of its sample.

    The module is called once more at every step, so that hooks of the user's on its parts run then as well.
    """

    row_parameters = False
    units = None

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module
        self.parameters, self._checked = tuple(module.parameters()), False

    def sensitivities(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """s and s² (S, places..., N): exact up to 64 derivatives, beyond by random tangents, without bias."""
        inputs = inputs.to(self.parameters[0].dtype)
        # The fast kernels of attention have no second derivative.
        with torch.enable_grad(), torch.autocast(inputs.device.type, enabled=False), sdpa_kernel(SDPBackend.MATH):
            x = inputs.detach().requires_grad_()
            y = self.module.forward(x)
            if not isinstance(y, Tensor) or y.shape[0] != x.shape[0] or not y.requires_grad:
                raise RuntimeError(f"SAL: the layer {self.name!r} by rows gives {type(y).__name__} of shape "
                                   f"{tuple(getattr(y, 'shape', ()))}; expected one tensor that depends on its input, with a "
                                   "result for each sample")  # fmt: skip
            over, count = tuple(range(1, x.ndim)), x[0].numel()
            # A u that requires a gradient: without it PyTorch does not say that a function can be differentiated only once.
            u = torch.zeros_like(y, requires_grad=True)
            (back,) = torch.autograd.grad(y, x, u, create_graph=True, allow_unused=True)
            if back is None:
                raise RuntimeError(f"SAL: the result of the layer {self.name!r} by rows does not depend on its input by anything "
                                   "that autograd can follow; does it detach it, or work under torch.no_grad()?")  # fmt: skip
            if not self._checked:
                refuse_single_derivatives(self.name, back)
                self._checked = True
            if y[0].numel() <= min(count, EXACT):
                each = (unit_vectors(y, j).requires_grad_() for j in range(y[0].numel()))
                rows = [torch.autograd.grad(y, x, one, create_graph=True)[0] for one in each]
                squares = torch.stack([row.square().sum(over) for row in rows], 1).view(y.shape)
                return root(squares), squares
            # J v is the derivative by u of uᵀJ v: forward-mode derivatives by two passes backward.
            exact = count <= EXACT
            squares = torch.zeros_like(y)
            for j in range(count if exact else PROBES):
                v = unit_vectors(x, j) if exact else torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
                if back.requires_grad:
                    (tangent,) = torch.autograd.grad(back, u, v, create_graph=True, materialize_grads=True)
                    squares = squares + tangent.square()
            squares = squares if exact else squares / PROBES
            return root(squares) / (1 if exact else mean_length(PROBES)), squares
