"""Gradients derived by hand, through depth and through time, and the gradient profile over layers or time steps.

Used by *Gradients through depth*, *Gradients through time*, *Other remedies*, *Three hundred layers* and *Three hundred steps*.
"""

from .gated_cells import cell_gradients
from .gradient_profile import gradient_profile
from .through_depth import deep_gradients_
from .through_time import backprop_through_time

__all__ = [
    "backprop_through_time",
    "cell_gradients",
    "deep_gradients_",
    "gradient_profile",
]
