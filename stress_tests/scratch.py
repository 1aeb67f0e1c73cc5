"""Files that a machine needs, in one folder of this process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")

# Made here, for what is made in an execution has to be gone when it ends.
FOLDER = Path(tempfile.mkdtemp(prefix="desvelo-", dir=_MEMORY if _MEMORY.is_dir() else None))
"""For database files, in memory where the system has that."""

atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


def database_file(content: bytes = b"") -> str:
    """Return a database file with this content; whatever was in the folder before is gone."""
    for left in FOLDER.iterdir():
        left.unlink()
    path = FOLDER / "vigia.db"
    path.write_bytes(content)
    return str(path)
