"""Defects that keep what should have been given back."""

# ruff: noqa: D102 - what a method is for is told where it is correct

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp import web

from vigia_reference.client import Sendable, WebhookClient, WebhookResponse
from vigia_reference.defects.catalogue import Defect
from vigia_reference.events import Event
from vigia_reference.listeners import Listeners
from vigia_reference.media import Media, suffix_of
from vigia_reference.server import WebhookServer
from vigia_reference.workers import Workers

_ByLoop = WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.TCPConnector]

logger = logging.getLogger(__name__)


class SessionPerCall(WebhookClient):
    """Opens a session for each event, and leaves closing it to the garbage collector."""

    async def __aenter__(self) -> Self:
        return self

    async def _session(self) -> aiohttp.ClientSession | None:
        return self._new_session()


class RefusalKeptUnread(WebhookClient):
    """Keeps the answer that refused an event, for whoever wants to read it later."""

    def __init__(self, webhook_url: str, *args: Any, **options: Any) -> None:
        super().__init__(webhook_url, *args, **options)
        self.refusals: list[aiohttp.ClientResponse] = []

    async def _post(self, session: aiohttp.ClientSession, text: str) -> tuple[int, str, bytes]:
        answer = await session.post(self._url, data=text, allow_redirects=False)
        if answer.status >= 400:
            self.refusals.append(answer)
            return answer.status, answer.reason or "", b""
        async with answer:
            return answer.status, answer.reason or "", await answer.read()


class ConnectorShared(WebhookClient):
    """Shares the connections with all other clients, and closes them with its own session."""

    _shared: ClassVar[_ByLoop] = WeakKeyDictionary()

    def _new_session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if loop not in self._shared:
            self._shared[loop] = aiohttp.TCPConnector()
        return aiohttp.ClientSession(
            headers=self._headers,
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=self._shared[loop],
        )


class WarningTaskDropped(WebhookClient):
    """Starts a task that warns when there is no answer for long, and does not think of it again."""

    async def send_async(self, event: Sendable) -> WebhookResponse:
        asyncio.create_task(self._warn(), name="warn")  # noqa: RUF006 - that is the mistake
        return await super().send_async(event)

    async def _warn(self) -> None:
        await asyncio.sleep(3600)
        logger.warning("%s has not answered for an hour", self._url)


class SessionLostWhenSuffixIsWrong(Media):
    """Opens a session for each photo, one step before the block that closes it."""

    @asynccontextmanager
    async def download(self, url: str) -> AsyncIterator[Path]:
        session = aiohttp.ClientSession()
        path = self._new_file(suffix_of(url))
        try:
            await self._fetch(session, url, path)
            yield path
        finally:
            path.unlink(missing_ok=True)
            await session.close()


class ImageKeptOnException(Media):
    """Removes the file when all has gone well."""

    @asynccontextmanager
    async def download(self, url: str) -> AsyncIterator[Path]:
        path = self._new_file(suffix_of(url))
        await self._fetch(self._open_session(), url, path)
        yield path
        path.unlink()


class PoolPerRequest(Workers):
    """Makes threads for each call, and ends none."""

    def __init__(self, count: int = 2) -> None:
        super().__init__(count)
        self.pools: list[ThreadPoolExecutor] = []

    def _threads(self) -> ThreadPoolExecutor:
        self.pools.append(ThreadPoolExecutor(self.count, thread_name_prefix="workers"))
        return self.pools[-1]


class ListenersThatGrow(Listeners):
    """Unsubscribes whoever has heard what it waited for, and nobody who has given up."""

    async def wait_for(self, wanted: Callable[[Event], bool], *, timeout: float) -> Event:
        seen: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

        def note(event: Event) -> None:
            if not seen.done() and wanted(event):
                seen.set_result(event)

        self.subscribe(note)
        async with asyncio.timeout(timeout):
            event = await seen
        self.unsubscribe(note)
        return event


class PortKeptWhenStartFails(WebhookServer):
    """Learns of its listener when that listens already."""

    async def _listen(self, protocols: web.Server) -> None:
        self._listener = await asyncio.get_running_loop().create_server(
            protocols, self._host, self._port
        )
        self._port = self._listener.sockets[0].getsockname()[1]


class PortShared(WebhookServer):
    """Lets others listen on its port, so that a restart need not wait for the old server."""

    async def _listen(self, protocols: web.Server) -> None:
        self._listener = await asyncio.get_running_loop().create_server(
            protocols, self._host, self._port, reuse_port=True, start_serving=False
        )
        await self._listener.start_serving()
        self._port = self._listener.sockets[0].getsockname()[1]


LEAK_DEFECTS = (
    Defect(
        name="session-per-call",
        kind="leak",
        where="WebhookClient.send_async",
        breaks="Each event opens a session, and none is ever closed.",
        operations=1,
        deviations=0,
        parts=lambda parts: replace(parts, client=SessionPerCall),
    ),
    Defect(
        name="response-not-released",
        kind="leak",
        where="WebhookClient.send_async",
        breaks="Each refusal longer than a buffer holds a connection as long as the client lives.",
        operations=1,
        deviations=0,
        parts=lambda parts: replace(parts, client=RefusalKeptUnread),
    ),
    Defect(
        name="connector-shared-after-close",
        kind="error",
        where="WebhookClient.close",
        breaks="When one client is closed, all others in the process can send no more.",
        operations=2,
        deviations=0,
        parts=lambda parts: replace(parts, client=ConnectorShared),
    ),
    Defect(
        name="task-started-and-dropped",
        kind="leak",
        where="WebhookClient.send_async",
        breaks="A task for each event outlives the client, and warns of an event long answered.",
        operations=1,
        deviations=0,
        parts=lambda parts: replace(parts, client=WarningTaskDropped),
    ),
    Defect(
        name="session-lost-in-failed-step",
        kind="leak",
        where="Media.download",
        breaks="A photo whose name is refused leaves a session open.",
        operations=1,
        deviations=0,
        parts=lambda parts: replace(parts, media=SessionLostWhenSuffixIsWrong),
    ),
    Defect(
        name="image-kept-on-exception",
        kind="leak",
        where="Media.download",
        breaks="A photo that cannot be downloaded or used stays on the disk.",
        operations=1,
        deviations=0,
        parts=lambda parts: replace(parts, media=ImageKeptOnException),
    ),
    Defect(
        name="thread-pool-per-request",
        kind="leak",
        where="Workers.run",
        breaks="Each photo starts threads that nobody ends.",
        operations=1,
        deviations=0,
        parts=lambda parts: replace(parts, workers=PoolPerRequest),
    ),
    Defect(
        name="listener-list-grows",
        kind="leak",
        where="Listeners.wait_for",
        breaks="Whoever gives up waiting for an event stays in the list for ever.",
        operations=1,
        deviations=0,
        parts=lambda parts: replace(parts, listeners=ListenersThatGrow),
    ),
    Defect(
        name="port-kept-when-start-fails",
        kind="cancellation",
        where="WebhookServer.start",
        breaks="A start that is cancelled in the moment in which it listens keeps the port.",
        operations=1,
        deviations=0,
        parts=lambda parts: replace(parts, server=PortKeptWhenStartFails),
    ),
    Defect(
        name="second-server-on-the-port",
        kind="error",
        where="WebhookServer.start",
        breaks="Two systems listen on one port, and each gets some of the events.",
        operations=2,
        deviations=0,
        parts=lambda parts: replace(parts, server=PortShared),
    ),
)
