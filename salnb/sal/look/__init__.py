"""Looking at a model while it runs: which layers it has, what takes their outputs, and which of them SAL can watch.

Used by ``SAL`` and ``SensitivityMonitor``; shown in *SAL at work*.
"""

from .survey import survey

__all__ = ["survey"]
