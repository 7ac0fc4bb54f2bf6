"""Pure formulas on tensors: a neuron's sensitivity, its gradient, and the log-sensitivity of many neurons."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .activations import ACTIVATIONS, Activation, activation_formulas


def _check_shapes(weight: Tensor, pre_activation: Tensor, inputs: Tensor | None = None) -> None:
    """Checks shapes and dtypes for the formulas of this file, so that all of them give the same error messages."""
    if weight.ndim < 2:
        raise ValueError(f"weight: got shape {tuple(weight.shape)}, expected (..., N, M): a row per neuron")
    if pre_activation.ndim < 2:
        raise ValueError(
            f"pre_activation: got shape {tuple(pre_activation.shape)}, expected (..., B, N); for one sample add a "
            "dimension with pre_activation.unsqueeze(-2)"
        )
    if pre_activation.shape[-1] != weight.shape[-2]:
        raise ValueError(
            f"pre_activation: got {pre_activation.shape[-1]} neurons in its last dimension, but weight has "
            f"{weight.shape[-2]} rows; expected pre_activation (..., B, N) for a weight (..., N, M)"
        )
    named = {"weight": weight, "pre_activation": pre_activation}
    if inputs is not None:
        named["inputs"] = inputs
        if inputs.ndim < 2 or inputs.shape[-1] != weight.shape[-1] or inputs.shape[-2] != pre_activation.shape[-2]:
            raise ValueError(
                f"inputs: got shape {tuple(inputs.shape)}, expected (..., {pre_activation.shape[-2]}, {weight.shape[-1]}): "
                "the batch of pre_activation by the columns of weight"
            )
    for name, tensor in named.items():
        if not tensor.is_floating_point():
            raise ValueError(f"{name}: got dtype {tensor.dtype}, expected a floating-point tensor; convert with .float()")
    leading = [tuple(tensor.shape[:-2]) for tensor in named.values()]
    try:
        torch.broadcast_shapes(*leading)
    except RuntimeError as error:
        shown = ", ".join(f"{name} {shape}" for name, shape in zip(named, leading, strict=True))
        raise ValueError(f"{' and '.join(named)}: leading replica dimensions do not fit together: got {shown}") from error


def tanh_slope_of_output(output: Tensor) -> Tensor:
    """The slope of tanh as a function of its output h, 1 − h²."""
    return torch.addcmul(output.new_ones(()), output, output, value=-1)  # in one pass over memory


# Activations with a slope that is never negative and follows from the output. For each slope there are two functions: the first
# computes f' from the output, the second f'' from the output and f'.
DERIVATIVES_FROM_OUTPUT = {
    ACTIVATIONS["tanh"].slope: (tanh_slope_of_output, lambda output, slope: (output * slope).mul_(-2)),
    ACTIVATIONS["sigmoid"].slope: (lambda output: output * (1 - output), lambda output, slope: slope * (1 - 2 * output)),
}
# For some layers SAL observes the output in place of the pre-activation; this is their slope, see ``salnb.sal.layers``.
DERIVATIVES_FROM_OUTPUT[tanh_slope_of_output] = DERIVATIVES_FROM_OUTPUT[ACTIVATIONS["tanh"].slope]


def absolute_slope_and_derivative(activation: Activation, pre_activation: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
    """|f'(U)|, and a function that computes its derivative by U, which is sgn(f'(U)) f''(U).

    The function uses what has been computed for |f'(U)| already.
    """
    if activation.slope in DERIVATIVES_FROM_OUTPUT:  # the activation is computed once for both derivatives
        (slope_of, curvature_of), output = DERIVATIVES_FROM_OUTPUT[activation.slope], activation.function(pre_activation)
        slope = slope_of(output)
        return slope, lambda: curvature_of(output, slope)
    slope = activation.slope(pre_activation)
    return slope.abs(), lambda: slope.sign() * activation.curvature(pre_activation)


def neuron_sensitivity(weight: Tensor, pre_activation: Tensor, activation: str | nn.Module | Activation = "tanh") -> Tensor:
    r"""Sensitivity of each neuron: the length of its output's gradient with respect to its inputs.

    .. math:: s = \lVert\nabla_x f(w \cdot x + \theta)\rVert = |f'(U)|\,\lVert w\rVert

    Args:
        weight: (..., N, M), the incoming weights of N neurons; in a recurrent network the recurrent ones only.
        pre_activation: (..., B, N), U = w·x + θ (dimensionless), for a batch of B samples.
        activation: f by name (tanh, sigmoid, relu, leaky_relu, gelu, softplus, identity) or as its ``nn.Module``.

    Returns:
        (..., B, N), non-negative and dimensionless: the factor by which a neuron stretches a small change along w.

    Raises:
        ValueError: shapes that do not fit, an integer tensor, an unknown activation.

    Source: Shibata et al., Neural Networks 143 (2021), abstract; the norm over recurrent weights only is this book's reading.

    Example:
        >>> weight = torch.tensor([[3.0, 4.0]])
        >>> neuron_sensitivity(weight, torch.zeros(1, 1))
        tensor([[5.]])
    """
    _check_shapes(weight, pre_activation)
    absolute_slope = absolute_slope_and_derivative(activation_formulas(activation), pre_activation)[0]
    return absolute_slope * torch.linalg.vector_norm(weight, dim=-1).unsqueeze(-2)


def log_sensitivity(sensitivity: Tensor, dim: int | tuple[int, ...] = -1) -> Tensor:
    r"""Log of the root mean square of sensitivities: the expected growth rate of a small change.

    .. math:: \log s_{\mathrm{rms}} = \tfrac{1}{2} \log \mathrm{E}[s^2]

    Args:
        sensitivity: any shape, for instance (..., B, N).
        dim: the dimension or dimensions to average over, usually the neurons, or samples and neurons ``(-2, -1)``.

    Returns:
        The given shape without ``dim``, in nats per layer or per time step; −∞ where every sensitivity is 0.

    Source: Shibata et al., Neural Networks 143 (2021), abstract (log of the RMS sensitivity over the neurons).

    Example:
        >>> log_sensitivity(torch.ones(4))
        tensor(0.)
    """
    return 0.5 * sensitivity.square().mean(dim).log()


def sensitivity_gradient(
    weight: Tensor, inputs: Tensor, pre_activation: Tensor, activation: str | nn.Module | Activation = "tanh"
) -> tuple[Tensor, Tensor]:
    r"""Gradient of each neuron's batch-mean sensitivity by its weights and its bias: the direction in which SAL moves.

    .. math::
        \nabla_w \bar s = \overline{|f'(U)|}\,\frac{w}{\lVert w\rVert}
            + \lVert w\rVert\,\overline{\operatorname{sgn}(f'(U))\,f''(U)\,x},
        \qquad \partial_\theta \bar s = \lVert w\rVert\,\overline{\operatorname{sgn}(f'(U))\,f''(U)}

    Args:
        weight: (..., N, M), incoming weights; its leading dimensions are replicas.
        inputs: (..., B, M), the inputs x that these weights multiply.
        pre_activation: (..., B, N), U = w·x + θ.
        activation: f by name or as its ``nn.Module``.

    Returns:
        Two tensors, (..., N, M) by weight and (..., N) by bias; 0 where a row of ``weight`` has norm 0.

    Raises:
        ValueError: shapes that do not fit, an integer tensor, an unknown activation.

    Source: Shibata et al., Neural Networks 143 (2021), the rule Δw = η ∇_w s.

    Example:
        >>> by_weight, by_bias = sensitivity_gradient(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), torch.zeros(1, 1))
        >>> by_weight
        tensor([[0.6000, 0.8000]])
    """
    _check_shapes(weight, pre_activation, inputs)
    absolute_slope, derivative_of = absolute_slope_and_derivative(activation_formulas(activation), pre_activation)
    norm, slope_derivative = torch.linalg.vector_norm(weight, dim=-1), derivative_of()
    # A row of norm 0 has no direction. It is divided by 1 instead of 0, so that its gradient is 0.
    direction = weight / torch.where(norm > 0, norm, 1.0).unsqueeze(-1)
    by_slope = (norm / inputs.shape[-2]).unsqueeze(-1) * (slope_derivative.mT @ inputs)
    return absolute_slope.mean(-2).unsqueeze(-1) * direction + by_slope, norm * slope_derivative.mean(-2)
