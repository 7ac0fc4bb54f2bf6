"""Geometry of representations: covariance spectra and their power laws, Krotov–Hopfield learning, penalties, robustness.

Used by the part *Geometry* of the book. The question is that of Holzhausen, Merlid, Torvik, Malthe-Sørenssen and Lepperød (arXiv
2405.00679): what a local rule does to the spectrum, the smoothness and the robustness of a representation.
"""

from .attacks import fgsm, gaussian_noise, masked_gradients, pgd, sign_search
from .hidden_net import HiddenNet
from .jacobians import jacobian_map, jacobian_squared_norm, published_projection_loop
from .penalties import jacobian_penalty, sensitivity_penalty, spectral_penalty, weight_penalty
from .robustness import critical_norm, critical_perturbation, worst_case

__all__ = [
    "HiddenNet",
    "critical_norm",
    "critical_perturbation",
    "fgsm",
    "gaussian_noise",
    "jacobian_map",
    "jacobian_penalty",
    "jacobian_squared_norm",
    "masked_gradients",
    "pgd",
    "published_projection_loop",
    "sensitivity_penalty",
    "sign_search",
    "spectral_penalty",
    "weight_penalty",
    "worst_case",
]
