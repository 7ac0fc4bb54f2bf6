"""salnb: neuron sensitivity, sensitivity adjustment learning (SAL) and Lyapunov exponents for PyTorch networks."""

from .backprop import backprop_through_time, gradient_profile
from .common.old_names import import_on_demand as __getattr__  # noqa: F401 (``salnb.plotting`` and other short names)
from .common.version import __version__ as __version__
from .lyapunov import (
    CovariantVectors,
    LyapunovSpectrum,
    covariant_vectors,
    finite_time_exponents,
    lyapunov_spectrum,
    rk4_step,
    tanh_map,
)
from .networks import DeepNet, TanhRNN, rnn_step
from .sal import SAL, SensitivityMonitor, sal_pretrain
from .sensitivity import Activation, log_sensitivity, neuron_sensitivity, sensitivity_gradient, sensitivity_of

__all__ = [
    "SAL",
    "Activation",
    "CovariantVectors",
    "DeepNet",
    "LyapunovSpectrum",
    "SensitivityMonitor",
    "TanhRNN",
    "backprop_through_time",
    "covariant_vectors",
    "finite_time_exponents",
    "gradient_profile",
    "log_sensitivity",
    "lyapunov_spectrum",
    "neuron_sensitivity",
    "rk4_step",
    "rnn_step",
    "sal_pretrain",
    "sensitivity_gradient",
    "sensitivity_of",
    "tanh_map",
]
