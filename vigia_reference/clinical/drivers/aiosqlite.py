"""aiosqlite: SQLite for tasks, each connection in a thread of its own."""

import asyncio
import sqlite3

import aiosqlite

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


class AiosqliteConnection(SqliteState):
    """One connection to a database file."""

    _connection: aiosqlite.Connection

    async def begin(self, begin: Begin) -> None:
        """Begin a transaction."""
        await self._execute(begin_statement(begin))

    async def query(self, query: Query) -> Rows:
        """Run one statement and return its rows."""
        try:
            rows = await self._connection.execute_fetchall(
                for_sqlite(query.text), parameters(query.parameters)
            )
        except sqlite3.Error as error:
            raise translated(error) from error
        return rows_of(rows)

    async def commit(self) -> None:
        """Commit the transaction."""
        try:
            await self._execute("COMMIT")
        except Conflict as error:
            raise postponed(error, standing=self.in_transaction) from error

    async def rollback(self) -> None:
        """Roll back the transaction, if there is one."""
        if self.in_transaction:
            await self._execute("ROLLBACK")

    async def close(self) -> None:
        """Close the connection; what was not committed is lost."""
        self._closed = True
        await self._connection.close()

    async def _execute(self, statement: str) -> None:
        try:
            await self._connection.execute_fetchall(statement)
        except sqlite3.Error as error:
            raise translated(error) from error


async def connect(path: str, journal: Journal = "wal") -> AiosqliteConnection:
    """Open the file at *path*; raises `Unavailable`, or `Conflict` when it stays busy."""
    for _ in range(OPENING_ATTEMPTS):
        try:
            return await _open(path, journal)
        except Conflict:
            # Also the first look at a file needs a lock that someone else may hold.
            await asyncio.sleep(OPENING_PAUSE)
    return await _open(path, journal)


async def _open(path: str, journal: Journal) -> AiosqliteConnection:
    connection, failed = await _started(path)
    opened = AiosqliteConnection(connection)
    try:
        for error in failed:
            raise error
        for statement in settings(journal):
            await connection.execute_fetchall(statement)
    except BaseException as error:
        # A cancellation, too, must leave neither the file nor the thread behind.
        await opened.close()
        if isinstance(error, sqlite3.Error):
            raise translated(error) from error
        raise
    return opened


async def _started(path: str) -> tuple[aiosqlite.Connection, list[sqlite3.Error]]:
    """Start a connection's thread; also returns why the file at *path* could not be opened."""
    failed: list[sqlite3.Error] = []
    made: list[sqlite3.Connection] = []
    abandoned = False

    def connector() -> sqlite3.Connection:
        try:
            # aiosqlite keeps to its thread; only what is abandoned is closed from another.
            connection = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            failed.append(error)
            # After an error aiosqlite's thread ends some time later, perhaps after the loop;
            # a connection that was opened can be closed and waited for.
            connection = sqlite3.connect(":memory:", check_same_thread=False)
        made.append(connection)
        if abandoned:
            connection.close()
        return connection

    try:
        return await aiosqlite.Connection(connector, iter_chunk_size=64), failed
    except BaseException:
        # Cancelled: aiosqlite ends its thread, and forgets what that opens or has opened.
        abandoned = True
        for connection in made:
            connection.close()
        raise
