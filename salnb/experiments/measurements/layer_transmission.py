"""The growth in one layer at a given sensitivity: of a random change forward, and of a random gradient backward."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...common.arguments import check_sizes
from ...sal.rule import AVERAGES
from ...sensitivity.activations import Activation, activation_formulas

BISECTIONS = {torch.float32: 22, torch.float64: 50}  # halvings of an interval of row lengths until no digit changes any more
FACTOR = 2**0.25  # between the row lengths that are tried before the bisection
LONGEST = 1e3  # if a row length above this is not enough, the search ends with an error


class LayerGrowth(NamedTuple):
    """The growth of random changes and gradients in a layer and its sensitivity, one number per network."""

    forward: Tensor  # (R,), mean log growth of a random change of the inputs, in nats per layer
    backward: Tensor  # (R,), mean log growth of a random gradient at the outputs, on its way to the inputs
    mean: Tensor  # (R,), mean sensitivity over neurons and samples
    rms: Tensor  # (R,), root mean square of the sensitivity over neurons and samples
    silent: Tensor  # (R,), share of the samples in which every slope is 0; they are left out of the two means


def scale_rows(
    weight: Tensor, inputs: Tensor, activation: str | nn.Module | Activation = "tanh", *,
    average: str = "mean", target: float = 1.0,
) -> Tensor:  # fmt: skip
    r"""Lengthens or shortens each neuron's weights until its sensitivity, averaged over the inputs, is the target.

    .. math:: \text{find } c_i:\quad c_i\,\lVert w_i\rVert\;\overline{|f'(c_i\,w_i\cdot x)|} = \text{target}

    Args:
        weight: (..., N, M), rows of length > 0; biases are 0. inputs: (..., B, M).
        activation: f by name or as its ``nn.Module``.
        average: "mean" (E[s], the paper's) or "rms" (the root of E[s²]). target: > 0.

    Returns:
        The scaled weights (..., N, M).

    Raises:
        ValueError: an unknown average, a target that is not positive, or one that no row length reaches.

    Source: this project. Unlike this function, SAL also changes the directions of the rows, and the biases.

    Example:
        >>> scale_rows(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2))
        tensor([[0.6000, 0.8000]])
    """
    if average not in AVERAGES:
        raise ValueError(f"average: got {average!r}, expected one of {', '.join(AVERAGES)}")
    if not target > 0:
        raise ValueError(f"target: got {target!r}, expected a sensitivity > 0")
    slope, power = activation_formulas(activation).slope, 1 if average == "mean" else 2
    rows = weight / torch.linalg.vector_norm(weight, dim=-1, keepdim=True)
    unit_pre_activation = inputs @ rows.mT  # (..., B, N), pre-activations for rows of length 1

    def sensitivity_at(length: Tensor) -> Tensor:
        return length * slope(length.unsqueeze(-2) * unit_pre_activation).abs().pow(power).mean(-2).pow(1 / power)

    steepest = slope(torch.linspace(-10, 10, 2001, dtype=weight.dtype, device=weight.device)).abs().max()
    high = torch.ones_like(unit_pre_activation[..., 0, :]) * target / steepest  # a shorter row cannot reach the target
    while bool((too_short := sensitivity_at(high) < target).any()):
        # The search takes the first length that is enough. Above it the sensitivity may fall again.
        if high.max() > LONGEST:
            raise ValueError(
                f"target: no row length brings the {average} sensitivity of every neuron to {target}; with a bounded "
                "activation there is a ceiling, which falls with the size of the inputs: use smaller inputs"
            )
        high = torch.where(too_short, FACTOR * high, high)
    low = high / FACTOR
    for _ in range(BISECTIONS.get(weight.dtype, 22)):
        middle = (low + high) / 2
        too_short = sensitivity_at(middle) < target
        low, high = torch.where(too_short, middle, low), torch.where(too_short, high, middle)
    return rows * high.unsqueeze(-1)


def measure_growth(
    weight: Tensor, bias: Tensor, inputs: Tensor, activation: str | nn.Module | Activation = "tanh", *, generator=None
) -> LayerGrowth:
    """Log growth per unit of a random change through a layer, forward and backward, averaged over the samples.

    A sample in which no neuron responds (all of 16 ReLUs are off for one input in 2^16) has a growth of 0, with no logarithm. It
    is left out and counted; averages over the others are those given that something passes.

    Args:
        weight: (R, N, M). bias: (R, N). inputs: (R, B, M), one random change and one random gradient is drawn for each sample.
        activation: f by name or as its ``nn.Module``. generator: of the changes and gradients.
    """
    pre_activation = inputs @ weight.mT + bias.unsqueeze(-2)
    slope = activation_formulas(activation).slope(pre_activation)
    change = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype).to(inputs.device)
    gradient = torch.randn(slope.shape, generator=generator, dtype=inputs.dtype).to(inputs.device)

    responding = (slope != 0).any(-1)

    def log_growth(after: Tensor, before: Tensor) -> Tensor:
        grown = 0.5 * (after.square().mean(-1) / before.square().mean(-1)).log()
        return torch.where(responding, grown, 0).sum(-1) / responding.sum(-1)

    sensitivity = slope.abs() * torch.linalg.vector_norm(weight, dim=-1).unsqueeze(-2)
    return LayerGrowth(
        forward=log_growth(slope * (change @ weight.mT), change), backward=log_growth((slope * gradient) @ weight, gradient),
        mean=sensitivity.mean((-2, -1)), rms=sensitivity.square().mean((-2, -1)).sqrt(),
        silent=1 - responding.mean(-1, dtype=inputs.dtype),
    )  # fmt: skip


def layer_growth(
    width: int = 64, activation: str | nn.Module | Activation = "tanh", *, average: str = "mean", size: float = 0.5,
    replicas: int = 16, samples: int = 256, seed: int = 0, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32,
) -> LayerGrowth:  # fmt: skip
    """Draws random square layers, scales every neuron to sensitivity 1 and measures the log growth forward and backward.

    Args:
        width: N, of inputs and of neurons. activation: f by name or as its ``nn.Module``.
        average: which average of each neuron's sensitivity is set to 1, see ``scale_rows``.
        size: standard deviation of the inputs, Gaussian with mean 0; weights are Gaussian, biases 0.
        replicas: R, independent layers. samples: B inputs with which the rows are scaled, and B other inputs for the measurement.
        seed: of everything random. device, dtype: as in torch.

    Returns:
        ``LayerGrowth``: logs in nats per layer, one per replica.

    Raises:
        ValueError: a size that is not positive, sizes below 1, or no row length that gives a sensitivity of 1.

    Example:
        >>> layer_growth(8, "relu", average="rms", replicas=2, samples=50).forward.shape
        torch.Size([2])
    """
    check_sizes(width=width, replicas=replicas, samples=samples)
    if not size > 0:
        raise ValueError(f"size: got {size!r}, expected a standard deviation > 0")
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=dtype).to(device)  # noqa: E731
    weight = scale_rows(draw(replicas, width, width), size * draw(replicas, samples, width), activation, average=average)
    fresh = size * draw(replicas, samples, width)
    return measure_growth(weight, weight.new_zeros(replicas, width), fresh, activation, generator=generator)
