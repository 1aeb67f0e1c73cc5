"""The standard library's SQLite, for threads."""

import sqlite3
import time

from vigia_reference.clinical.attempts import Begin
from vigia_reference.clinical.drivers.sqlite_dialect import (
    OPENING_ATTEMPTS,
    OPENING_PAUSE,
    Journal,
    SqliteState,
    begin_statement,
    parameters,
    postponed,
    rows_of,
    settings,
    translated,
)
from vigia_reference.clinical.errors import Conflict
from vigia_reference.clinical.statements import Query, Rows, for_sqlite


class SqliteConnection(SqliteState):
    """One connection to a database file."""

    _connection: sqlite3.Connection

    def begin(self, begin: Begin) -> None:
        """Begin a transaction."""
        self._execute(begin_statement(begin))

    def query(self, query: Query) -> Rows:
        """Run one statement and return its rows."""
        try:
            cursor = self._connection.execute(for_sqlite(query.text), parameters(query.parameters))
            return rows_of(cursor.fetchall())
        except sqlite3.Error as error:
            raise translated(error) from error

    def commit(self) -> None:
        """Commit the transaction."""
        try:
            self._execute("COMMIT")
        except Conflict as error:
            raise postponed(error, standing=self.in_transaction) from error

    def rollback(self) -> None:
        """Roll back the transaction, if there is one."""
        if self.in_transaction:
            self._execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection; what was not committed is lost."""
        self._closed = True
        self._connection.close()

    def _execute(self, statement: str) -> None:
        try:
            self._connection.execute(statement)
        except sqlite3.Error as error:
            raise translated(error) from error


def connect(path: str, journal: Journal = "wal") -> SqliteConnection:
    """Open the file at *path*; raises `Unavailable`, or `Conflict` when it stays busy."""
    for _ in range(OPENING_ATTEMPTS):
        try:
            return _open(path, journal)
        except Conflict:
            # Also the first look at a file needs a lock that someone else may hold.
            time.sleep(OPENING_PAUSE)
    return _open(path, journal)


def _open(path: str, journal: Journal) -> SqliteConnection:
    try:
        # The pool gives a connection to one thread at a time, but not always to the same.
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise translated(error) from error
    opened = SqliteConnection(connection)
    try:
        for statement in settings(journal):
            connection.execute(statement)
    except sqlite3.Error as error:
        opened.close()
        raise translated(error) from error
    return opened
