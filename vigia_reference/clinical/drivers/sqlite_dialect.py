"""What the two drivers of SQLite have in common.

SQLite never waits for a lock here: its own waiting would be real time, asleep in C, so it answers
BUSY at once and the transaction is tried again.  Transactions that write say so when they begin;
one that only found out later could have read what is no longer true.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias

from vigia_reference.clinical.attempts import Begin
from vigia_reference.clinical.audit import moment
from vigia_reference.clinical.errors import (
    CheckViolation,
    CommitPostponed,
    Conflict,
    ConstraintViolation,
    ForeignKeyViolation,
    MissingValue,
    StoreError,
    Unavailable,
    UniqueViolation,
)
from vigia_reference.clinical.statements import Rows
from vigia_reference.clinical.transaction import Isolation

Journal: TypeAlias = Literal["wal", "delete"]

OPENING_ATTEMPTS = 500
OPENING_PAUSE = 0.01

_UNAVAILABLE = (
    "SQLITE_CANTOPEN",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_NOTADB",
    "SQLITE_READONLY",
)
_CONSTRAINTS: dict[str, type[ConstraintViolation]] = {
    "SQLITE_CONSTRAINT_UNIQUE": UniqueViolation,
    "SQLITE_CONSTRAINT_PRIMARYKEY": UniqueViolation,
    "SQLITE_CONSTRAINT_FOREIGNKEY": ForeignKeyViolation,
    "SQLITE_CONSTRAINT_CHECK": CheckViolation,
    "SQLITE_CONSTRAINT_NOTNULL": MissingValue,
}


class SqliteState:
    """What a connection of either driver knows of itself."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was begun and not ended."""
        return not self._closed and bool(self._connection.in_transaction)


def settings(journal: Journal) -> tuple[str, ...]:
    """The statements that a new connection begins with."""
    return (
        f"PRAGMA journal_mode = {journal}",
        "PRAGMA foreign_keys = ON",
        # A power cut may lose the last transactions; in what this is for there is none.
        "PRAGMA synchronous = OFF",
    )


def begin_statement(begin: Begin) -> str:
    """The statement that begins a transaction; raises `ValueError` for what SQLite has not."""
    if begin.isolation is not Isolation.SERIALIZABLE:
        raise ValueError(f"SQLite is always serializable, never {begin.isolation}")
    return "BEGIN IMMEDIATE" if begin.eager and not begin.read_only else "BEGIN"


def parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Write times and lists as text, which is what SQLite keeps them as."""
    return {name: _parameter(value) for name, value in values.items()}


def rows_of(rows: Iterable[Any]) -> Rows:
    """The rows as tuples."""
    return [tuple(row) for row in rows]


def translated(error: sqlite3.Error) -> StoreError:
    """The store's error for one of SQLite."""
    name = getattr(error, "sqlite_errorname", None) or ""
    message = str(error)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Conflict(message)
    if name.startswith("SQLITE_CONSTRAINT"):
        return _CONSTRAINTS.get(name, ConstraintViolation)(message)
    if name.startswith(_UNAVAILABLE):
        return Unavailable(message)
    return StoreError(message)


def postponed(error: Conflict, *, standing: bool) -> Conflict:
    """The error of a COMMIT that was answered with BUSY."""
    return CommitPostponed(str(error)) if standing else error


def _parameter(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, list):
        return json.dumps(value)
    return value
