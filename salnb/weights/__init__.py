"""Spectral dynamics of weights: singular values, effective ranks, alignments and masks of weight matrices that learn.

Used by the chapter *The spectrum of a weight matrix while it learns*. The questions are those of Yunis et al. (arXiv 2408.11804).
"""

from .barrier import loss_barrier
from .masks import magnitude_masks, random_masks_like, random_masks_of_equal_energy
from .rank import effective_rank, matricize, stable_rank
from .singular_vectors import layer_alignment, singular_vector_agreement, subspace_overlap
from .tracker import SpectralTracker
from .truncation import truncate_svd

__all__ = [
    "SpectralTracker",
    "effective_rank",
    "layer_alignment",
    "loss_barrier",
    "magnitude_masks",
    "matricize",
    "random_masks_like",
    "random_masks_of_equal_energy",
    "singular_vector_agreement",
    "stable_rank",
    "subspace_overlap",
    "truncate_svd",
]
