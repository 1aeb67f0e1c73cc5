"""Where the machines of the clinical store run: on which database, by which driver, how isolated.

A machine is one body of operations, each of them one call of the store; a class of this module
beside it says who makes the calls, threads or tasks, and on what. PostgreSQL is found or started
on first use; where there is none, its machines are skipped with a line that says how to get one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

import pytest

from desvelo import ConcurrentMachine, current_target
from desvelo.servers import postgres
from desvelo.servers.testing import need_postgres
from stress_tests import budget
from stress_tests.outage import outages_of
from stress_tests.scratch import database_file

for driver in ("asyncpg", "psycopg", "aiosqlite"):
    pytest.importorskip(driver, reason=f"the clinical store needs: pip install {driver}")

CONNECTIONS = 2
"""Fewer than there are calls at once now and then: some have to wait for one."""

LONGEST = 4_000
"""Iterations of the loop after which a call is one that never ends."""


class Clinic(ConcurrentMachine):
    """Calls of one clinical store, and nothing else."""

    backend: ClassVar[str]
    isolation: ClassVar[str | None] = None
    longest_elapse = 0.0
    world_options: ClassVar[dict[str, Any]] = {"max_polls": LONGEST}

    target: Any
    store: Any

    def open_store(self) -> None:
        """Make a store on a database without rows; it connects when it is first used."""
        self.target = current_target()
        self.store = self.target.clinical_store(
            self.backend, self.place(), isolation=self.isolation, size=CONNECTIONS
        )

    def place(self) -> str:
        """Return where a database with the tables and no row is: a path or a DSN."""
        raise NotImplementedError

    def first_rows(self) -> Iterable[tuple[Any, ...]]:
        """Return the calls, each with its arguments, that store what is there from the start."""
        return ()

    def begin(self) -> None:
        """Make what the operations of this machine use besides the store."""

    def ask(self, tell: Callable[..., Any], *calls: Any) -> Any:
        """Call the store, and return what ``tell`` says of its answers.

        A call with arguments is given as a tuple.
        """
        raise NotImplementedError


class Threads(Clinic):
    """Each call is a thread.

    Its lines are no switch points: between two statements it shares nothing with others but the
    pool, whose lock is one.
    """

    runtime = "threads"

    world_options: ClassVar[dict[str, Any]] = {
        **Clinic.world_options,
        "switch_files": lambda file: False,
    }

    def setup(self) -> None:  # type: ignore[override]
        self.open_store()
        self.store.pool.open(CONNECTIONS)
        for call, *arguments in self.first_rows():
            call(*arguments)
        self.begin()

    def shutdown(self) -> None:  # type: ignore[override]
        self.store.close()

    def ask(self, tell: Callable[..., Any], *calls: Any) -> Any:
        with outages_of(self.target):
            return tell(*[call(*arguments) for call, *arguments in map(in_full, calls)])


class Tasks(Clinic):
    """Each call is a task of one event loop, and may be cancelled."""

    async def setup(self) -> None:
        self.open_store()
        await self.store.pool.open(CONNECTIONS)
        for call, *arguments in self.first_rows():
            await call(*arguments)
        self.begin()

    async def shutdown(self) -> None:
        await self.store.close()

    async def ask(self, tell: Callable[..., Any], *calls: Any) -> Any:
        with outages_of(self.target):
            return tell(*[await call(*arguments) for call, *arguments in map(in_full, calls)])


class Sqlite(Threads):
    """The standard library's SQLite, on a file with a write-ahead log."""

    backend = "sqlite"

    def place(self) -> str:
        return database_file(self.target.clinical_file())


class Aiosqlite(Tasks):
    """aiosqlite, which has a thread for each connection."""

    backend = "aiosqlite"

    def place(self) -> str:
        return database_file(self.target.clinical_file())


class OnPostgres(Clinic):
    """A real PostgreSQL."""

    def place(self) -> str:
        return postgres_database(self.target)


class Psycopg(OnPostgres, Threads):
    """psycopg with calls that block."""

    backend = "psycopg"
    world_options: ClassVar[dict[str, Any]] = {**Threads.world_options, "servers": [postgres]}


class Asyncpg(OnPostgres, Tasks):
    """asyncpg."""

    backend = "asyncpg"
    world_options: ClassVar[dict[str, Any]] = {**Tasks.world_options, "servers": [postgres]}


def in_full(call: Any) -> tuple[Any, ...]:
    """Return a call and its arguments as a tuple."""
    return call if isinstance(call, tuple) else (call,)


_migrated: set[str] = set()
"""Databases whose tables are not as they were made."""


def migrated(dsn: str) -> None:
    """Note that somebody changes the tables of this database: they must be made anew."""
    _migrated.add(dsn)


def postgres_database(target: Any) -> str:
    """Return a database with the target's tables and no row."""
    tables = target.clinical_tables("psycopg")
    database = database_for(tables)
    if database.dsn in _migrated:
        _migrated.discard(database.dsn)
        make_tables(database, tables)
    else:
        database.reset()
    return str(database.dsn)


@cache
def database_for(tables: tuple[str, ...]) -> Any:
    """Return a database of its own, in which nobody else's rows are in danger."""
    server = need_postgres()
    name = f"desvelo_{hashlib.sha256(chr(0).join(tables).encode()).hexdigest()[:12]}"
    if not server.run(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
        server.run(f"CREATE DATABASE {name}")
    database = postgres(urlunsplit(urlsplit(server.dsn)._replace(path=f"/{name}")))
    make_tables(database, tables)
    return database


def make_tables(database: Any, tables: tuple[str, ...]) -> None:
    """Make all schemas of a database anew."""
    schemas = [text.split()[-1] for text in tables if text.startswith("CREATE SCHEMA")]
    gone = [f"DROP SCHEMA IF EXISTS {schema} CASCADE" for schema in schemas]
    database.run("; ".join([*gone, *tables]))


def case_of(machine: type[ConcurrentMachine], share: float) -> Any:
    """Return the test case of a machine of the database, with a share of the usual examples."""
    case = budget.case_of(machine, share)
    if issubclass(machine, OnPostgres):
        case.setUpClass = classmethod(lambda _: need_postgres())
    return pytest.mark.stress(phase="database")(case)
