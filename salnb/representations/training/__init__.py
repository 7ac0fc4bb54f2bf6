"""Training of the models that the part *Geometry* compares, many replicas side by side.

Used by *Smooth, accurate, robust?* and by the runs that are stored for it.
"""

from .recipe import MODELS, Recipe
from .selection import ChosenStrength, choose_strength
from .train import TrainedHidden, accuracy, train_hidden

__all__ = [
    "MODELS",
    "ChosenStrength",
    "Recipe",
    "TrainedHidden",
    "accuracy",
    "choose_strength",
    "train_hidden",
]
