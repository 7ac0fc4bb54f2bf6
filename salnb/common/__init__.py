"""Tools for all other rooms: denormal numbers rounded to 0, checks of arguments, progress bars, the version.

Used by the preface (``progress_bar``); all other chapters use this room through the other rooms.
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
