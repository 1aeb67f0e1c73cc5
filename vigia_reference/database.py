"""One SQLite connection, used from one worker, one transaction per call."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from vigia_reference.outlast import outlast
from vigia_reference.schema import SCHEMA, empty_database, install

P = ParamSpec("P")
T = TypeVar("T")

IN_MEMORY = ":memory:"


class DatabaseClosed(RuntimeError):
    """The database was used before `open` or after `close`."""


class Database:
    """Runs functions as transactions, off the event loop.

    *path* is a file or ``":memory:"``.

    >>> async def example():
    ...     database = Database()
    ...     await database.open()
    ...     try:
    ...         return await database.run(
    ...             lambda connection: connection.execute("SELECT 1 + 1").fetchone()[0]
    ...         )
    ...     finally:
    ...         await database.close()
    >>> asyncio.run(example())
    2
    """

    schema = SCHEMA

    def __init__(self, path: str = IN_MEMORY) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._executor: ThreadPoolExecutor | None = None
        # Transactions not finished yet, in the order in which they were asked for.
        self._jobs: dict[asyncio.Future[Any], None] = {}

    async def open(self) -> None:
        """Open the connection and create missing tables.  Raises `sqlite3.Error`."""
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")
        try:
            await self._finish(self._submit(self._connect))
        except BaseException:
            await self.close()
            raise

    async def run(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run ``work(connection, ...)`` as one transaction and return what it returns.

        It is committed when *work* returns and rolled back when it raises.  A transaction that was
        asked for is always brought to its end: whoever is cancelled while waiting learns of it
        only after the commit or rollback, so nobody has to guess what a cancelled write did.

        Raises what *work* raises, `sqlite3.Error`, or `DatabaseClosed`.
        """
        connection = self._connection
        if connection is None:
            raise DatabaseClosed("The database is not open")

        def transaction() -> T:
            return self._transact(connection, partial(work, connection, *args, **kwargs))

        return await self._finish(self._submit(transaction))

    async def close(self) -> None:
        """Let the transactions in progress end, then close.  Closing twice is fine."""
        connection, self._connection = self._connection, None
        executor = self._executor
        if executor is None:
            return
        try:
            try:
                await outlast(*self._jobs)
            finally:
                if connection is not None:
                    await self._finish(self._submit(connection.close))
        finally:
            self._executor = None
            executor.shutdown(wait=False)

    @staticmethod
    def _transact(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _connect(self) -> None:
        # The worker may be another thread from one call to the next (or no thread at all, under a
        # loop that runs executor calls itself); one call at a time is what keeps it safe.
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._connection = connection
        if self._path == IN_MEMORY:
            connection.deserialize(empty_database(self.schema))
        else:
            install(connection, self.schema)
        connection.execute("PRAGMA foreign_keys = ON")

    def _submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        future = asyncio.get_running_loop().run_in_executor(self._executor, job)
        self._jobs[future] = None
        future.add_done_callback(self._ended)
        return future

    def _ended(self, job: asyncio.Future[Any]) -> None:
        self._jobs.pop(job, None)
        # A caller who was cancelled does not look at the error, and it is nobody else's.
        if not job.cancelled():
            job.exception()

    async def _finish(self, job: asyncio.Future[T]) -> T:
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            await outlast(job)
            raise
