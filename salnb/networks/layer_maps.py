"""A network as a list of maps, one for each layer or one for the time step; their Jacobians' rows are sensitivities."""

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor, nn

# A layer as a function, states (R, B, M) that it reads, and the parameters that SAL may move.
LayerMap = tuple[Callable[[Tensor], Tensor], Tensor, list[nn.Parameter]]


class WithMaps(Protocol):
    """A model that gives the maps of which it is made."""

    def maps(self, inputs: Tensor, generator: torch.Generator) -> Iterable[LayerMap]:
        """The layers after the first, or the time step, each with the states that these inputs lead to."""
