"""The sensitivity of a neuron, its gradient, that of any layer's units, the log-sensitivity, and activations with their slopes.

Used by *One neuron*, *Sensitivity adjustment learning* and *From a neuron to a network*, and by most chapters after them.
"""

from .activations import ACTIVATIONS, Activation, activation_formulas
from .any_function import sensitivity_of
from .formulas import log_sensitivity, neuron_sensitivity, sensitivity_gradient

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "activation_formulas",
    "log_sensitivity",
    "neuron_sensitivity",
    "sensitivity_gradient",
    "sensitivity_of",
]
