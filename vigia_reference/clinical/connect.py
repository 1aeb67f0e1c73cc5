"""Stores by the name of their driver; a driver is imported when a store of its own is made."""

from functools import partial
from typing import Any

from vigia_reference.clinical.maintenance import Database
from vigia_reference.clinical.parts import ClinicalParts
from vigia_reference.clinical.stores import AsyncClinicalStore, ClinicalStore
from vigia_reference.clinical.transaction import Isolation

SYNC_BACKENDS = ("sqlite", "psycopg")
ASYNC_BACKENDS = ("aiosqlite", "asyncpg")
BACKENDS = SYNC_BACKENDS + ASYNC_BACKENDS

_DATABASES = {
    "sqlite": Database.SQLITE,
    "aiosqlite": Database.SQLITE,
    "psycopg": Database.POSTGRESQL,
    "asyncpg": Database.POSTGRESQL,
}


def isolation_levels(backend: str) -> tuple[Isolation, ...]:
    """The isolation levels that *backend* has, the default first.

    >>> isolation_levels("sqlite")
    (<Isolation.SERIALIZABLE: 'serializable'>,)
    """
    if database_of(backend) is Database.SQLITE:
        return (Isolation.SERIALIZABLE,)
    return tuple(Isolation)


def database_of(backend: str) -> Database:
    """The database that *backend* talks to; raises `ValueError` for a name that is none."""
    if backend not in _DATABASES:
        raise ValueError(f"There is no backend {backend!r}; there are {', '.join(BACKENDS)}")
    return _DATABASES[backend]


def sync_store(
    backend: str,
    where: str,
    *,
    isolation: str | None = None,
    parts: ClinicalParts | None = None,
    size: int = 8,
    **options: Any,
) -> ClinicalStore:
    """A store for threads, not connected yet: *backend* is ``sqlite`` or ``psycopg``.

    *where* is a path or a DSN, *size* how many connections there are at most, and *options* are
    those of the driver's `connect`: ``journal`` for SQLite, psycopg's own for PostgreSQL.
    """
    parts = parts or ClinicalParts()
    if backend == "sqlite":
        from vigia_reference.clinical.drivers import sqlite as driver
    elif backend == "psycopg":
        from vigia_reference.clinical.drivers import psycopg as driver  # type: ignore[no-redef]
    else:
        raise ValueError(f"{backend!r} is not among {', '.join(SYNC_BACKENDS)}")
    return ClinicalStore(
        parts.pool(partial(driver.connect, where, **options), size),
        parts.operations(database_of(backend)),
        parts.attempts(_isolation(backend, isolation)),
    )


def async_store(
    backend: str,
    where: str,
    *,
    isolation: str | None = None,
    parts: ClinicalParts | None = None,
    size: int = 8,
    **options: Any,
) -> AsyncClinicalStore:
    """A store for tasks, not connected yet: *backend* is ``aiosqlite`` or ``asyncpg``.

    The rest is as for `sync_store`.
    """
    parts = parts or ClinicalParts()
    if backend == "aiosqlite":
        from vigia_reference.clinical.drivers import aiosqlite as driver
    elif backend == "asyncpg":
        from vigia_reference.clinical.drivers import asyncpg as driver  # type: ignore[no-redef]
    else:
        raise ValueError(f"{backend!r} is not among {', '.join(ASYNC_BACKENDS)}")
    return AsyncClinicalStore(
        parts.async_pool(partial(driver.connect, where, **options), size),
        parts.operations(database_of(backend)),
        parts.attempts(_isolation(backend, isolation)),
    )


def _isolation(backend: str, name: str | None) -> Isolation:
    levels = isolation_levels(backend)
    level = levels[0] if name is None else Isolation(name)
    if level not in levels:
        raise ValueError(f"{backend} is always {levels[0]}, never {level}")
    return level
