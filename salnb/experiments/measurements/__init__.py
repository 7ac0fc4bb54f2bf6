"""Measurements on networks: the exponent under SAL, the growth in one layer, random spectra, how a trained network keeps a bit.

Used by *Log-sensitivity is the exponent*, *One layer, forward and back*, *The whole spectrum* and *Inside a trained network*.
"""

from .exponent_under_sal import FollowedExponent, follow_exponent, predicted_offset
from .layer_transmission import layer_growth, measure_growth, scale_rows
from .random_spectra import GAINS, SPECTRA, log_volume, random_spectrum
from .working_memory import KINDS, KeptBit, after_first_pulse, kept_bit, kind_of, orbits, portrait

__all__ = [
    "GAINS",
    "KINDS",
    "SPECTRA",
    "FollowedExponent",
    "KeptBit",
    "after_first_pulse",
    "follow_exponent",
    "kept_bit",
    "kind_of",
    "layer_growth",
    "log_volume",
    "measure_growth",
    "orbits",
    "portrait",
    "predicted_offset",
    "random_spectrum",
    "scale_rows",
]
