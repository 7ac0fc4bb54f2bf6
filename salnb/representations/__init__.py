"""Geometry of representations: covariance spectra and their power laws, Krotov–Hopfield learning, penalties, robustness.

Used by the part *Geometry* of the book. The question is that of Holzhausen, Merlid, Torvik, Malthe-Sørenssen and Lepperød (arXiv
2405.00679): what a local rule does to the spectrum, the smoothness and the robustness of a representation.
"""

from .attacks import fgsm, gaussian_noise, masked_gradients, pgd, sign_search
from .covariance_spectrum import StreamingCovariance, covariance_spectrum, participation_ratio
from .gauge import regauge
from .hidden_net import HiddenNet
from .images import load_images, natural_patches
from .jacobians import jacobian_map, jacobian_squared_norm, published_projection_loop
from .krotov_hopfield import KrotovHopfieldLayer
from .krotov_hopfield_training import train_krotov_hopfield
from .manifolds import circle_responses, torus_responses
from .normalization import lp_normalize
from .penalties import jacobian_penalty, sensitivity_penalty, spectral_penalty, weight_penalty
from .power_law import PowerLaw, power_law, smoothness_bound
from .robustness import critical_norm, critical_perturbation, worst_case

__all__ = [
    "HiddenNet",
    "KrotovHopfieldLayer",
    "PowerLaw",
    "StreamingCovariance",
    "circle_responses",
    "covariance_spectrum",
    "critical_norm",
    "critical_perturbation",
    "fgsm",
    "gaussian_noise",
    "jacobian_map",
    "jacobian_penalty",
    "jacobian_squared_norm",
    "load_images",
    "lp_normalize",
    "masked_gradients",
    "natural_patches",
    "participation_ratio",
    "pgd",
    "power_law",
    "published_projection_loop",
    "regauge",
    "sensitivity_penalty",
    "sign_search",
    "smoothness_bound",
    "spectral_penalty",
    "torus_responses",
    "train_krotov_hopfield",
    "weight_penalty",
    "worst_case",
]
