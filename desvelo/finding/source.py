"""Has the code changed since a finding was made? A hash of the source answers."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path


def source_hash(*files: str | None) -> str:
    """Return a short hash of the contents of the given files; missing ones count as empty."""
    digest = sha256()
    for name in files:
        if name:
            path = Path(name)
            digest.update(path.read_bytes() if path.is_file() else b"")
            digest.update(b"\0")
    return digest.hexdigest()[:16]
