"""Any module as a map from its input to its output: the rows of its Jacobian by automatic differentiation."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...common.without_trace import without_trace
from ..hooks import Hook
from .maps import root

EXACT = 64  # up to so many derivatives are taken one by one; beyond, random tangents measure
PROBES = 4


def mean_length(probes: int) -> float:
    """E of the root of the mean of so many squares of standard normal numbers, below 1.

    For a standard normal v, (J v)_i is normal with the row's length for its standard deviation, so that the root of the mean of
    squares is too short by exactly this factor.
    """
    return math.sqrt(2 / probes) * math.exp(math.lgamma((probes + 1) / 2) - math.lgamma(probes / 2))


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


def channels_of(name: str, module: nn.Module, output: Tensor) -> int:
    """Along which dimension of its output a module has its units: the last one, or the channels of convolutions.

    Raises:
        RuntimeError: both are possible.
    """
    if output.ndim < 3:
        return -1
    parts = [part for part in module.modules() if isinstance(part, nn.modules.conv._ConvNd) and part.weight.ndim == output.ndim]
    if not parts:
        return -1
    linear = any(isinstance(part, nn.Linear | nn.MultiheadAttention) for part in module.modules())
    if linear and output.ndim == 3:
        raise RuntimeError(f"SAL: the layer {name!r} by rows holds convolutions and Linear layers, so that it is not clear which "
                           f"dimension of its output {tuple(output.shape)} are its units; name a part with either")  # fmt: skip
    return 1


class ModuleMap:
    """x (S, ..., M) -> module(x) (S, ..., N), or with channels first (S, C, ...): of each unit the row by its whole sample.

    The module is called once more at every step, in the mode in which the pass ran; hooks of the user's run then as well.
    """

    row_parameters = False
    units = None

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module
        self.parameters, self._checked, self._compared = tuple(module.parameters()), False, 0
        self._modes: dict[nn.Module, bool] = {}
        self._arguments: tuple[tuple, dict, int | str] = ((), {}, 0)  # of the last call, and where its tensor stood
        self.along = -1

    def remember(self, arguments: tuple, keywords: dict, place: int | str) -> bool:
        """The call of a pass: which modules are in training mode, and the arguments beside the tensor. Whether modes changed."""
        modes = {part: part.training for part in self.module.modules()}
        changed, self._modes = modes != self._modes, modes
        arguments = tuple(None if i == place else one for i, one in enumerate(arguments))
        self._arguments = arguments, {name: one for name, one in keywords.items() if name != place}, place
        return changed

    def call(self, x: Tensor) -> Tensor:
        """The module with another tensor in the same call."""
        arguments, keywords, place = self._arguments
        if isinstance(place, str):
            return self.module(*arguments, **keywords, **{place: x})
        return self.module(*arguments[:place], x, *arguments[place + 1 :], **keywords)

    @contextmanager
    def again(self, *, autocast: bool = False) -> Iterator[None]:
        """As in the pass, without a trace; parametrizations in evaluation mode, for a spectral norm would go on iterating."""
        before, silent = {part: part.training for part in self.module.modules()}, Hook.silent
        kind = self.parameters[0].device.type
        try:
            Hook.silent = True
            with without_trace(self.module, gradients=True), torch.inference_mode(False), torch.enable_grad():
                for part, mode in self._modes.items():
                    part.training = mode
                for part in self.module.modules():
                    if isinstance(part, nn.utils.parametrize.ParametrizationList):
                        for inner in part.modules():
                            inner.training = False
                # The fast kernels of attention have no second derivative.
                with nullcontext() if autocast else torch.autocast(kind, enabled=False), sdpa_kernel(SDPBackend.MATH):
                    yield
        finally:
            Hook.silent = silent
            for part, mode in before.items():
                part.training = mode

    def check(self, x: Tensor, output: Tensor) -> None:
        """At the first pass, and where modes changed: half of the samples once more must give what they gave.

        Raises:
            RuntimeError: the module draws random numbers, or its samples depend on each other.
        """
        half, self._compared = max(1, len(x) // 2), max(self._compared, len(x))
        with self.again(autocast=True), torch.no_grad():
            state = torch.get_rng_state()
            found = self.call(x[:half].clone())
            if not torch.equal(state, torch.get_rng_state()):
                raise RuntimeError(f"SAL: the layer {self.name!r} by rows draws random numbers (dropout, stochastic depth): "
                                   "every call is another map. Switch that off, or name a part without it")  # fmt: skip
        wanted = output[:half]
        # Errors of a thousand roundings, each of them of the largest number; of the half types of a few.
        limit = torch.finfo(wanted.dtype).eps * (8 if wanted.dtype in (torch.bfloat16, torch.float16) else 1024)
        scale = float(wanted.detach().abs().max()) if wanted.numel() else 1.0
        same = found.shape == wanted.shape and torch.allclose(found.to(wanted.dtype), wanted, rtol=limit, atol=limit * scale,
                                                               equal_nan=True)  # fmt: skip
        if not same:
            raise RuntimeError(f"SAL: the layer {self.name!r} by rows gives other results for {half} of its {len(x)} samples "
                               "alone than for all together. Its first dimension must be that of independent samples; with a "
                               "BatchNorm in training mode (call its eval()) or without batch_first=True it is not. Or a hook "
                               "changes its input, or was put on it after SAL was attached")  # fmt: skip

    def is_compared(self, x: Tensor) -> bool:
        """Whether a pass with more than one sample has been checked; with a single one nothing tells whether samples meet."""
        return self._compared > 1 or self._compared == len(x)

    def sensitivities(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """s and s² (S, places..., N): exact up to 64 derivatives, beyond by random tangents, without bias."""
        with self.again():
            x = inputs.detach().to(self.parameters[0].dtype).requires_grad_()
            y = self.call(x).movedim(self.along, -1)
            if not y.requires_grad:
                raise RuntimeError(f"SAL: the result of the layer {self.name!r} by rows does not depend on its input by anything "
                                   "that autograd can follow; does it detach it, or work under torch.no_grad()?")  # fmt: skip
            # A u that requires a gradient: without it PyTorch does not say that a function can be differentiated only once.
            u = torch.zeros_like(y, requires_grad=True)
            (back,) = torch.autograd.grad(y, x, u, create_graph=True, allow_unused=True)
            if back is None:
                raise RuntimeError(f"SAL: the result of the layer {self.name!r} by rows does not depend on its input by anything "
                                   "that autograd can follow; does it detach it, or work under torch.no_grad()?")  # fmt: skip
            if not self._checked:
                refuse_single_derivatives(self.name, back)
                self._checked = True
            squares, exact = self._squares(x, y, u, back, generator)
            return root(squares) / (1 if exact else mean_length(PROBES)), squares

    @staticmethod
    def _squares(x: Tensor, y: Tensor, u: Tensor, back: Tensor, generator: torch.Generator) -> tuple[Tensor, bool]:
        """s² in at least float32, and whether it is exact."""
        wide, over, count = torch.promote_types(x.dtype, torch.float32), tuple(range(1, x.ndim)), x[0].numel()
        if y[0].numel() <= min(count, EXACT):
            each = (unit_vectors(y, j).requires_grad_() for j in range(y[0].numel()))
            rows = [torch.autograd.grad(y, x, one, create_graph=True)[0] for one in each]
            return torch.stack([row.to(wide).square().sum(over) for row in rows], 1).view(y.shape), True
        # J v is the derivative by u of uᵀJ v: forward-mode derivatives by two passes backward.
        exact = count <= EXACT
        squares = torch.zeros(y.shape, dtype=wide, device=y.device)
        for j in range(count if exact else PROBES):
            v = unit_vectors(x, j) if exact else torch.randn(x.shape, generator=generator, dtype=wide).to(x)
            if back.requires_grad:
                (tangent,) = torch.autograd.grad(back, u, v, create_graph=True, materialize_grads=True)
                squares = squares + tangent.to(wide).square()
        return squares if exact else squares / PROBES, exact
