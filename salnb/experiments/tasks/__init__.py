"""The classification tasks of the training runs. All are drawn from a random generator, except scikit-learn's digits
and this book's own text.

Used by *Three hundred layers*, *Three hundred steps*, *SAL against a tuned spectral radius*, *What SAL cannot do* and
*Exponents of any network*; the text in *SAL on your own model*.
"""

from .classification import TASKS
from .frozen_text import book_text
from .handwritten_digits import digits
from .point_sets import disc_and_ring, parity, two_moons
from .sequences import lagged_parity, lagged_xor, temporal_order, varied_xor

__all__ = [
    "TASKS",
    "book_text",
    "digits",
    "disc_and_ring",
    "lagged_parity",
    "lagged_xor",
    "parity",
    "temporal_order",
    "two_moons",
    "varied_xor",
]
