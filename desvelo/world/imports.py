"""Imports that happen inside the world: a library is made ready before its importer goes on.

Modules are looked at whenever the loop polls, which is too late for a function that imports a
database driver and connects at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

WATCHED = frozenset(
    {
        "aiohttp",
        "aiosqlite",
        "asyncpg",
        "httpx",
        "psycopg",
        "psycopg_pool",
        "redis",
        "sqlalchemy",
    }
)
"""Packages of which some part is replaced, numbered or watched, or that import one of these."""


class _ThenNotice(Loader):
    """A loader that tells when the module has been executed."""

    def __init__(self, loader: Loader, notice: Callable[[], None]) -> None:
        self._loader = loader
        self._notice = notice

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # What looks for resources or sources later asks the module's real loader.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._notice()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


class ImportWatch(MetaPathFinder):
    """Finds nothing by itself; puts `notice` behind the loading of the watched packages."""

    def __init__(self, notice: Callable[[], None]) -> None:
        self._notice = notice

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the package's own spec with a loader that tells when it is done."""
        if fullname not in WATCHED:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        spec.loader = _ThenNotice(spec.loader, self._notice)
        return spec

    def start(self) -> None:
        """Begin to watch."""
        sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Watch no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
