"""Photos as they arrive: fit for use, or broken in one of the ways that files are broken.

Needs Pillow, so it is not among what `strategies` itself offers.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image

_ORIENTATION = 0x0112
_LARGEST_SIDE = 40


@dataclass(frozen=True)
class Photo:
    """A file: its name, its bytes, and whether it can be used."""

    name: str
    content: bytes
    usable: bool

    def __repr__(self) -> str:
        return f"Photo({self.name!r}, {len(self.content)} bytes, usable={self.usable})"


def photos() -> SearchStrategy[Photo]:
    """A photo of any kind.

    >>> from strategies import minimal
    >>> minimal(photos(), lambda photo: photo.usable).name
    'plain.png'
    >>> minimal(photos(), lambda photo: not photo.usable)
    Photo('empty.png', 0 bytes, usable=False)
    """
    return st.one_of(usable_photos(), unusable_photos())


def usable_photos() -> SearchStrategy[Photo]:
    """PNG and JPEG in every mode that cameras and scanners make, turned by EXIF, tiny or oblong.

    >>> from strategies import minimal
    >>> minimal(usable_photos(), lambda photo: b"Exif" in photo.content).name
    'turned.jpg'
    """
    return st.builds(
        usable_photo,
        st.sampled_from(tuple(_USABLE)),
        st.integers(1, _LARGEST_SIDE),
        st.integers(1, _LARGEST_SIDE),
    )


def unusable_photos() -> SearchStrategy[Photo]:
    """Empty, cut off, no image at all, one of another kind than its name says, or far too large."""
    return st.sampled_from(tuple(_UNUSABLE)).map(unusable_photo)


@functools.cache
def usable_photo(name: str, width: int = 1, height: int = 1) -> Photo:
    """The photo of this name and size, the same every time."""
    return Photo(name, _USABLE[name](width, height), usable=True)


@functools.cache
def unusable_photo(name: str) -> Photo:
    """The broken photo of this name, the same every time."""
    return Photo(name, _UNUSABLE[name](), usable=False)


def _picture(mode: str, width: int, height: int) -> Image.Image:
    ramp = bytes((7 * place) % 256 for place in range(3 * width * height))
    picture = Image.frombytes("RGB", (width, height), ramp)
    return picture if mode == "RGB" else picture.convert(mode)


def _png(mode: str, width: int, height: int) -> bytes:
    return _saved(_picture(mode, width, height), "PNG")


def _png_of_16_bits(width: int, height: int) -> bytes:
    ramp = struct.pack(f"<{width * height}H", *((257 * n) % 65536 for n in range(width * height)))
    return _saved(Image.frombytes("I;16", (width, height), ramp), "PNG")


def _jpeg(mode: str, width: int, height: int) -> bytes:
    return _saved(_picture(mode, width, height), "JPEG")


def _turned(width: int, height: int) -> bytes:
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    return _saved(_picture("RGB", width, height), "JPEG", exif=exif)


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _bomb() -> bytes:
    """A PNG of a few bytes that says it is 60,000 pixels wide and high."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(*part)
        for part in (
            (b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(b"")),
            (b"IEND", b""),
        )
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


_USABLE: dict[str, Callable[[int, int], bytes]] = {
    "plain.png": functools.partial(_png, "RGB"),
    "plain.jpg": functools.partial(_jpeg, "RGB"),
    "turned.jpg": _turned,
    "CAPITALS.JPEG": functools.partial(_jpeg, "RGB"),
    "grey.jpg": functools.partial(_jpeg, "L"),
    "print.jpg": functools.partial(_jpeg, "CMYK"),
    "palette.png": functools.partial(_png, "P"),
    "alpha.png": functools.partial(_png, "RGBA"),
    "scan.png": functools.partial(_png, "1"),
    "deep.png": _png_of_16_bits,
}

_UNUSABLE: dict[str, Callable[[], bytes]] = {
    "empty.png": lambda: b"",
    "text.jpg": lambda: b"<html>not found</html>",
    "really-a-png.jpg": lambda: _png("RGB", 1, 1),
    "really-a-jpeg.png": lambda: _jpeg("RGB", 1, 1),
    "moving.gif": lambda: _saved(_picture("P", 1, 1), "GIF"),
    "cut-off.jpg": lambda: _half(_jpeg("RGB", 40, 40)),
    "cut-off.png": lambda: _half(_png("RGB", 40, 40)),
    "huge.png": _bomb,
}
