"""Sensitivity adjustment learning (SAL), for other layers SAL by rows of the Jacobian, and the monitor of sensitivities.

Used by *Sensitivity adjustment learning*, *SAL at work*, *Learning through depth and time* and the experiments.
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
