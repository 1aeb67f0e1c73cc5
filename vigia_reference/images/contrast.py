"""Contrast-limited adaptive histogram equalization (CLAHE), on lightness alone.

K. Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV, 1994.  What is
clipped is spread over all values at once, and not a second time where that exceeds the limit.
"""

import numpy as np
from numpy.typing import NDArray

from vigia_reference.images.lightness import to_lab, to_rgb
from vigia_reference.images.loading import Rgb

_VALUES = 256


def equalize(rgb: Rgb, *, clip: float = 3.0, tiles: int = 8) -> Rgb:
    """Even out the light of a photo and keep its colours.

    In each of *tiles* x *tiles* regions a value may be at most *clip* times as frequent as the
    average.

    >>> grey = np.arange(96, 160, dtype=np.uint8).reshape(8, 8, 1).repeat(3, axis=2)
    >>> even = equalize(grey, tiles=1)
    >>> bool(even.min() < 20), bool(even.max() > 240)
    (True, True)
    """
    lightness, a, b = to_lab(rgb)
    values = np.rint(lightness * (255 / 100)).clip(0, 255).astype(np.uint8)
    return to_rgb((spread(values, clip, tiles) * np.float32(100 / 255), a, b))


def spread(values: NDArray[np.uint8], clip: float, tiles: int) -> NDArray[np.float32]:
    """Map each value by the curves of the four tiles around it, weighted by nearness."""
    height, width = values.shape
    high, wide = -(-height // tiles), -(-width // tiles)
    padding = ((0, tiles * high - height), (0, tiles * wide - width))
    curves = _curves(np.pad(values, padding, mode="symmetric"), clip, tiles)
    above, below, down = _neighbours(height, high, tiles)
    left, right, across = _neighbours(width, wide, tiles)
    top = _between(curves, values, above[:, None], left, right, across)
    bottom = _between(curves, values, below[:, None], left, right, across)
    mapped: NDArray[np.float32] = top + (bottom - top) * down[:, None]
    return mapped


def _curves(values: NDArray[np.uint8], clip: float, tiles: int) -> NDArray[np.float32]:
    """What each tile would map each value to: its cumulated histogram, once clipped."""
    high, wide = values.shape[0] // tiles, values.shape[1] // tiles
    tile = np.arange(tiles * tiles).reshape(tiles, 1, tiles, 1) * _VALUES
    numbered = values.reshape(tiles, high, tiles, wide) + tile
    counts = np.bincount(numbered.ravel(), minlength=tiles * tiles * _VALUES)
    histograms = counts.reshape(tiles, tiles, _VALUES).astype(np.float32)
    limit = max(1.0, clip * high * wide / _VALUES)
    clipped = np.minimum(histograms, limit)
    excess = (histograms - clipped).sum(axis=-1, keepdims=True)
    cumulated = np.cumsum(clipped + excess / _VALUES, axis=-1)
    curves: NDArray[np.float32] = cumulated * np.float32(255 / (high * wide))
    return curves


def _neighbours(
    length: int, size: int, tiles: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each place: the tile whose middle is before it, the one after, and how far between."""
    place = (np.arange(length) + 0.5) / size - 0.5
    before = np.asarray(np.floor(place), dtype=np.intp)
    weight = np.asarray(place - before, dtype=np.float32)
    return before.clip(0, tiles - 1), (before + 1).clip(0, tiles - 1), weight


def _between(
    curves: NDArray[np.float32],
    values: NDArray[np.uint8],
    row: NDArray[np.intp],
    left: NDArray[np.intp],
    right: NDArray[np.intp],
    across: NDArray[np.float32],
) -> NDArray[np.float32]:
    first, second = curves[row, left, values], curves[row, right, values]
    mapped: NDArray[np.float32] = first + (second - first) * across
    return mapped
