"""asyncpg, for tasks."""

from collections.abc import Sequence
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from vigia_reference.clinical.attempts import Begin
from vigia_reference.clinical.drivers.postgresql_dialect import begin_statement
from vigia_reference.clinical.errors import StoreError, Unavailable, by_sqlstate
from vigia_reference.clinical.statements import Query, Rows, for_asyncpg


class AsyncpgConnection:
    """One session with a server."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def closed(self) -> bool:
        """Whether it was closed or broke."""
        return bool(self._connection.is_closed())

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was begun and not ended."""
        return not self.closed and bool(self._connection.is_in_transaction())

    async def begin(self, begin: Begin) -> None:
        """Begin a transaction."""
        await self._execute(begin_statement(begin))

    async def query(self, query: Query) -> Rows:
        """Run one statement and return its rows."""
        text, names = for_asyncpg(query.text)
        return await self._fetch(text, [query.parameters[name] for name in names])

    async def commit(self) -> None:
        """Commit the transaction."""
        await self._execute("COMMIT")

    async def rollback(self) -> None:
        """Roll back the transaction, if there is one."""
        if self.in_transaction:
            await self._execute("ROLLBACK")

    async def close(self) -> None:
        """Close the connection; what was not committed is lost."""
        await self._connection.close()

    async def _execute(self, text: str) -> None:
        try:
            await self._connection.execute(text)
        except _ERRORS as error:
            raise _translated(error) from error

    async def _fetch(self, text: str, values: Sequence[Any]) -> Rows:
        try:
            return [tuple(row) for row in await self._connection.fetch(text, *values)]
        except _ERRORS as error:
            raise _translated(error) from error


async def connect(dsn: str, **options: Any) -> AsyncpgConnection:
    """Connect to the server at *dsn*; *options* are asyncpg's own.  Raises `Unavailable`."""
    try:
        return AsyncpgConnection(await asyncpg.connect(dsn, **options))
    except _ERRORS as error:
        raise _translated(error) from error


_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


def _translated(error: Exception) -> StoreError:
    if isinstance(error, asyncpg.PostgresError):
        return by_sqlstate(error.sqlstate, error.args[0] if error.args else "")
    if isinstance(error, OSError | asyncpg.ConnectionDoesNotExistError):
        return Unavailable(str(error))
    return StoreError(str(error))
