"""The layout in memory of a recurrent network's whole sequence, with which a few large products do most of the work.

Every tensor is (R, T, B, N), where all replica dimensions are merged into R, or (T, B, N) without replicas. Then a time step is
one slice, and all time steps together are rows, (R, T·B, N). Whatever does not depend on the order in time is one product.
"""

import torch
from torch import Tensor

from ..networks.linear import ReplicaLinear
from ..networks.recurrent import TanhRNN


def with_replicas(inputs: Tensor, rnn: TanhRNN) -> Tensor:
    """Inputs (T, B, n_in) or (T, ..., B, n_in) as (T, ..., B, n_in), after a check of their shape."""
    if inputs.ndim == 3:  # shared by the replicas
        inputs = inputs.reshape(len(inputs), *[1] * len(rnn.replicas), *inputs.shape[1:])
    lead = inputs.shape[1:-2]
    fits = inputs.ndim == 3 + len(rnn.replicas) and all(got in (1, r) for got, r in zip(lead, rnn.replicas, strict=True))
    if inputs.shape[-1:] != (rnn.n_in,) or not fits:
        raise ValueError(
            f"inputs: got shape {tuple(inputs.shape)}, expected (T, B, {rnn.n_in}) or "
            f"(T, {''.join(f'{r}, ' for r in rnn.replicas)}B, {rnn.n_in}), time first"
        )
    # A network without inputs uses only the shape of this tensor; it needs the network's dtype and device.
    inputs = inputs if rnn.n_in else inputs.to(rnn.readout.weight)
    return inputs.expand(len(inputs), *rnn.replicas, *inputs.shape[-2:])


def merged(tensor: Tensor, replicas: tuple[int, ...], first: int = 0) -> Tensor:
    """Merges all replica dimensions, which begin with dimension ``first``, into one."""
    return tensor.flatten(first, first + len(replicas) - 1) if len(replicas) > 1 else tensor


def to_rows(tensor: Tensor, replicas: tuple[int, ...]) -> Tensor:
    """(T, ..., B, N) -> (R, T·B, N)."""
    return merged(tensor, replicas, 1).movedim(0, -3).flatten(-3, -2)


def to_steps(rows: Tensor, n_steps: int, batch: int) -> Tensor:
    """(R, T·B, N) -> (R, T, B, N), contiguous in memory."""
    return rows.unflatten(-2, (n_steps, batch)).contiguous()


def affine(bias: Tensor, rows: Tensor, layer: ReplicaLinear, replicas: tuple[int, ...]) -> Tensor:
    """W x + θ of all rows; the bias may be that of another layer."""
    product = torch.baddbmm if replicas else torch.addmm
    return product(merged(bias, replicas).unsqueeze(-2), rows, merged(layer.connected_weight(), replicas).mT)
