"""All steps in order."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vigia_reference.images.contrast import equalize
from vigia_reference.images.loading import MOST_PIXELS, Rgb, load

Tensor: TypeAlias = NDArray[np.float32]
"""Height, width, three colours, each 0 to 1."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How photos are prepared.  Calling it with a path does it, and takes as long as it takes.

    *blur_faces* is given the colours and returns them with faces made unrecognizable; nothing is
    blurred without it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "photo.png"
    ...     Image.new("RGB", (30, 20), "white").save(path)
    ...     tensor = Preprocessing()(path)
    >>> tensor.shape, tensor.dtype, round(float(tensor.max()), 2)
    ((640, 640, 3), dtype('float32'), 1.0)
    """

    side: int = 640
    clip: float = 3.0
    tiles: int = 8
    most_pixels: int = MOST_PIXELS
    blur_faces: Callable[[Rgb], Rgb] | None = None

    def __post_init__(self) -> None:
        if self.side < 1 or self.tiles < 1 or self.clip <= 0:
            raise ValueError(
                f"side and tiles must be at least 1 and clip above 0, not {self.side}, "
                f"{self.tiles} and {self.clip}"
            )

    def __call__(self, path: Path) -> Tensor:
        """Prepare one photo.  Raises `UnusableImage`, or what *blur_faces* raises."""
        colours = load(path, most_pixels=self.most_pixels)
        if self.blur_faces is not None:
            blurred = self.blur_faces(colours)
            if blurred.shape != colours.shape or blurred.dtype != colours.dtype:
                raise ValueError(
                    f"blur_faces returned {blurred.dtype} {blurred.shape}, "
                    f"not {colours.dtype} {colours.shape}"
                )
            colours = blurred
        even = equalize(colours, clip=self.clip, tiles=self.tiles)
        fitted = Image.fromarray(even).resize(
            (self.side, self.side), Image.Resampling.BILINEAR, reducing_gap=2.0
        )
        return np.asarray(fitted, dtype=np.float32) / np.float32(255)
