"""What every other room may need: denormal numbers, checks of arguments, progress bars, the version.

Used by no chapter but the preface (``progress_bar``), and by the library everywhere.
"""

from .denormals import flushed_denormals
from .progress import is_static, progress_bar
from .version import __version__

__all__ = [
    "__version__",
    "flushed_denormals",
    "is_static",
    "progress_bar",
]
