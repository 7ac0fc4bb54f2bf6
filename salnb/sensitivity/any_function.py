"""Sensitivities of the units of any layer: the lengths of the rows of its Jacobian, exact or with random tangents."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..common.arguments import check_integers
from ..common.tensors import check_floats

Function = Callable[[Tensor], Tensor]


def _output(function: Function, inputs: Tensor) -> Tensor:
    """function(inputs), after the check that it gives (..., B, N) for (..., B, M)."""
    try:
        found = function(inputs)
    except Exception as error:
        raise ValueError(f"function: could not be called with inputs of shape {tuple(inputs.shape)}: {error}") from error
    if not isinstance(found, Tensor):
        raise TypeError(f"function: got {type(found).__name__} from it, expected a tensor (..., B, N)")
    if found.ndim != inputs.ndim or found.shape[:-1] != inputs.shape[:-1]:
        raise ValueError(f"function: gave shape {tuple(found.shape)} for inputs {tuple(inputs.shape)}, expected "
                         f"{(*inputs.shape[:-1], 'N')}: a row of outputs for each sample")  # fmt: skip
    if not found.numel():
        raise ValueError(f"function: gave shape {tuple(found.shape)}, which holds no number; expected (..., B, N) with N >= 1")
    if not found.is_floating_point():
        raise ValueError(f"function: gave dtype {found.dtype}, expected a floating-point tensor")
    return found


def _check_samples_apart(outputs: Tensor, inputs: Tensor) -> None:
    """A ValueError if the outputs of one sample depend on another sample, or if no gradient leads to the inputs at all."""
    if not outputs.requires_grad:
        raise ValueError("function: its result does not depend on the inputs by anything that autograd can follow; does it "
                         "detach them, or work under torch.no_grad()?")  # fmt: skip
    last, samples = outputs.flatten(0, -2)[-1], inputs.shape[:-1].numel()
    (back,) = torch.autograd.grad(last.sum() + last.square().sum(), inputs, retain_graph=True, materialize_grads=True)
    if samples > 1 and bool(back.flatten(0, -2)[:-1].any()):
        raise ValueError("function: the outputs of one sample depend on other samples, so that no sample has a Jacobian of its "
                         "own; a BatchNorm in training mode does that: call .eval(), or freeze its statistics")  # fmt: skip


def sensitivity_of(
    function: Function, inputs: Tensor, *, probes: int | None = None, generator: torch.Generator | None = None
) -> Tensor:
    r"""Sensitivity of each unit of any layer: the length of its row of the layer's Jacobian, for each sample.

    .. math:: s_i(x) = \lVert \nabla_x f_i(x) \rVert, \qquad
        s_i(x)^2 = \mathrm{E}_v\,\big(J(x)\,v\big)_i^2 \quad\text{for standard normal } v

    Args:
        function: a layer or any part of a network, (..., B, M) -> (..., B, N); each sample's outputs depend on that sample.
        inputs: (..., B, M), floating point.
        probes: None: exact, with min(M, N) derivatives. An integer: the root of the mean over so many random tangents. Its
            square is unbiased, so take its RMS (``log_sensitivity``); its mean is too low, by a fifth with one probe.
        generator: of the tangents.

    Returns:
        (..., B, N), detached. For f(W x + θ) it is ``|f'(U)|·‖w‖``.

    Raises:
        TypeError, ValueError: a result of another shape, samples that depend on each other, a result without a derivative.

    Source: this project's generalization of the definition of Shibata et al., Neural Networks 143 (2021), to any layer.

    Example:
        >>> layer = torch.nn.Linear(3, 2)
        >>> s = sensitivity_of(lambda x: torch.tanh(layer(x)), torch.zeros(4, 3))
        >>> s.shape
        torch.Size([4, 2])
    """
    if not callable(function):
        raise TypeError(f"function: got {type(function).__name__}, expected a function or module of a tensor (..., B, M)")
    check_floats("inputs", inputs, "(..., B, M)", dims=2)
    if probes is not None:
        check_integers(probes=(probes, 1))
    with torch.inference_mode(False), torch.enable_grad():
        x = inputs.detach().clone().requires_grad_()
        y = _output(function, x)
        _check_samples_apart(y, x)
        if probes is None and y.shape[-1] <= x.shape[-1]:
            keep = {"retain_graph": True, "materialize_grads": True}
            rows = (torch.autograd.grad(one.sum(), x, **keep)[0] for one in y.unbind(-1))
            return torch.stack([torch.linalg.vector_norm(row, dim=-1) for row in rows], -1)
        # J v is the derivative by u of uᵀJ v: forward-mode derivatives by two passes backward, for every function of autograd's.
        u = torch.zeros_like(y, requires_grad=True)
        (back,) = torch.autograd.grad(y, x, u, create_graph=True)
        squares, count = torch.zeros_like(y), x.shape[-1] if probes is None else int(probes)
        for j in range(count):
            if probes is None:
                v = torch.zeros_like(x)
                v[..., j] = 1
            else:
                where = None if generator is None else generator.device
                v = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=where).to(x.device)
            if back.requires_grad:
                (tangent,) = torch.autograd.grad(back, u, v, retain_graph=True, materialize_grads=True)
                squares = squares + tangent.square()
        return (squares if probes is None else squares / count).sqrt().detach()
