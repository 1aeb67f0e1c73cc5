"""Each webhook is processed once, however often it is delivered.

Two things together make it so.  In this process the first delivery of a `webhook_id` reserves it,
and others of the same id that arrive meanwhile wait for its answer.  In the database the answer
is written in the transaction that has the effect, so there is never the one without the other,
whatever is cancelled, lost or restarted.
"""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from vigia_reference.database import Database

T = TypeVar("T")


class AlreadyAnswered(Exception):
    """The webhook was processed before; `answer` is what was answered then."""

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.answer = answer


class Idempotency:
    """Reserves webhooks and remembers their answers.  A key of `None` is never remembered.

    An answer is kept for at least *keep_for* seconds, or for ever.  How old one is nobody reads off
    the wall: clocks are set, and an answer that is forgotten too early is an event stored twice.
    The monotonic clock of this process says it, and counts what an earlier process left as new.

    >>> async def example():
    ...     database = Database()
    ...     await database.open()
    ...     ledger = Idempotency(database)
    ...     effects = []
    ...
    ...     async def attempt():
    ...         return await ledger.commit("id-1", lambda _: effects.append(1) or "ok", str)
    ...
    ...     answers = [await ledger.once("id-1", attempt) for _ in range(2)]
    ...     await database.close()
    ...     return answers, len(effects)
    >>> asyncio.run(example())
    (['ok', 'ok'], 1)
    """

    def __init__(self, database: Database, keep_for: float | None = None) -> None:
        self._database = database
        self._keep_for = keep_for
        # When which row was the newest; both grow, and the last of these rows is still there.
        self._newest: deque[tuple[float, int]] = deque()
        # Attempts in progress whose webhook has an id, and all of them.
        self._reserved: dict[str, asyncio.Task[str]] = {}
        self._attempts: dict[asyncio.Task[str], None] = {}

    async def once(self, key: str | None, attempt: Callable[[], Awaitable[str]]) -> str:
        """Run *attempt* unless *key* has an answer or is being worked on; return the answer.

        Cancelling the caller does not cancel the attempt: its sender may have gone, but what it
        sent has been received.  An attempt that fails raises in all who wait for it, and leaves
        the key free.
        """
        task = None if key is None else self._reserved.get(key)
        if task is None:
            task = self._launch(key, attempt)
        return await self._answer_of(task)

    async def commit(
        self,
        key: str | None,
        write: Callable[[sqlite3.Connection], T],
        answer: Callable[[T], str],
    ) -> T:
        """Run *write* and remember ``answer(result)`` for *key*, in one transaction.

        Raises `AlreadyAnswered`, having written nothing, when *key* has an answer.
        """

        def transaction(connection: sqlite3.Connection) -> T:
            self._refuse_answered(connection, key)
            return self._write(connection, key, write, answer)

        return await self._database.run(transaction)

    async def check(self, key: str | None) -> None:
        """Raise `AlreadyAnswered` when *key* has an answer."""
        if key is not None:
            await self._database.run(self._refuse_answered, key)

    async def amend(self, key: str | None, answer: str) -> None:
        """Replace the answer that this attempt's `commit` remembered for *key*."""
        if key is not None:
            await self._database.run(self._remember, key, answer)

    async def drain(self, timeout: float) -> None:
        """Wait for the attempts in progress, and cancel those that take longer than *timeout*."""
        if self._attempts:
            _, late = await asyncio.wait(list(self._attempts), timeout=timeout)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def _launch(self, key: str | None, attempt: Callable[[], Awaitable[str]]) -> asyncio.Task[str]:
        task = asyncio.get_running_loop().create_task(self._run(attempt), name=f"webhook {key}")
        self._attempts[task] = None
        if key is not None:
            self._reserved[key] = task

        def ended(task: asyncio.Task[str]) -> None:
            self._attempts.pop(task, None)
            if key is not None:
                self._reserved.pop(key, None)
            # Nobody may be left to look at the error; the server logs it for those who are.
            if not task.cancelled():
                task.exception()

        task.add_done_callback(ended)
        return task

    @staticmethod
    async def _run(attempt: Callable[[], Awaitable[str]]) -> str:
        try:
            return await attempt()
        except AlreadyAnswered as earlier:
            return earlier.answer

    async def _answer_of(self, task: asyncio.Task[str]) -> str:
        return await asyncio.shield(task)

    @staticmethod
    def _lookup(connection: sqlite3.Connection, key: str) -> str | None:
        row = connection.execute(
            "SELECT answer FROM idempotency_keys WHERE webhook_id = ?", (key,)
        ).fetchone()
        return None if row is None else str(row[0])

    def _refuse_answered(self, connection: sqlite3.Connection, key: str | None) -> None:
        if key is not None and (earlier := self._lookup(connection, key)) is not None:
            raise AlreadyAnswered(earlier)

    def _write(
        self,
        connection: sqlite3.Connection,
        key: str | None,
        write: Callable[[sqlite3.Connection], T],
        answer: Callable[[T], str],
    ) -> T:
        result = write(connection)
        self._remember(connection, key, answer(result))
        return result

    def _remember(self, connection: sqlite3.Connection, key: str | None, answer: str) -> None:
        if key is not None:
            if self._keep_for is not None:
                self._forget_old(connection, self._keep_for)
            connection.execute(
                "INSERT OR REPLACE INTO idempotency_keys (webhook_id, answer, created_at)"
                " VALUES (?, ?, ?)",
                (key, answer, datetime.now(UTC).isoformat()),
            )

    def _forget_old(self, connection: sqlite3.Connection, keep_for: float) -> None:
        now = time.monotonic()
        (row,) = connection.execute("SELECT max(rowid) FROM idempotency_keys").fetchone()
        if row is not None and (not self._newest or row > self._newest[-1][1]):
            self._newest.append((now, row))
        while self._newest and self._newest[0][0] + keep_for <= now:
            _, row = self._newest.popleft()
            connection.execute("DELETE FROM idempotency_keys WHERE rowid <= ?", (row,))
