"""Measurements on networks that learn no task: the exponent under SAL, the growth in one layer, spectra of random networks.

Used by *Log-sensitivity is the exponent*, *From a neuron to a network* and *The whole spectrum*.
"""

from .exponent_under_sal import FollowedExponent, follow_exponent, predicted_offset
from .layer_transmission import layer_growth, measure_growth, scale_rows
from .random_spectra import GAINS, SPECTRA, log_volume, random_spectrum

__all__ = [
    "GAINS",
    "SPECTRA",
    "FollowedExponent",
    "follow_exponent",
    "layer_growth",
    "log_volume",
    "measure_growth",
    "predicted_offset",
    "random_spectrum",
    "scale_rows",
]
