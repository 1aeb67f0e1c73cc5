"""SQLite in the world: real databases in real files, whose waiting and time are the world's.

SQLite itself decides who gets a lock, who waits and who is refused, by its own code; only what
it asks of its system is answered by the world. A statement that finds the database busy sleeps
in virtual time, as long and as often as it would for real, and others run meanwhile.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

_IS_THERE = importlib.util.find_spec("_sqlite3") is not None
"""A Python may have been built without SQLite."""


def replacements() -> dict[str, Any]:
    """Return what stands in for which function, by dotted name."""
    if not _IS_THERE:
        return {}
    from desvelo.world.sqlite import connections

    return connections.replacements()


def install() -> None:
    """Answer for SQLite's system from now on, and warn of connections that are there already."""
    if _IS_THERE:
        from desvelo.world.sqlite import connections, system

        system.install()
        connections.warn_of_earlier_ones()


def end_execution() -> None:
    """Let go of the locks that an execution has left behind; its connections stay."""
    forget_failures()
    if "desvelo.world.sqlite.sessions" in sys.modules:
        sys.modules["desvelo.world.sqlite.sessions"].end()


def fail_next_write(operation: str) -> None:
    """Let the next write to a database for an operation find the disk full."""
    if _IS_THERE:
        from desvelo.world.sqlite import disk

        disk.fail_next_write(operation)


def fail_next_sync(operation: str) -> None:
    """Let the next fsync of a database for an operation fail."""
    if _IS_THERE:
        from desvelo.world.sqlite import disk

        disk.fail_next_sync(operation)


def forget_failures(operation: str | None = None) -> None:
    """Let the disk fail no more for an operation, or for any."""
    if "desvelo.world.sqlite.disk" in sys.modules:
        sys.modules["desvelo.world.sqlite.disk"].forget_failures(operation)


def remove() -> None:
    """Let SQLite ask the real system again."""
    if _IS_THERE:
        from desvelo.world.sqlite import system

        system.remove()


__all__ = [
    "end_execution",
    "fail_next_sync",
    "fail_next_write",
    "forget_failures",
    "install",
    "remove",
    "replacements",
]
