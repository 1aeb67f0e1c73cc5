"""Reading photos that anybody may have sent."""

import struct
import zlib
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Rgb: TypeAlias = NDArray[np.uint8]
"""Height, width, three colours."""

SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
"""What each suffix promises."""

MOST_PIXELS = 50_000_000
"""More than any camera of a ward makes; a small file can claim to be larger."""

LONGEST_SIDE = 1280
"""Larger photos are reduced to this, twice what is wanted in the end, so that memory is bounded."""

# What Pillow raises for a file that breaks off or lies about itself.
_BROKEN = (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error, zlib.error)


class UnusableImage(ValueError):
    """A file that is no photo for us; the message says why."""


def load(path: Path, *, most_pixels: int = MOST_PIXELS) -> Rgb:
    """Read a JPEG or PNG, turned as its EXIF says, and nothing but its colours.

    Raises `UnusableImage` for a name without a known suffix, for content that is something else,
    empty or cut off, and for more than *most_pixels* (before they are unpacked).
    """
    promised = SUFFIXES.get(path.suffix.lower())
    if promised is None:
        known = ", ".join(SUFFIXES)
        raise UnusableImage(f"{path.name}: the suffix {path.suffix!r} is not one of {known}")
    if path.stat().st_size == 0:
        raise UnusableImage(f"{path.name}: the file is empty")
    try:
        with Image.open(path, formats=["JPEG", "PNG"]) as image:
            _refuse(path, image, promised, most_pixels)
            return _colours(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusableImage(f"{path.name}: {_too_many(most_pixels)}") from error
    except UnidentifiedImageError as error:
        raise UnusableImage(f"{path.name}: neither a JPEG nor a PNG") from error
    except UnusableImage:
        raise
    except _BROKEN as error:
        raise UnusableImage(f"{path.name}: cut off or broken ({error})") from error


def _refuse(path: Path, image: Image.Image, promised: str, most_pixels: int) -> None:
    if image.format != promised:
        raise UnusableImage(f"{path.name}: holds a {image.format}, its suffix says {promised}")
    if image.width * image.height > most_pixels:
        raise UnusableImage(
            f"{path.name}: {image.width}x{image.height} pixels; {_too_many(most_pixels)}"
        )


def _too_many(most_pixels: int) -> str:
    return f"more than the {most_pixels:,} pixels that are unpacked"


def _colours(image: Image.Image) -> Rgb:
    image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
    if image.mode.startswith("I"):
        # Sixteen bits a pixel, which Pillow would cut at 255 and not scale.
        grey = (np.asarray(image, dtype=np.int64) >> 8).clip(0, 255).astype(np.uint8)
        turned = ImageOps.exif_transpose(Image.fromarray(grey))
    else:
        turned = ImageOps.exif_transpose(image)
    colours = turned.convert("RGB")
    # Does nothing to a photo that is smaller.
    colours.thumbnail((LONGEST_SIDE, LONGEST_SIDE), reducing_gap=2.0)
    return np.array(colours, dtype=np.uint8)
