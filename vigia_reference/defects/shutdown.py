"""Defects that show when something is stopped, closed or cancelled while it is at work."""

# ruff: noqa: D102 - what a method is for is told where it is correct

import asyncio
import collections
from collections.abc import Awaitable, Callable
from dataclasses import replace

from vigia_reference.client import Sendable, WebhookClient, WebhookResponse
from vigia_reference.clinical.errors import PoolExhausted
from vigia_reference.clinical.pool import AsyncConnection, AsyncConnectionPool
from vigia_reference.defects.catalogue import Defect
from vigia_reference.defects.delivery import KeyAfterEvent
from vigia_reference.server import WebhookServer
from vigia_reference.system import Parts


class StopWithoutPatience(WebhookServer):
    """Cancels the requests in progress as soon as it is to stop."""

    async def _drain(self) -> None:
        pass


class KeyWrittenAfterwards(KeyAfterEvent):
    """Writes the event, then its key, and lets a stop cancel in between."""

    async def drain(self, timeout: float) -> None:
        await super().drain(0)


class DrainWithoutEnd(WebhookServer):
    """Waits until every request in progress has been answered, however long its client takes."""

    async def _drain(self) -> None:
        while self._connections:
            await asyncio.wait(list(self._connections))


class RetrySurvivesClose(WebhookClient):
    """Asks for a session before each attempt, and opens another one when it was closed."""

    async def send_async(self, event: Sendable) -> WebhookResponse:
        message = self._message(event)
        response = WebhookResponse(False, 0, "Client is closed")
        for attempt in range(self._attempts):
            session = await self._session()
            if session is None:
                self._sessions.pop(asyncio.get_running_loop(), None)
                session = await self._session()
            assert session is not None
            response, final = await self._attempt(session, message)
            if final or attempt == self._attempts - 1:
                break
            await self._sleep(2**attempt)
        return response


class WaiterTakesPlaceAlong(AsyncConnectionPool):
    """Hands a place on to the first who waits, and cannot take it back when he is cancelled."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[AsyncConnection]],
        size: int = 8,
        timeout: float = 60.0,
    ) -> None:
        super().__init__(connect, size, timeout)
        self._places = _Places(size)

    async def _wait_for_place(self) -> None:
        try:
            async with asyncio.timeout(self._timeout if self._places.locked() else None):
                await self._places.acquire()
        except TimeoutError:
            raise PoolExhausted(f"All {self._size} connections are in use") from None


class _Places(asyncio.Semaphore):
    """A semaphore that gives its places to those who wait, in their order."""

    def __init__(self, free: int) -> None:
        super().__init__(free)
        self._free = free
        self._queue: collections.deque[asyncio.Future[None]] = collections.deque()

    def locked(self) -> bool:
        return self._free == 0

    async def acquire(self) -> bool:  # type: ignore[override] # it is a Literal there
        if self._free:
            self._free -= 1
            return True
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        finally:
            if turn in self._queue:
                self._queue.remove(turn)
        return True

    def release(self) -> None:
        if self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def _with_pool(parts: Parts) -> Parts:
    return replace(parts, clinical=replace(parts.clinical, async_pool=WaiterTakesPlaceAlong))


SHUTDOWN_DEFECTS = (
    Defect(
        name="stop-cancels-between-write-and-key",
        kind="cancellation",
        where="WebhookServer.stop, Idempotency.commit",
        breaks="An event that was being stored when the service restarted is stored twice.",
        operations=2,
        deviations=1,
        parts=lambda parts: replace(
            parts, server=StopWithoutPatience, idempotency=KeyWrittenAfterwards
        ),
    ),
    Defect(
        name="drain-waits-for-stalled-client",
        kind="hang",
        where="WebhookServer.stop",
        breaks="A client that sends half a request keeps the service from stopping.",
        operations=2,
        deviations=1,
        parts=lambda parts: replace(parts, server=DrainWithoutEnd),
    ),
    Defect(
        name="retry-survives-close",
        kind="leak",
        where="WebhookClient.close",
        breaks="A client that is closed while it waits to try again opens another session.",
        operations=1,
        deviations=1,
        parts=lambda parts: replace(parts, client=RetrySurvivesClose),
    ),
    Defect(
        name="cancelled-waiter-takes-place-along",
        kind="cancellation",
        where="AsyncConnectionPool.connection",
        breaks="A call that is cancelled just when a connection became free leaves one less.",
        operations=2,
        deviations=1,
        parts=_with_pool,
        backends=("aiosqlite", "asyncpg"),
    ),
)
