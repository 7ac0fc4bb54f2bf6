"""Maps from one state to the next: a feed-forward module whose output is its next input, and a matrix of weights with tanh."""

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..sensitivity.activations import from_module
from .tangents import Product, automatic_tangent_step, single_tangents


def sequential_step(module: nn.Sequential) -> Callable[..., Tensor]:
    """``step(x)``, the module applied to the state; ``step.jvp`` by hand where it is all linear layers and activations."""
    parts = list(module)

    in_place = any(getattr(part, "inplace", False) for part in module.modules())

    def along(state: Tensor) -> list[Tensor]:
        """The input of every part. A part that works in place gets a copy."""
        inner = [state]
        for part in parts[:-1]:
            inner.append(part(inner[-1].clone() if in_place else inner[-1]))
        return inner

    def step(state: Tensor) -> Tensor:
        active = [part for part in module.modules() if isinstance(part, nn.modules.dropout._DropoutNd)]
        if module.training and any(part.p > 0 for part in active):
            raise RuntimeError("rnn_step: got dropout in training mode, which makes each step another random map; call .eval()")
        following = module(state.clone() if in_place else state)
        if following.shape != state.shape:
            raise ValueError(
                f"module: gives shape {tuple(following.shape)} back from {tuple(state.shape)}, expected the same: only a module "
                "with as many outputs as inputs can be fed its own output"
            )
        return following

    def tangent_step(state: Tensor, tangents: Tensor) -> tuple[Tensor, Tensor]:
        # The state goes through the module itself, so that the trajectory is that of `step` to the last bit.
        following, rows = step(state), tangents.mT
        for part, inner in zip(parts, along(state), strict=True):
            rows = rows @ part.weight.mT if isinstance(part, nn.Linear) else rows * from_module(part).slope(inner).unsqueeze(-2)
        return following, rows.mT

    def mean_square_sensitivity(state: Tensor) -> Tensor:
        """Mean over a layer's neurons of s² in this step, (L, ...), for every linear layer followed by an activation."""
        squares = []
        for part, after, reads in zip(parts, parts[1:], along(state)[1:], strict=False):
            if isinstance(part, nn.Linear) and from_module(after) is not None:
                slope = from_module(after).slope(reads)
                squares.append((slope.square() * part.weight.square().sum(-1)).mean(-1))
        return torch.stack(squares)

    known = all(isinstance(part, nn.Linear) or from_module(part) is not None for part in parts)
    step.jvp = tangent_step if known else automatic_tangent_step(step)
    if any(isinstance(part, nn.Linear) and from_module(after) for part, after in zip(parts, parts[1:], strict=False)):
        step.mean_square_sensitivity = mean_square_sensitivity
    return step


def tanh_map(weight: Tensor, gain: float | Tensor = 1.0) -> Callable[..., Tensor]:
    r"""The map of a tanh network without biases, given by its weights alone, at one gain or at many.

    .. math:: x_{t+1} = \tanh(g\, W x_t)

    Args:
        weight: (N, N), W; used as it is now. It is shared by all systems: one product serves them, whatever their number. A
            sparse tensor of any layout is kept as rows of its entries and is never made dense; entries that are given twice
            are added. With 1 % of the connections and N = 5,000 a step is then faster by more than an order of magnitude.
        gain: g, a number, or one for each system, of a shape that broadcasts with the leading dimensions of the state.

    Returns:
        ``step(x)`` with x (..., N) -> the next x, with the analytic ``step.jvp``, for ``lyapunov_spectrum``.

    Raises:
        ValueError: a weight that is not a square matrix of floating-point numbers, or a sparse one that PyTorch cannot multiply.

    Source: Sompolinsky, Crisanti and Sommers, Physical Review Letters 61 (1988) 259, with discrete time.

    Example:
        >>> step = tanh_map(torch.eye(2), gain=torch.tensor([0.0, 1.0, 2.0]))
        >>> step(torch.ones(3, 2))
        tensor([[0.0000, 0.0000],
                [0.7616, 0.7616],
                [0.9640, 0.9640]])
        >>> sparse = torch.eye(2).to_sparse()
        >>> tanh_map(sparse, gain=2.0)(torch.ones(2))
        tensor([0.9640, 0.9640])
    """
    if not isinstance(weight, Tensor) or weight.ndim != 2 or len(weight) != weight.shape[1] or not weight.is_floating_point():
        shown = tuple(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
        if isinstance(weight, Tensor) and not weight.is_floating_point():
            shown = f"{shown} of {weight.dtype}"
        raise ValueError(
            f"weight: got {shown}, expected a floating-point tensor (N, N), a row per neuron; a NumPy array becomes one by "
            "torch.from_numpy(a), a SciPy matrix in CSR form by torch.sparse_csr_tensor(m.indptr, m.indices, m.data, m.shape)"
        )
    weight = weight.detach()
    gains = gain.to(weight.device, weight.dtype).unsqueeze(-1) if isinstance(gain, Tensor) else None
    if weight.layout != torch.strided:
        return _sparse_tanh_map(SparseProduct(rows_of_entries(weight, gain if gains is None else 1.0)), gains)
    return _tanh_map(Product(weight if gains is not None else gain * weight), gains, fresh=True)


def _check_state(state: Tensor, n: int, dtype: torch.dtype) -> None:
    if state.shape[-1] != n:
        raise ValueError(f"state: got {state.shape[-1]} numbers in the last dimension, expected {n}, a number per neuron")
    if state.dtype != dtype:
        raise ValueError(f"state: got {state.dtype}, expected {dtype}, that of the weight; give state.to({dtype})")


def _tanh_map(product: Product, gains: Tensor | None, fresh: bool) -> Callable[..., Tensor]:
    """With ``fresh``, tangents are returned in new memory; otherwise they are valid until the step after the next one."""
    columns, one = product.columns, product.columns.new_ones(())
    n = len(columns)

    def step(state: Tensor) -> Tensor:
        _check_state(state, n, columns.dtype)
        drive = state @ columns
        return (drive if gains is None else drive.mul_(gains)).tanh_()

    def tangent_step(state: Tensor, tangents: Tensor) -> tuple[Tensor, Tensor]:
        following, single = step(state), tangents.shape[-1] == 1 and state.ndim > 1
        rows, factors = tangents.squeeze(-1) if single else tangents.mT, getattr(tangents, "factors", None)
        moved = rows @ columns if fresh else product(rows) if factors is None else product.triangular(*factors)
        slope = torch.addcmul(one, following, following, value=-1)
        slope = slope if gains is None else slope.mul_(gains)
        return following, moved.mul_(slope).unsqueeze(-1) if single else moved.mul_(slope.unsqueeze(-2)).mT

    step.jvp = tangent_step
    step.jvp_many = single_tangents(columns, gains)
    step.frozen = lambda: _tanh_map(Product(columns.mT), gains, fresh=False)
    return step


@functools.cache
def _accept_beta() -> None:
    """Lets PyTorch say once, unheard, that its CSR tensors are in beta.

    It says so at the first of them in a process. The filters of warnings are those of all threads: they change once, for the
    moment in which a matrix of one entry is made, not around the work.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor([0, 1], [0], [0.0], (1, 1), check_invariants=True)


def rows_of_entries(weight: Tensor, gain: float = 1.0) -> Tensor:
    """A sparse matrix times a number, in new memory, as rows of its entries (CSR): of all layouts that with the fastest product.

    Raises:
        ValueError: a layout that is no plain sparse matrix, or a kind of number or device that PyTorch has no product for.
    """
    _accept_beta()
    try:
        entries = weight.to_sparse_coo().coalesce().to_sparse_csr()
    except RuntimeError as error:
        raise ValueError(
            f"weight: got a tensor of layout {weight.layout} that cannot be read as single entries, expected a dense one or a "
            "sparse one with both dimensions sparse; give weight.to_dense() or weight.to_dense().to_sparse()"
        ) from error
    begins, places = entries.crow_indices(), entries.col_indices()
    if max(len(places), len(weight)) < 2**31:  # the product wants short indices, and would convert long ones at every call
        begins, places = begins.int(), places.int()
    matrix = torch.sparse_csr_tensor(begins, places, entries.values() * gain, weight.shape, check_invariants=True)
    try:
        _ = matrix @ matrix.values().new_zeros(len(weight), 1)
    except RuntimeError as error:
        raise ValueError(
            f"weight: got a sparse tensor of {weight.dtype} on {weight.device}, for which PyTorch has no product; give "
            "weight.float(), weight.double() or weight.to_dense()"
        ) from error
    return matrix


class SparseProduct:
    """W times vectors (..., N), all of them in one product, for W as rows of its entries."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        try:  # a single vector has a product of its own in most builds of PyTorch, which takes two thirds of the time
            self._alone = (matrix @ matrix.values().new_zeros(len(matrix))).ndim == 1
        except RuntimeError:
            self._alone = False

    def __call__(self, vectors: Tensor) -> Tensor:
        first = vectors.movedim(-1, 0)
        columns = first.reshape(len(first), first.shape[1:].numel())
        moved = self.matrix @ (columns.squeeze(1) if self._alone else columns)
        return moved.view(first.shape).movedim(0, -1)

    @functools.cached_property
    def transposed(self) -> "SparseProduct":
        return SparseProduct(rows_of_entries(self.matrix.mT))


class _Times(torch.autograd.Function):
    """The product with derivatives of every kind and order: those of a linear function are products again."""

    @staticmethod
    def forward(product: SparseProduct, vectors: Tensor) -> Tensor:
        return product(vectors)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.product = inputs[0]

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[None, Tensor]:
        return None, _Times.apply(ctx.product.transposed, gradient)

    @staticmethod
    def jvp(ctx, _, tangent: Tensor) -> Tensor:
        return _Times.apply(ctx.product, tangent)

    @staticmethod
    def vmap(info, in_dims, product: SparseProduct, vectors: Tensor) -> tuple[Tensor, int]:
        return _Times.apply(product, vectors.movedim(in_dims[1], 0)), 0


def _sparse_tanh_map(product: SparseProduct, gains: Tensor | None) -> Callable[..., Tensor]:
    n, dtype = len(product.matrix), product.matrix.dtype

    def moved(state: Tensor, times: Callable[..., Tensor]) -> Tensor:
        _check_state(state, n, dtype)
        drive = times(product, state)
        return (drive if gains is None else drive * gains).tanh()

    def tangent_step(state: Tensor, tangents: Tensor) -> tuple[Tensor, Tensor]:
        # A run takes no gradients, and what PyTorch does around a product to have them takes longer than a small product.
        times = _Times.apply if torch.is_grad_enabled() else SparseProduct.__call__
        following = moved(state, times)
        slope = 1 - following.square()
        return following, times(product, tangents.mT).mT * (slope if gains is None else slope * gains).unsqueeze(-1)

    def step(state: Tensor) -> Tensor:
        return moved(state, _Times.apply)

    step.jvp = tangent_step
    return step
