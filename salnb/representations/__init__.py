"""Geometry of representations: covariance spectra and their power laws, Krotov–Hopfield learning, penalties, robustness.

Used by the part *Geometry* of the book. The question is that of Holzhausen, Merlid, Torvik, Malthe-Sørenssen and Lepperød (arXiv
2405.00679): what a local rule does to the spectrum, the smoothness and the robustness of a representation.
"""

from .hidden_net import HiddenNet
from .jacobians import jacobian_map, jacobian_squared_norm, published_projection_loop

__all__ = [
    "HiddenNet",
    "jacobian_map",
    "jacobian_squared_norm",
    "published_projection_loop",
]
