"""Connections and pools of sqlite3, asyncpg and psycopg."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from desvelo.resources.attaching import CannotAttach, Hook, Library, StandIn, part, watch_class
from desvelo.resources.kinds import Kind, class_name
from desvelo.resources.recorder import Recorder

_FACTORY = 5
"""The place of ``factory`` among the positional parameters of ``sqlite3.connect``."""


def sqlite_is_open(connection: Any) -> bool:
    """Tell whether a connection can still be used."""
    try:
        connection.in_transaction  # noqa: B018 - raises once it is closed, on some versions
        return bool(connection.total_changes >= 0)
    except sqlite3.ProgrammingError:
        return False


_SQLITE = Kind(
    "connection",
    lambda connection: f"sqlite3.Connection to {connection.desvelo_place or ':memory:'}",
    sqlite_is_open,
)


class _WeaklyKnown(sqlite3.Connection):
    """`sqlite3.Connection` with room for a weak reference, which the original has not."""

    __slots__ = ("__weakref__", "desvelo_place")
    recorder: Recorder | None = None
    desvelo_place: str
    """The path of its file, or nothing."""

    def __del__(self) -> None:
        recorder = type(self).recorder
        if recorder is not None and recorder.active and recorder.listening():
            recorder.dropped(self)
        # Since 3.12 the original closes its file here.
        finalize = getattr(super(), "__del__", None)
        if finalize is not None:
            finalize()


_WeaklyKnown.__name__ = _WeaklyKnown.__qualname__ = "Connection"
_WeaklyKnown.__module__ = "sqlite3"


def _place(database: Any) -> str:
    try:
        path = os.fsdecode(database)
    except TypeError:
        return ""
    if path.startswith("file:"):
        path = path[5:].partition("?")[0]
    return os.path.realpath(path) if path and path != ":memory:" else ""


def _sqlite_hooks(recorder: Recorder, module: Any) -> list[Hook]:
    _WeaklyKnown.recorder = recorder

    def make(original: Any) -> Any:
        if original is None:
            raise CannotAttach("it has no connect")

        def connect(*args: Any, **options: Any) -> Any:
            if not (recorder.active and recorder.listening()):
                return original(*args, **options)
            if len(args) <= _FACTORY and "factory" not in options:
                options["factory"] = _WeaklyKnown
            connection = original(*args, **options)
            if type(connection) is _WeaklyKnown:
                connection.desvelo_place = _place(args[0] if args else options.get("database"))
                recorder.made(connection, _SQLITE, 3, finalized=True)
            return connection

        return StandIn(original, connect)

    return [Hook(module, "connect", make)]


_ASYNCPG = Kind("connection", class_name, lambda connection: not connection.is_closed())
_ASYNCPG_POOL = Kind(
    "pool",
    class_name,
    lambda pool: pool._initialized and not pool._closed,  # noqa: SLF001 - nothing public says it
)
_PSYCOPG = Kind("connection", class_name, lambda connection: not connection.closed)
_PSYCOPG_POOL = Kind("pool", class_name, lambda pool: not pool.closed)


def _asyncpg_hooks(recorder: Recorder, module: Any) -> list[Hook]:
    return watch_class(recorder, part(module, "Connection"), _ASYNCPG)


def _asyncpg_pool_hooks(recorder: Recorder, module: Any) -> list[Hook]:
    return watch_class(recorder, part(module, "Pool"), _ASYNCPG_POOL)


def _psycopg_hooks(recorder: Recorder, module: Any) -> list[Hook]:
    return watch_class(recorder, part(module, "BaseConnection"), _PSYCOPG)


def _psycopg_pool_hooks(recorder: Recorder, module: Any) -> list[Hook]:
    return watch_class(recorder, part(module, "BasePool"), _PSYCOPG_POOL)


LIBRARIES = [
    Library("sqlite3", _sqlite_hooks),
    Library("sqlite3.dbapi2", _sqlite_hooks),
    Library("asyncpg.connection", _asyncpg_hooks),
    Library("asyncpg.pool", _asyncpg_pool_hooks),
    Library("psycopg._connection_base", _psycopg_hooks),
    Library("psycopg_pool.base", _psycopg_pool_hooks),
]
