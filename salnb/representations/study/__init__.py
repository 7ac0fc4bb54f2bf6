"""The comparison behind the part *Geometry*: three data sets, every network of it, what is measured on them, and the verdicts.

Used by *Learning without a teacher*, *Smooth, accurate, robust?* and *Sensitivity meets geometry*, and by ``make results``.
"""

from .data import Samples, Split, split_of
from .measurement import measure
from .plan import contestants, run_one, study_jobs
from .verdicts import geometry_groups

__all__ = [
    "Samples",
    "Split",
    "contestants",
    "geometry_groups",
    "measure",
    "run_one",
    "split_of",
    "study_jobs",
]
