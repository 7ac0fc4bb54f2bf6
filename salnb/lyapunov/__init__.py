"""Lyapunov exponents of any step function, over long runs or over given steps, and covariant Lyapunov vectors.

Used by *From a neuron to a network*, by the chapters from *Chaos and its exponents* to *The whole spectrum*, by *Exponents of any
network* and *Networks with gates*, and by the experiments.
"""

from .covariant import CovariantVectors, covariant_vectors
from .exponents import lyapunov_spectrum
from .finite_time import finite_time_exponents
from .integrators import rk4_step
from .maps import tanh_map
from .spectrum import LyapunovSpectrum

__all__ = [
    "CovariantVectors",
    "LyapunovSpectrum",
    "covariant_vectors",
    "finite_time_exponents",
    "lyapunov_spectrum",
    "rk4_step",
    "tanh_map",
]
