"""Stores of every kind, asked in one way; those on PostgreSQL need a server."""

import asyncio
import functools
import hashlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import pytest_asyncio

from desvelo.servers.testing import need_postgres
from vigia_reference import Database, PatientStore
from vigia_reference.clinical import (
    BACKENDS,
    SYNC_BACKENDS,
    ClinicalParts,
    async_store,
    sync_store,
)
from vigia_reference.clinical.connect import database_of
from vigia_reference.clinical.maintenance import Database as DatabaseName


class Asked:
    """A store of either kind: every call is awaited, and blocking ones wait in a thread."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.store, name)
        if inspect.iscoroutinefunction(method):
            return method
        return partial(asyncio.to_thread, method)


@functools.cache
def database(tables: str) -> str:
    """A database of this process's server for these tables, as a DSN."""
    server = need_postgres()
    name = f"clinical_{hashlib.sha256(tables.encode()).hexdigest()[:12]}"
    server.run(f"DROP DATABASE IF EXISTS {name}")
    server.run(f"CREATE DATABASE {name}")
    return urlunsplit(urlsplit(server.dsn)._replace(path=f"/{name}"))


def place(backend: str, folder: Path, parts: ClinicalParts | None = None) -> str:
    """Where a store of this backend keeps its rows; the tables are there, and empty."""
    parts = parts or ClinicalParts()
    if database_of(backend) is DatabaseName.SQLITE:
        where, kind = str(folder / "vigia.db"), "sqlite"
    else:
        where, kind = database(parts.operations.tables), "psycopg"
    maker = sync_store(kind, where, parts=parts)
    maker.install()
    maker.clear()
    maker.close()
    return where


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=SYNC_BACKENDS)
def sync_backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest_asyncio.fixture
async def store(backend: str, tmp_path: Path) -> AsyncIterator[Asked]:
    """The clinical store, through each driver."""
    where = await asyncio.to_thread(place, backend, tmp_path)
    make = sync_store if backend in SYNC_BACKENDS else async_store
    asked = Asked(make(backend, where))
    yield asked
    await asked.close()


@pytest_asyncio.fixture(params=["webhook", *BACKENDS])
async def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Asked]:
    """The clinical store through each driver, and the one behind the webhook."""
    if request.param == "webhook":
        opened = Database()
        await opened.open()
        yield Asked(PatientStore(opened))
        await opened.close()
        return
    where = await asyncio.to_thread(place, request.param, tmp_path)
    make = sync_store if request.param in SYNC_BACKENDS else async_store
    asked = Asked(make(request.param, where))
    yield asked
    await asked.close()


@pytest.fixture
def blocking(sync_backend: str, tmp_path: Path) -> Iterator[Any]:
    """The clinical store for threads, through each driver that blocks."""
    opened = sync_store(sync_backend, place(sync_backend, tmp_path))
    yield opened
    opened.close()
