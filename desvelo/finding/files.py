"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from desvelo.errors import UsageError


def check_folder(folder: Path, what: str = "findings") -> None:
    """Raise `UsageError` when files could not be written into a folder; it need not exist yet.

    A folder that ``.json`` ends is the name of a file, as in `Finding.save`. Nothing is left
    behind: who looks before a search may find nothing.
    """
    if folder.suffix == ".json":
        folder = folder.parent
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    made: list[Path] = []
    try:
        for place in reversed(missing):
            place.mkdir()
            made.append(place)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
        os.close(descriptor)
        Path(temporary).unlink()
    except OSError as error:
        raise UsageError(
            f"{what} cannot be saved in {folder}: {error.strerror}; name a folder that can be "
            "written"
        ) from error
    finally:
        for place in reversed(made):
            # Another process may have put something there meanwhile.
            with contextlib.suppress(OSError):
                place.rmdir()


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
