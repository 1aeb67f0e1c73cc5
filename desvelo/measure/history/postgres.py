"""Rows of a history in a PostgreSQL database, for teams whose runs come from many machines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Self

from desvelo.errors import UsageError
from desvelo.measure.history.rows import FORMAT, TABLES, refuse_other_formats
from desvelo.servers.lookup import is_loopback

_LOCK = 0x0DE57E10
"""Number of the advisory lock under which the tables are made by one process at a time."""


class PostgresRows:
    """A history in the schema ``desvelo`` of a database."""

    def __init__(self, connection: Any, name: str, errors: tuple[type[Exception], ...]) -> None:
        self._connection = connection
        self.name = name
        self.errors = errors

    @classmethod
    def connect(cls, dsn: str, allow_host: str | None = None) -> Self:
        """Connect by DSN; raises `UsageError` when that fails or leads off this machine."""
        try:
            import psycopg
            from psycopg.conninfo import conninfo_to_dict
        except ImportError as error:
            raise UsageError(
                "a history in PostgreSQL needs psycopg: pip install 'desvelo[postgres]'"
            ) from error
        try:
            parts = conninfo_to_dict(dsn)
            host = str(parts.get("host") or "localhost")
            if not is_loopback(host) and host != allow_host:
                raise UsageError(
                    f"the history is on {host}, which is not this machine; "
                    f"say --allow-host {host} when that is meant"
                )
            connection = psycopg.connect(dsn, autocommit=True, connect_timeout=10)
        except psycopg.Error as error:
            raise UsageError(f"the history cannot be reached: {str(error).strip()}") from error
        # The password stays out of messages.
        rows = cls(connection, f"{parts.get('dbname', '')} on {host}", (psycopg.Error,))
        try:
            rows._prepare()
        except BaseException:
            connection.close()
            raise
        return rows

    def _prepare(self) -> None:
        try:
            with self.transaction():
                self.run(f"SELECT pg_advisory_xact_lock({_LOCK})")
                self.run("CREATE SCHEMA IF NOT EXISTS desvelo")
                # Named for the whole session, and for what comes after this transaction.
                self.run("SET search_path TO desvelo")
                made = self.run("SELECT to_regclass('desvelo.format')")[0][0]
                if made is None:
                    for statement in (*TABLES, "CREATE TABLE format (version INTEGER NOT NULL)"):
                        self.run(statement)
                    self.run("INSERT INTO format VALUES (?)", FORMAT)
                (version,) = self.run("SELECT version FROM format")[0]
        except self.errors as error:
            raise UsageError(
                f"the history {self.name} cannot be read: {str(error).strip()}"
            ) from error
        refuse_other_formats(self.name, version)

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        cursor = self._connection.execute(statement.replace("?", "%s"), values or None)
        return cursor.fetchall() if cursor.description is not None else []

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all statements of the block one."""
        with self._connection.transaction():
            yield

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()
