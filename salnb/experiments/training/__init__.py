"""Training of many networks at once, with SAL or without: recipe, baselines, learning step, runs that can be resumed, sweeps.

Used by *Three hundred layers*, *Three hundred steps*, *SAL against a tuned spectral radius*, *What SAL cannot do* and
*SAL on your own model*.
"""

from .baselines import deep_net, recurrent_net
from .diagnostics import exponent_of
from .flossing import floss, leading_exponents
from .optimization import losses
from .recipe import Policy
from .record import TrainingRun
from .rescaling import rescale_rows_
from .sweeps import grid, sweep
from .train import train_deep, train_lag

__all__ = [
    "Policy",
    "TrainingRun",
    "deep_net",
    "exponent_of",
    "floss",
    "grid",
    "leading_exponents",
    "losses",
    "recurrent_net",
    "rescale_rows_",
    "sweep",
    "train_deep",
    "train_lag",
]
