"""Clients that hold one connection each, and what they have in common while load is on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from time import perf_counter
from typing import Any

from desvelo.measure.load.http import TIME_OUT, Connection, connect, kind_of
from desvelo.measure.load.request import Address, WebhookRequest
from desvelo.measure.load.tally import Tally

LOOK_AROUND = 0.05
"""Seconds between two looks at what is late, and at whether the load is to end."""
AFTER_A_REFUSAL = 0.05
"""Seconds until a client that could not connect sends its next request."""
INTERRUPTED = "interrupted"
GRACE = 2.0
"""Seconds for requests under way when load is to end early."""


class Load:
    """One piece of load on one server: who sends, what is late, whether it is over."""

    def __init__(
        self, url: str, tally: Tally, *, timeout: float = 30.0, over: Callable[[], bool] = bool
    ) -> None:
        self.address = Address.of(url)
        self.context = ssl.create_default_context() if self.address.secure else None
        self.tally = tally
        self.timeout = timeout
        self.over = False
        """Whether no further request is to be sent."""
        self._asked = over
        self._clients: list[Client] = []
        self._connecting: set[asyncio.Task[None]] = set()

    def client(self) -> Client:
        """Return a client that has no connection yet."""
        client = Client(self)
        self._clients.append(client)
        return client

    @contextlib.asynccontextmanager
    async def on(self) -> AsyncIterator[None]:
        """Look after what is late while load is on, and leave nothing open afterwards."""
        watching = asyncio.create_task(self._look_around())
        try:
            with undisturbed():
                yield
        finally:
            watching.cancel()
            for task in self._connecting:
                task.cancel()
            for client in self._clients:
                client.close()
            await asyncio.gather(watching, *self._connecting, return_exceptions=True)
            # A closed transport tells its connection in the next iteration.
            await asyncio.sleep(0)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the load; a reference is kept until it ends."""
        task = asyncio.create_task(work)
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def give_up(self, kind: str) -> None:
        """End every request that is under way."""
        for client in self._clients:
            client.give_up(kind)

    async def _look_around(self) -> None:
        until = None
        while True:
            await asyncio.sleep(LOOK_AROUND)
            now = perf_counter()
            for client in self._clients:
                if client.waits_since and now - client.waits_since > self.timeout:
                    client.give_up(TIME_OUT)
            if self._asked():
                self.over = True
                until = now + GRACE if until is None else until
                if now > until:
                    self.give_up(INTERRUPTED)


class Client:
    """Sends one request at a time, and opens a connection when it has none."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._connection: Connection | None = None

    @property
    def waits_since(self) -> float:
        """The moment at which the request under way was written; 0 when there is none."""
        return self._connection.sent if self._connection is not None else 0.0

    async def connect(self) -> None:
        """Open the connection before it is needed; raises `OSError`."""
        load = self._load
        self._connection = await connect(load.address, load.context, load.timeout)

    def send(self, request: WebhookRequest, began: float, then: Callable[[], object]) -> None:
        """Send a request that began at this moment, and count its outcome before ``then()``."""
        connection = self._connection
        if connection is None or not connection.usable:
            self._load.begin(self._connect_and_send(request, began, then))
            return

        def answered(status: int, body: bytes, error: str, moment: float) -> None:
            self._load.tally.note(request, began, status, body, error, moment)
            then()

        connection.send(self._load.address.on_the_wire(request), answered)

    def give_up(self, kind: str) -> None:
        """End the request under way with this kind of error."""
        if self.waits_since and self._connection is not None:
            self._connection.give_up(kind)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.give_up(INTERRUPTED)

    async def _connect_and_send(
        self, request: WebhookRequest, began: float, then: Callable[[], object]
    ) -> None:
        try:
            await self.connect()
        except OSError as error:
            self._load.tally.note(request, began, 0, b"", kind_of(error), perf_counter())
            await asyncio.sleep(AFTER_A_REFUSAL)
            then()
        else:
            self.send(request, began, then)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Keep the garbage collector out: one full collection takes longer than many requests."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
