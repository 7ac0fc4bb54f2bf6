"""How a recurrent network's whole sequence lies in memory, so that few large products do most of the work.

Everything is (R, T, B, N), with all replicas as R and no R where there are none. A step is then one slice, and all steps
together are rows, (R, T·B, N): whatever need not wait for its turn is one product.
"""

import torch
from torch import Tensor

from ..networks.linear import ReplicaLinear
from ..networks.recurrent import TanhRNN


def with_replicas(inputs: Tensor, rnn: TanhRNN) -> Tensor:
    """(T, B, n_in) or (T, ..., B, n_in) -> (T, ..., B, n_in)."""
    if inputs.ndim == 3:  # shared by the replicas
        inputs = inputs.reshape(len(inputs), *[1] * len(rnn.replicas), *inputs.shape[1:])
    lead = inputs.shape[1:-2]
    fits = inputs.ndim == 3 + len(rnn.replicas) and all(got in (1, r) for got, r in zip(lead, rnn.replicas, strict=True))
    if inputs.shape[-1:] != (rnn.n_in,) or not fits:
        raise ValueError(
            f"inputs: got shape {tuple(inputs.shape)}, expected (T, B, {rnn.n_in}) or "
            f"(T, {''.join(f'{r}, ' for r in rnn.replicas)}B, {rnn.n_in}), time first"
        )
    # Without inputs only their shape counts.
    inputs = inputs if rnn.n_in else inputs.to(rnn.readout.weight)
    return inputs.expand(len(inputs), *rnn.replicas, *inputs.shape[-2:])


def merged(tensor: Tensor, replicas: tuple[int, ...], first: int = 0) -> Tensor:
    """All replica dimensions, which start at ``first``, as one."""
    return tensor.flatten(first, first + len(replicas) - 1) if len(replicas) > 1 else tensor


def to_rows(tensor: Tensor, replicas: tuple[int, ...]) -> Tensor:
    """(T, ..., B, N) -> (R, T·B, N)."""
    return merged(tensor, replicas, 1).movedim(0, -3).flatten(-3, -2)


def to_steps(rows: Tensor, n_steps: int, batch: int) -> Tensor:
    """(R, T·B, N) -> (R, T, B, N), laid out in memory for work on one step after the other."""
    return rows.unflatten(-2, (n_steps, batch)).contiguous()


def affine(bias: Tensor, rows: Tensor, layer: ReplicaLinear, replicas: tuple[int, ...]) -> Tensor:
    """W x + θ of every row at once; the bias need not be the layer's own."""
    product = torch.baddbmm if replicas else torch.addmm
    return product(merged(bias, replicas).unsqueeze(-2), rows, merged(layer.connected_weight(), replicas).mT)
