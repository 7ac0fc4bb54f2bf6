"""Rows of weights that an optimizer shall not move this time, and how they are put back if it did."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class RowGate:
    """Holds back the rows of parameters for one optimizer step.

    A gradient of 0 is not enough: momentum and Adam move a weight whose gradient is zero, and so does weight decay. The
    rows are therefore remembered as well, and ``put_back`` restores them.
    """

    def __init__(self, owner: object) -> None:
        self.owner = owner  # the pass that the decision was taken from
        self._saved: list[tuple[Tensor, nn.Parameter, Tensor]] = []

    def hold(self, rows: Tensor, parameters: Iterable[nn.Parameter]) -> None:
        """Zeroes the gradients of the given rows (..., N), True where held, and remembers the weights."""
        for parameter in parameters:
            held = rows.unsqueeze(-1) if parameter.ndim > rows.ndim else rows
            self._saved.append((held, parameter, parameter.clone()))
            if parameter.grad is not None:
                parameter.grad.masked_fill_(held, 0.0)

    def put_back(self) -> None:
        for held, parameter, before in self._saved:
            parameter.copy_(torch.where(held, before, parameter))
