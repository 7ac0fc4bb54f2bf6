"""Layers whose neurons have no single slope: their sensitivities are the lengths of the rows of a Jacobian.

What stands between a layer and its activation, and maps from a layer's input to what its activation gives, as ``SAL`` and
``SensitivityMonitor`` use them; shown in *SAL on your own model*.
"""

from .normalization import Normalization

__all__ = ["Normalization"]
