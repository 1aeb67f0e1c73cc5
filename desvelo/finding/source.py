"""Has the code changed since a finding was made? Hashes of the sources answer, file by file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from desvelo.world.whereabouts import is_foreign, is_installed

MOST_MODULES = 200


def source_hash(*files: str | None) -> str:
    """Return a short hash of the contents of the given files; missing ones count as empty."""
    digest = sha256()
    for name in files:
        if name:
            path = Path(name)
            digest.update(path.read_bytes() if path.is_file() else b"")
            digest.update(b"\0")
    return digest.hexdigest()[:16]


def own_sources() -> dict[str, str]:
    """Return the hash of each loaded module of the user's own, by the module's name."""
    found: dict[str, str] = {}
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith(".py") or name == "__main__":
            continue
        if is_foreign(file) or is_installed(file) or len(found) >= MOST_MODULES:
            continue
        found[name] = source_hash(file)
    return found


def changed_modules(recorded: Mapping[str, str]) -> list[str]:
    """Return the modules whose source differs from what was recorded; unloaded ones are not."""
    now = own_sources()
    return [name for name, digest in recorded.items() if now.get(name, digest) != digest]
