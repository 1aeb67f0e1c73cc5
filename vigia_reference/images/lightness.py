"""sRGB to CIE L*a*b* and back, so that light can be changed and colour stays.

CIE 015:2018, "Colorimetry"; the white is D65.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vigia_reference.images.loading import Rgb

Floats: TypeAlias = NDArray[np.float32]
Lab: TypeAlias = tuple[Floats, Floats, Floats]

_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_TO_RGB = np.linalg.inv(np.array(_TO_XYZ)).tolist()
_WHITE = (0.95047, 1.0, 1.08883)
_BEND = 6 / 29
"""Below this the cube root gives way to a straight line."""

_steps = np.arange(256) / 255
_LINEAR = np.asarray(
    np.where(_steps <= 0.04045, _steps / 12.92, ((_steps + 0.055) / 1.055) ** 2.4), np.float32
)
"""The light of each sRGB value."""


def to_lab(rgb: Rgb) -> Lab:
    """Split into lightness, 0 to 100, and the two axes of colour."""
    linear = _LINEAR[rgb]
    x, y, z = (
        _bend(_single(_mixed(row, linear) / white))
        for row, white in zip(_TO_XYZ, _WHITE, strict=True)
    )
    return _single(116 * y - 16), _single(500 * (x - y)), _single(200 * (y - z))


def to_rgb(lab: Lab) -> Rgb:
    """Put together again; colours that sRGB does not have are cut off."""
    lightness, a, b = lab
    y = _single((lightness + 16) / 116)
    parts: tuple[Floats, ...] = (_single(y + a / 500), y, _single(y - b / 200))
    light = np.stack(
        [_unbend(part) * white for part, white in zip(parts, _WHITE, strict=True)], axis=-1
    )
    linear = np.stack([_mixed(row, _single(light)) for row in _TO_RGB], axis=-1).clip(0, 1)
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(encoded * 255), dtype=np.uint8)


def _mixed(row: Sequence[float], channels: Floats) -> Floats:
    # No matrix product: it would run in the threads of a linear algebra library.
    one, two, three = row
    return _single(one * channels[..., 0] + two * channels[..., 1] + three * channels[..., 2])


def _bend(light: Floats) -> Floats:
    line = light / (3 * _BEND**2) + 4 / 29
    return _single(np.where(light > _BEND**3, np.cbrt(light), line))


def _unbend(value: Floats) -> Floats:
    line = 3 * _BEND**2 * (value - 4 / 29)
    return _single(np.where(value > _BEND, value**3, line))


def _single(values: NDArray[Any]) -> Floats:
    return np.asarray(values, dtype=np.float32)
