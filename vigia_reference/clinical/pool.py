"""A bounded number of connections, each used by one transaction at a time.

A connection that comes back inside a transaction is rolled back, and one that is broken is
dropped, so whoever gets it next finds it as new.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Protocol

from vigia_reference.clinical.attempts import Begin
from vigia_reference.clinical.errors import PoolClosed, PoolExhausted
from vigia_reference.clinical.statements import Query, Rows


class Connection(Protocol):
    """One session with a database, through a driver that blocks."""

    @property
    def closed(self) -> bool:
        """Whether it was closed or broke."""
        ...

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was begun and not ended."""
        ...

    def begin(self, begin: Begin) -> None:
        """Begin a transaction; this and the rest raise `StoreError`."""
        ...

    def query(self, query: Query) -> Rows:
        """Run one statement and return its rows."""
        ...

    def commit(self) -> None:
        """Commit the transaction."""
        ...

    def rollback(self) -> None:
        """Roll back the transaction, if there is one."""
        ...

    def close(self) -> None:
        """Close the connection; what was not committed is lost."""
        ...


class AsyncConnection(Protocol):
    """One session with a database, through a driver that is awaited; see `Connection`."""

    @property
    def closed(self) -> bool:
        """Whether it was closed or broke."""
        ...

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was begun and not ended."""
        ...

    async def begin(self, begin: Begin) -> None:
        """Begin a transaction; this and the rest raise `StoreError`."""
        ...

    async def query(self, query: Query) -> Rows:
        """Run one statement and return its rows."""
        ...

    async def commit(self) -> None:
        """Commit the transaction."""
        ...

    async def rollback(self) -> None:
        """Roll back the transaction, if there is one."""
        ...

    async def close(self) -> None:
        """Close the connection; what was not committed is lost."""
        ...


class ConnectionPool:
    """At most *size* connections for any number of threads.

    They are opened by *connect* when they are first needed, and the one that came back last goes
    out first.  Waiting for one takes at most *timeout* seconds.
    """

    def __init__(
        self, connect: Callable[[], Connection], size: int = 8, timeout: float = 60.0
    ) -> None:
        self._connect = connect
        self._size = size
        self._timeout = timeout
        self._idle: list[Connection] = []
        self._used = 0
        self._closed = False
        self._change = threading.Condition()

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection; raises `PoolExhausted`, `PoolClosed`, or what connecting raises."""
        connection = self._take()
        try:
            yield connection
        finally:
            self._give_back(connection)

    def open(self, count: int) -> None:
        """Open *count* connections now."""
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(self.connection())

    def close(self) -> None:
        """Close all connections: those in use when they come back.  Closing twice is fine."""
        with self._change:
            self._closed = True
            idle, self._idle = self._idle, []
            self._change.notify_all()
        for connection in idle:
            connection.close()

    def _take(self) -> Connection:
        with self._change:
            if not self._change.wait_for(self._ready, self._timeout):
                raise PoolExhausted(f"All {self._size} connections are in use")
            if self._closed:
                raise PoolClosed("The store is closed")
            self._used += 1
            if self._idle:
                return self._idle.pop()
        try:
            return self._connect()
        except BaseException:
            self._let_go(None)
            raise

    def _ready(self) -> bool:
        return self._closed or self._used < self._size

    def _give_back(self, connection: Connection) -> None:
        if connection.in_transaction:
            self._roll_back(connection)
        self._let_go(None if connection.closed else connection)

    @staticmethod
    def _roll_back(connection: Connection) -> None:
        try:
            connection.rollback()
        except Exception:
            connection.close()

    def _let_go(self, connection: Connection | None) -> None:
        with self._change:
            self._used -= 1
            self._change.notify()
            if connection is not None and not self._closed:
                self._idle.append(connection)
                return
        if connection is not None:
            connection.close()


class AsyncConnectionPool:
    """At most *size* connections for any number of tasks of one loop; see `ConnectionPool`."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[AsyncConnection]],
        size: int = 8,
        timeout: float = 60.0,
    ) -> None:
        self._connect = connect
        self._size = size
        self._timeout = timeout
        self._idle: list[AsyncConnection] = []
        self._places = asyncio.Semaphore(size)
        self._closed = False

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Lend a connection; raises `PoolExhausted`, `PoolClosed`, or what connecting raises."""
        await self._wait_for_place()
        try:
            if self._closed:
                raise PoolClosed("The store is closed")
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                yield connection
            finally:
                await self._give_back(connection)
        finally:
            self._places.release()

    async def open(self, count: int) -> None:
        """Open *count* connections now."""
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(count):
                await stack.enter_async_context(self.connection())

    async def close(self) -> None:
        """Close all connections: those in use when they come back.  Closing twice is fine."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    async def _wait_for_place(self) -> None:
        try:
            # No time-out is set for a place that is free.
            async with asyncio.timeout(self._timeout if self._places.locked() else None):
                await self._places.acquire()
        except TimeoutError:
            raise PoolExhausted(f"All {self._size} connections are in use") from None

    async def _give_back(self, connection: AsyncConnection) -> None:
        if connection.in_transaction:
            await self._roll_back(connection)
        await self._keep(connection)

    @staticmethod
    async def _roll_back(connection: AsyncConnection) -> None:
        try:
            await connection.rollback()
        except Exception:
            await connection.close()

    async def _keep(self, connection: AsyncConnection) -> None:
        if self._closed:
            await connection.close()
        elif not connection.closed:
            self._idle.append(connection)
