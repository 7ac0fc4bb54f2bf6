"""A network as a list of functions, one for each layer or one for the time step.

The length of a row of such a function's Jacobian is the sensitivity of one unit.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor, nn

# A layer as a function, the states (R, B, M) to which it is applied, and the parameters that SAL may change.
LayerMap = tuple[Callable[[Tensor], Tensor], Tensor, list[nn.Parameter]]


class WithMaps(Protocol):
    """A model that can say of which functions it consists."""

    def maps(self, inputs: Tensor, generator: torch.Generator) -> Iterable[LayerMap]:
        """The layers after the first, or the time step, each with the states to which these inputs lead."""
