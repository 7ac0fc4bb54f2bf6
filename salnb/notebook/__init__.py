"""What a chapter needs around the mathematics: figures in one style, sliders, intervals, the claims ledger.

Used by every chapter; the ledger also by *The claims ledger* in the appendix.
"""

from .book_files import read_results
from .claims import check, check_shares, ledger
from .intervals import confidence_interval, difference_interval, share_interval
from .plotting import use_style
from .widgets import explore

__all__ = [
    "check",
    "check_shares",
    "confidence_interval",
    "difference_interval",
    "explore",
    "ledger",
    "read_results",
    "share_interval",
    "use_style",
]
