"""Rows of a history in a file of SQLite."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, Self

from desvelo.errors import UsageError

FORMAT = 1
"""Raised when an older version could no longer read the file."""

TABLES = (
    """
    CREATE TABLE runs (
        id TEXT PRIMARY KEY,
        started TEXT NOT NULL,
        target TEXT NOT NULL,
        profile TEXT NOT NULL,
        machine TEXT NOT NULL,
        status TEXT NOT NULL,
        revision TEXT NOT NULL,
        document TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE metrics (
        run_id TEXT NOT NULL REFERENCES runs,
        phase TEXT NOT NULL,
        status TEXT NOT NULL,
        name TEXT NOT NULL,
        unit TEXT NOT NULL,
        better TEXT NOT NULL,
        value DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (run_id, phase, name)
    )
    """,
    "CREATE INDEX runs_started ON runs (target, profile, started)",
)

_BUSY_SECONDS = 30.0
"""How long a run waits for another one that is just being written."""


class Rows(Protocol):
    """What a history needs of a database; placeholders are question marks."""

    name: str
    errors: tuple[type[Exception], ...]
    """What the database raises."""

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        ...

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Make all statements of the block one."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class SqliteRows:
    """A history in one file."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self.errors: tuple[type[Exception], ...] = (sqlite3.Error,)
        self._connection = connection
        self.name = name

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a file, or make it; raises `UsageError` for one that is no history."""
        in_memory = str(path) == ":memory:"
        try:
            if not in_memory:
                path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise UsageError(f"the history {path} cannot be opened: {error}") from error
        rows = cls(connection, str(path))
        try:
            rows._prepare()
        except BaseException:
            connection.close()
            raise
        return rows

    def _prepare(self) -> None:
        try:
            with self.transaction():
                (version,) = self.run("PRAGMA user_version")[0]
                tables = {name for (name,) in self.run("SELECT name FROM sqlite_master")}
                if version == 0 and not tables:
                    for statement in (*TABLES, f"PRAGMA user_version = {FORMAT}"):
                        self.run(statement)
                    return
        except sqlite3.Error as error:
            raise UsageError(
                f"the history {self.name} cannot be read: {error}; "
                "move it away, or name another with --history"
            ) from error
        refuse_other_formats(self.name, version if "runs" in tables else 0)

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        return self._connection.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all statements of the block one."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk has ended the transaction already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def refuse_other_formats(name: str, version: int) -> None:
    """Raise `UsageError` for what this version did not write, and must not write into."""
    if version == FORMAT:
        return
    if version > FORMAT:
        raise UsageError(
            f"the history {name} has format {version}, and this version of desvelo knows formats "
            f"up to {FORMAT}: update desvelo, or name another history with --history"
        )
    raise UsageError(
        f"{name} is a database, but no history of runs; name another file with --history"
    )
