"""Defects on the way of an event through the server."""

# ruff: noqa: D102 - what a method is for is told where it is correct

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from vigia_reference.defects.catalogue import Defect
from vigia_reference.idempotency import Idempotency
from vigia_reference.rate_limit import RateLimiter

T = TypeVar("T")


class KeyCheckedNotReserved(Idempotency):
    """Looks whether the webhook was processed, and processes it if not: two steps."""

    async def once(self, key: str | None, attempt: Callable[[], Awaitable[str]]) -> str:
        return await self._answer_of(self._launch(None, attempt))

    async def commit(
        self,
        key: str | None,
        write: Callable[[sqlite3.Connection], T],
        answer: Callable[[T], str],
    ) -> T:
        await self.check(key)
        return await self._database.run(self._write, key, write, answer)


class KeyAfterEvent(Idempotency):
    """Writes the event, then its key, in two transactions."""

    async def commit(
        self,
        key: str | None,
        write: Callable[[sqlite3.Connection], T],
        answer: Callable[[T], str],
    ) -> T:
        await self.check(key)
        result = await self._database.run(write)
        await self.amend(key, answer(result))
        return result


class CancelledBetweenWriteAndAck(KeyAfterEvent):
    """Writes the event, then its key, in a task that ends with the connection."""

    async def _answer_of(self, task: asyncio.Task[str]) -> str:
        return await task


class TimeoutAfterCommitRetried(Idempotency):
    """Gives a transaction 50 ms, and takes one that needs longer for one that was rolled back."""

    write_timeout = 0.05

    async def commit(
        self,
        key: str | None,
        write: Callable[[sqlite3.Connection], T],
        answer: Callable[[T], str],
    ) -> T:
        await self.check(key)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.write_timeout):
                return await self._database.run(self._write, key, write, answer)
        return await self._database.run(self._write, key, write, answer)


class RateLimiterOverAdmits(RateLimiter):
    """Reads the count, waits for the answer as one does with a remote cache, and writes it back."""

    async def _count(self, key: str) -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        used, until = await self._cache.get(key) or (0, loop.time() + self._limits.window)
        await loop.run_in_executor(None, time.sleep, 0)
        left = until - loop.time()
        await self._cache.set(key, (used + 1, until), left)
        return used + 1, left


DELIVERY_DEFECTS = (
    Defect(
        name="idempotency-key-checked-not-reserved",
        kind="race",
        where="Idempotency.once",
        breaks="One event that is delivered twice at once is stored twice.",
        operations=2,
        deviations=0,
        parts=lambda parts: replace(parts, idempotency=KeyCheckedNotReserved),
    ),
    Defect(
        name="cancelled-between-write-and-ack",
        kind="cancellation",
        where="Idempotency.commit",
        breaks="A client that disconnects in time and tries again has its event stored twice.",
        operations=1,
        deviations=1,
        parts=lambda parts: replace(parts, idempotency=CancelledBetweenWriteAndAck),
    ),
    Defect(
        name="timeout-after-commit-retried",
        kind="timeout",
        where="Idempotency.commit",
        breaks="A slow transaction is committed, taken for failed, and run a second time.",
        operations=1,
        deviations=1,
        parts=lambda parts: replace(parts, idempotency=TimeoutAfterCommitRetried),
    ),
    Defect(
        name="rate-limiter-over-admits",
        kind="race",
        where="RateLimiter.admit",
        breaks="Requests that arrive together pass where only one more was allowed.",
        operations=2,
        deviations=0,
        parts=lambda parts: replace(parts, limiter=RateLimiterOverAdmits),
    ),
)
