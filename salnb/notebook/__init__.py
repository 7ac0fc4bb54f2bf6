"""Tools for chapters: one style for all figures, sliders, the device, confidence intervals, stored results, and claims.

Used by every chapter, and by the pages on claims and on speed in the appendix.
"""

from .book_files import read_results
from .claims import check, check_groups, check_shares, ledger
from .intervals import confidence_interval, difference_interval, share_interval
from .runtime import runtime
from .style import use_style
from .widgets import explore

__all__ = [
    "check",
    "check_groups",
    "check_shares",
    "confidence_interval",
    "difference_interval",
    "explore",
    "ledger",
    "read_results",
    "runtime",
    "share_interval",
    "use_style",
]
