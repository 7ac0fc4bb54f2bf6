"""The paper-scale runs of the book's first part, in four rooms: tasks, training, measurements, results.

Used by *From a neuron to a network* and by every experiment of the book.
"""

from .measurements.exponent_under_sal import (
    FollowedExponent,
    follow_exponent,
    log_rms_row_norm,
    log_spectral_radius,
    predicted_offset,
)
from .training.recipe import Policy
from .training.record import TrainingRun
from .training.train import train_deep, train_lag

__all__ = [
    "FollowedExponent",
    "Policy",
    "TrainingRun",
    "follow_exponent",
    "log_rms_row_norm",
    "log_spectral_radius",
    "predicted_offset",
    "train_deep",
    "train_lag",
]
