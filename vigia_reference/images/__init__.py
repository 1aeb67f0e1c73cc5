"""From a photo to what the detector reads: loaded, without metadata, even in contrast, resized.

Needs Pillow and NumPy; nothing else in `vigia_reference` does.
"""

from vigia_reference.images.contrast import equalize
from vigia_reference.images.loading import Rgb, UnusableImage, load
from vigia_reference.images.preprocessing import Preprocessing, Tensor

__all__ = ["Preprocessing", "Rgb", "Tensor", "UnusableImage", "equalize", "load"]
