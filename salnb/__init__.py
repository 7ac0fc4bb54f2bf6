"""salnb: neuron sensitivity, sensitivity adjustment learning (SAL) and Lyapunov exponents for PyTorch networks."""

from .bptt import backprop_through_time, gradient_profile
from .covariant import CovariantVectors, covariant_vectors
from .functional import log_sensitivity, neuron_sensitivity, sensitivity_gradient
from .lyapunov import LyapunovSpectrum, lyapunov_spectrum
from .maps import tanh_map
from .monitor import SensitivityMonitor
from .networks import DeepNet, TanhRNN, rnn_step
from .sal import SAL, sal_pretrain

__version__ = "0.1.0"

__all__ = [
    "SAL",
    "CovariantVectors",
    "DeepNet",
    "LyapunovSpectrum",
    "SensitivityMonitor",
    "TanhRNN",
    "backprop_through_time",
    "covariant_vectors",
    "gradient_profile",
    "log_sensitivity",
    "lyapunov_spectrum",
    "neuron_sensitivity",
    "rnn_step",
    "sal_pretrain",
    "sensitivity_gradient",
    "tanh_map",
]
