"""A pass, one call of the model: recording what the watched layers see, and the sums over it that a step needs.

Used by ``SAL`` and ``SensitivityMonitor``.
"""

from .recording import PassRecorder

__all__ = ["PassRecorder"]
