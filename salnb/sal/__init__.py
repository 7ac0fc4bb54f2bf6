"""Sensitivity adjustment learning (SAL), for other layers SAL by rows of the Jacobian, and the monitor of sensitivities.

Used by *Sensitivity adjustment learning*, *When SAL stops*, *SAL at work*, the chapters on gradients and the experiments.

``look`` sees in a running model which layers can be watched, ``passes`` records what they see and sums it up, and ``update``
moves them.
"""

from .jacobian_rows import RowSAL
from .monitor import SensitivityMonitor
from .optimizer import SAL
from .pretrain import sal_pretrain

__all__ = [
    "SAL",
    "RowSAL",
    "SensitivityMonitor",
    "sal_pretrain",
]
