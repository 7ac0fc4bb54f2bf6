"""One fully connected layer for many independent networks at once, and how its weights are drawn."""

from functools import partial
from weakref import ref

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

INITS = ("gaussian", "orthogonal")


def normal(shape: tuple[int, ...], generator: torch.Generator | None, device, dtype) -> Tensor:
    """Standard normal numbers, drawn on the generator's device and then moved: a CPU generator gives the same ones everywhere."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"generator: got {type(generator).__name__}, expected a torch.Generator or None; "
                        "make one with torch.Generator().manual_seed(0)")  # fmt: skip
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype: got {dtype!r}, expected a real floating-point dtype such as torch.float32, or None")
    source = generator.device if generator is not None else device
    return torch.randn(shape, generator=generator, device=source, dtype=dtype).to(device)


def connection_mask(shape: tuple[int, ...], connectivity: float, generator: torch.Generator | None, device) -> Tensor:
    """Random True/False (..., N, M): each connection exists with probability ``connectivity``, at least one per row."""
    source = generator.device if generator is not None else device
    draw = torch.rand(shape, generator=generator, device=source)
    # The smallest draw of a row is always a connection, so that every neuron has at least one.
    return ((draw < connectivity) | (draw == draw.amin(-1, keepdim=True))).to(device)


def orthogonal(shape: tuple[int, ...], generator: torch.Generator | None, device, dtype) -> Tensor:
    """Uniformly random matrices (..., N, M) with orthonormal rows (N <= M) or columns (N > M)."""
    *replicas, n, m = shape
    basis, triangle = torch.linalg.qr(normal((*replicas, max(n, m), min(n, m)), generator, device, dtype))
    # The QR algorithm chooses the signs by a convention of its own. Without this correction the draw would not be uniform.
    basis = basis * triangle.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return basis if n >= m else basis.mT


class ReplicaLinear(nn.Module):
    r"""Affine map U = W x + θ for independent networks in one tensor.

    .. math:: U = W x + \theta + \text{drive}, \qquad W_{ij} \sim \mathcal N(0, g^2 / \text{fan-in})

    Args:
        n_in: M, number of inputs. n_out: N, number of neurons.
        gain: g, the expected length of a neuron's weight vector.
        replicas: leading dimensions of independent networks.
        connectivity: share of the connections that exist; each row keeps at least one, and a missing one stays missing.
        init: "gaussian" or "orthogonal".
        bias: whether there is a bias θ; it starts at 0.
        activation: name of the function that the network applies to U, None for a readout.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        gain: float,
        replicas: tuple[int, ...] = (),
        connectivity: float = 1.0,
        init: str = "gaussian",
        bias: bool = True,
        activation: str | None = None,
        generator: torch.Generator | None = None,
        device=None,
        dtype=None,
    ) -> None:
        super().__init__()
        if init not in INITS:
            raise ValueError(f"init: got {init!r}, expected one of {', '.join(INITS)}")
        if not 0 < connectivity <= 1:
            raise ValueError(f"connectivity: got {connectivity}, expected a share in (0, 1]")
        if not gain >= 0:
            raise ValueError(f"gain: got {gain}, expected a number >= 0")
        if init == "orthogonal" and connectivity < 1:
            raise ValueError("init: an orthogonal matrix has no missing connections; use connectivity=1 or init='gaussian'")
        shape = (*replicas, n_out, n_in)
        mask = None
        if n_in == 0:  # there is nothing to draw; many networks have no input
            weight = torch.empty(shape, device=device, dtype=dtype)
        elif init == "orthogonal":
            weight = gain * orthogonal(shape, generator, device, dtype)
        else:
            weight = normal(shape, generator, device, dtype)
            if connectivity < 1:
                mask = connection_mask(shape, connectivity, generator, device)
                weight = weight * mask
            fan_in = mask.sum(-1, keepdim=True) if mask is not None else torch.full_like(weight[..., :1], n_in)
            weight = weight * gain / fan_in.to(weight.dtype).sqrt()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(weight.new_zeros((*replicas, n_out))) if bias else None
        self.register_buffer("mask", mask)
        self.activation = activation

    def connected_weight(self) -> Tensor:
        """The weights, with 0 for missing connections; the gradient of a missing connection is 0 as well."""
        return self.weight if self.mask is None else self.weight * self.mask

    def forward(self, inputs: Tensor, drive: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
        """Pre-activation (..., B, N); ``weight`` is ``connected_weight()``, for a caller that has computed it already."""
        weight = self.connected_weight() if weight is None else weight
        if weight.ndim == 2:
            output = F.linear(inputs, weight, self.bias)
            return output if drive is None else output + drive
        if self.bias is not None and weight.ndim == inputs.ndim == 3 and (drive is None or drive.ndim == 3):
            bias = self.bias.unsqueeze(-2)  # the product adds it, which saves a pass over memory
            return torch.baddbmm(bias if drive is None else drive + bias, inputs, weight.mT)
        output = inputs @ weight.mT
        if drive is not None:
            output = output + drive
        return output if self.bias is None else output + self.bias.unsqueeze(-2)

    def extra_repr(self) -> str:
        *replicas, n, m = self.weight.shape
        return f"n_in={m}, n_out={n}, replicas={tuple(replicas)}, activation={self.activation}"


@torch.no_grad()
def gather(parameters: list[nn.Parameter]) -> None:
    """Puts parameters of one shape side by side in memory, so that SAL can compute all layers of a deep network together."""
    if len(parameters) > 1:
        for parameter, place in zip(parameters, torch.stack(parameters).unbind(0), strict=True):
            parameter.data = place
            parameter.__reduce_ex__ = partial(_reduce_alone, ref(parameter))


def _reduce_alone(parameter: ref, protocol: int) -> tuple:
    """Pickles a copy of a gathered parameter. Pickle would store the memory of all gathered parameters for each of them."""
    alone = parameter()
    return nn.Parameter, (alone.detach().clone(), alone.requires_grad)
