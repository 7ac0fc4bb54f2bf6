r"""Every row of a recurrent matrix divided by its mean sensitivity on one batch: a start at sensitivity 1 without SAL's rule.

.. math:: w_i \leftarrow w_i / \bar s_i, \qquad \bar s_i = \langle 1 - h_i^2 \rangle \, \|w_i\|

This is done once. Repeated, it does not settle: a neuron that its inputs saturate has a mean slope of nearly 0, which a longer
row does not raise, so that the row grows without bound. (Layer-by-layer scaling to unit variance on data, LSUV by Mishkin and
Matas, ICLR 2016, is the model; variance there, sensitivity here.)
"""

import torch
from torch import Tensor

from ...common.denormals import flushed_denormals
from ...common.tensors import check_floats
from ...networks.recurrent import TanhRNN


def rescale_rows_(net: TanhRNN, inputs: Tensor) -> Tensor:
    """Divides each neuron's recurrent weights by its mean sensitivity over the time steps and samples of one batch.

    Args:
        net: a flat network, changed in place. inputs: (T, ..., B, n_in), as the network takes them.

    Returns:
        The mean sensitivities (..., N) before.

    Raises:
        TypeError: no ``TanhRNN``, or inputs that are no tensor. ValueError: a ring of layers; inputs of another shape or dtype,
        empty or not finite; a neuron whose mean sensitivity is 0 or not finite, which no factor brings to 1.

    Example:
        >>> net = TanhRNN(1, 4, 1, gain=0.5, generator=torch.Generator().manual_seed(0))
        >>> before = rescale_rows_(net, torch.zeros(3, 2, 1))  # in silence every slope is 1
        >>> torch.allclose(net.recurrent[0].weight.norm(dim=-1), torch.ones(4)), bool((before > 1).all())
        (True, False)
    """
    if not isinstance(net, TanhRNN):
        raise TypeError(f"net: got {type(net).__name__}, expected a salnb.networks.TanhRNN")
    if len(net.recurrent) != 1:
        raise ValueError(f"net: got a ring of {len(net.recurrent)} layers, expected a flat network")
    check_floats("inputs", inputs, f"(T, ..., B, {net.n_in})", dims=3)
    weight = net.recurrent[0].weight
    with torch.no_grad(), flushed_denormals():
        states = net(inputs)[1]
        sensitivity = (1 - states.square()).mean((0, -2)) * torch.linalg.vector_norm(weight, dim=-1)
        if not bool(((sensitivity > 0) & torch.isfinite(sensitivity)).all()):
            raise ValueError("net: a neuron has a mean sensitivity of 0 or one that is not finite on this batch, which no factor "
                             "brings to 1; give it weights that are finite and not all 0, or weaker inputs")  # fmt: skip
        weight.div_(sensitivity.unsqueeze(-1))
    return sensitivity
