"""Neurons below target learn by SAL alone: their rows of parameters are held back for one step of the other optimizer."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .layers import WATCHED, WatchedLayer


def refuse_without_rows(layers: Iterable[WatchedLayer]) -> None:
    """A RuntimeError if the units of a layer share their parameters, so that none can be held back alone."""
    for layer in layers:
        if layer.status == WATCHED and layer.row_map is not None and not layer.row_map.row_parameters:
            raise RuntimeError(f"gate_gradients_: the units of {layer.name!r}, which is adjusted by rows, have no rows of "
                               "parameters of their own that could be held back; leave this layer or the gating out")  # fmt: skip


class RowGate:
    """Holds back the rows of parameters for one optimizer step.

    A gradient of 0 is not enough: momentum and Adam move a weight whose gradient is zero, and so does weight decay. The
    rows are therefore remembered as well, and ``put_back`` restores them.
    """

    def __init__(self, owner: object) -> None:
        self.owner = owner  # the pass in which the rows were chosen
        self._saved: list[tuple[Tensor, nn.Parameter, Tensor]] = []

    def hold(self, rows: Tensor, parameters: Iterable[nn.Parameter]) -> None:
        """Zeroes the gradients of the given rows (..., N), True where held, and remembers the weights."""
        for parameter in parameters:
            held = rows.view(*rows.shape, *[1] * (parameter.ndim - rows.ndim))
            self._saved.append((held, parameter, parameter.clone()))
            if parameter.grad is not None:
                parameter.grad.masked_fill_(held, 0.0)

    def put_back(self) -> None:
        """Restores the remembered rows."""
        for held, parameter, before in self._saved:
            parameter.copy_(torch.where(held, before, parameter))
