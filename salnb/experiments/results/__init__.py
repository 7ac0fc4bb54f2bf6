"""The plan of all paper-scale runs, their stored results, the held-accuracy count, and the claims' figures computed from them.

Used by the experiment chapters, which draw what is stored, and by ``make results``, which runs what is missing.
"""

from .flossing_runs import flossing_groups
from .held_accuracy import count_held, first_success
from .store import run_all, train_all
from .verdicts import mismatch

__all__ = [
    "count_held",
    "first_success",
    "flossing_groups",
    "mismatch",
    "run_all",
    "train_all",
]
