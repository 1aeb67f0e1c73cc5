"""Writing files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(place: Path, text: str, *, replace: bool = True) -> None:
    """Write a text so that nobody ever sees half of it, whatever happens meanwhile.

    With ``replace=False`` a file that is already there is left alone: `FileExistsError`.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=place.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # A temporary file is for its owner only; this one is meant for everybody.
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        if replace:
            Path(temporary).replace(place)
        else:
            os.link(temporary, place)
    finally:
        Path(temporary).unlink(missing_ok=True)
