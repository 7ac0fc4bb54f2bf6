"""Images to represent: patches of two photographs that need no network, and CIFAR-10 and MNIST from files on disk.

Used by the part *Geometry* of the book, with patches as its default.
"""

from .image_files import load_images
from .natural_images import natural_patches

__all__ = ["load_images", "natural_patches"]
