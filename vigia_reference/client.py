"""The webhook client: tries again when that can help, and never sends one event as two."""

import asyncio
import json
import threading
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

from vigia_reference.events import Event, EventType
from vigia_reference.outlast import outlast

T = TypeVar("T")

Sendable = Event | Mapping[str, Any]
"""An `Event`, or the JSON object of one; without a `webhook_id` it is given one."""

_RETRIED_STATUSES = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """The outcome of one event.

    `status_code` is 0 when there was no answer; `message` then says why.  `data` is the answer's
    ``data`` field.
    """

    success: bool
    status_code: int
    message: str
    data: Any = None


@dataclass(slots=True)
class _OpenSession:
    session: aiohttp.ClientSession
    closer: AsyncGenerator[None, None]
    # Between two attempts; an ordered set, so that all runs end them in the same order.
    pauses: dict[asyncio.Future[object], None] = field(default_factory=dict)


class WebhookClient:
    """Sends events to *webhook_url*.

    *timeout* is the seconds that one attempt may take, *retry_count* how many attempts there are
    in all; after attempt n (counted from 0) it waits 2**n seconds, by calling *sleep*.  Statuses
    408, 425, 429 and 5xx, time-outs and connection errors are tried again, other statuses are not.
    All attempts of one event carry the same `webhook_id`.

    Nothing that the network does is raised: it is told in the `WebhookResponse`.

    Use it with ``async with``, or call `close` in the event loop in which it was used.  It may be
    used in several loops, one after the other or at the same time; each has its own session, which
    is closed at the latest when ``asyncio.run`` ends that loop.  After `close` it refuses to send
    in that loop, so that an event sent late does not open a session that nobody closes.

    >>> async def example():
    ...     async with WebhookClient("http://127.0.0.1:9/webhook", retry_count=1) as client:
    ...         return await client.send_detection({"patient_code": "A-1", "detections": []})
    >>> asyncio.run(example()).success
    False
    """

    def __init__(
        self,
        webhook_url: str,
        api_key: str | None = None,
        timeout: float = 30,
        retry_count: int = 3,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        if retry_count < 1:
            raise ValueError(f"retry_count must be at least 1, not {retry_count}")
        self._url = webhook_url
        self._headers = {"Content-Type": "application/json"}
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._attempts = retry_count
        self._sleep = sleep
        # By event loop; None where the client was closed.
        self._sessions: dict[asyncio.AbstractEventLoop, _OpenSession | None] = {}

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        if self._sessions.get(loop) is None:
            self._sessions.pop(loop, None)
        await self._session()
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close this loop's session.  Events being sent are answered as failed, at once.

        Cancelling it does not leave it half-way.
        """
        loop = asyncio.get_running_loop()
        opened, self._sessions[loop] = self._sessions.get(loop), None
        if opened is not None:
            for pause in opened.pauses:
                pause.cancel()
            closing = asyncio.ensure_future(opened.closer.aclose())
            await outlast(closing)
            closing.result()

    async def send_detection(self, payload: Mapping[str, Any]) -> WebhookResponse:
        """Send `detection.completed` with this payload, as happened now."""
        return await self.send_async(Event.new(EventType.DETECTION_COMPLETED, payload))

    async def send_async(self, event: Sendable) -> WebhookResponse:
        """Send one event.  Raises `TypeError` or `ValueError` when it cannot be put as JSON."""
        message = self._message(event)
        session = await self._session()
        response = WebhookResponse(False, 0, "Client is closed")
        for attempt in range(self._attempts):
            # Closed before, or while this event waited to be tried again.
            if session is None or session.closed:
                break
            response, final = await self._attempt(session, message)
            if final or attempt == self._attempts - 1:
                break
            await self._pause(2**attempt)
        return response

    async def _pause(self, seconds: float) -> None:
        """Wait, but not any longer than until the client is closed."""
        opened = self._sessions.get(asyncio.get_running_loop())
        if opened is None:
            return
        pause: asyncio.Future[object] = asyncio.ensure_future(self._sleep(seconds))
        opened.pauses[pause] = None
        try:
            await asyncio.wait([pause])
        finally:
            pause.cancel()
            del opened.pauses[pause]
        if not pause.cancelled():
            pause.result()

    async def send_batch_async(self, events: Sequence[Sendable]) -> list[WebhookResponse]:
        """Send all *events* at once; the answers are in their order, one for each.

        An event that cannot be put as JSON is answered as failed, the others are sent.
        """
        outcomes = await asyncio.gather(
            *[self.send_async(event) for event in events], return_exceptions=True
        )
        responses: list[WebhookResponse] = []
        for outcome in outcomes:
            if isinstance(outcome, WebhookResponse):
                responses.append(outcome)
            elif isinstance(outcome, Exception):
                responses.append(WebhookResponse(False, 0, f"Not sent: {outcome!r}"))
            else:
                raise outcome
        return responses

    def send(self, event: Sendable) -> WebhookResponse:
        """Send one event and wait for the answer; for code that is not asynchronous.

        May be called from any thread.  Where an event loop is running in the calling thread it
        stands still meanwhile, so a server in that same loop cannot answer.
        """
        return self._run_apart(self.send_async(event))

    def batch_send(self, events: Sequence[Sendable]) -> list[WebhookResponse]:
        """Send all *events* at once and wait for the answers, as `send` does."""
        return self._run_apart(self.send_batch_async(events))

    def _run_apart(self, work: Coroutine[Any, Any, T]) -> T:
        async def closed_afterwards() -> T:
            try:
                return await work
            finally:
                await self.close()
                self._sessions.pop(asyncio.get_running_loop(), None)

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(closed_afterwards())
        # The loop of this thread is busy with the caller: only another thread can run one.
        with ThreadPoolExecutor(max_workers=1) as apart:
            return apart.submit(asyncio.run, closed_afterwards()).result()

    async def _session(self) -> aiohttp.ClientSession | None:
        """This loop's session, opened on first use; `None` when it was closed here."""
        loop = asyncio.get_running_loop()
        if loop in self._sessions:
            opened = self._sessions[loop]
            return None if opened is None else opened.session
        session = self._new_session()
        closer = _closes_with_its_loop(session)
        # Before anything is awaited, or a second caller would open another one.
        self._sessions[loop] = _OpenSession(session, closer)
        await anext(closer)
        await self._forget_ended_loops()
        return session

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers=self._headers, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
        )

    async def _forget_ended_loops(self) -> None:
        for loop in [loop for loop in list(self._sessions) if loop.is_closed()]:
            opened = self._sessions.pop(loop, None)
            if opened is not None and not opened.session.closed:
                # Closed without asyncio.run, so nobody ran the closer, and nobody can any more.
                connector = opened.session.connector
                opened.session.detach()
                if connector is not None:
                    await connector.close()

    async def _attempt(
        self, session: aiohttp.ClientSession, message: Mapping[str, Any]
    ) -> tuple[WebhookResponse, bool]:
        """Send once; returns the outcome and whether it is final."""
        try:
            status, reason, body = await self._post(session, json.dumps(message))
        except aiohttp.InvalidURL as error:
            return WebhookResponse(False, 0, f"Invalid URL: {error}"), True
        except TimeoutError:
            return WebhookResponse(False, 0, "Request timed out"), False
        except (aiohttp.ClientError, OSError) as error:
            return WebhookResponse(False, 0, f"Connection error: {error!r}"), session.closed
        except RuntimeError:
            # What aiohttp raises when the session was closed under an attempt.
            if not session.closed:
                raise
            return WebhookResponse(False, 0, "Client is closed"), True
        return _read_answer(status, reason, body), not _may_be_retried(status)

    async def _post(self, session: aiohttp.ClientSession, text: str) -> tuple[int, str, bytes]:
        return await self._request(session, self._url, text, {})

    @staticmethod
    async def _request(
        session: aiohttp.ClientSession, url: str, text: str, headers: Mapping[str, str]
    ) -> tuple[int, str, bytes]:
        """POST *text*; returns status, reason and body of the answer."""
        # A redirected POST would arrive as a GET without its body.
        async with session.post(url, data=text, headers=headers, allow_redirects=False) as answer:
            return answer.status, answer.reason or "", await answer.read()

    @staticmethod
    def _message(event: Sendable) -> dict[str, Any]:
        message = event.to_wire() if isinstance(event, Event) else dict(event)
        if message.get("webhook_id") is None:
            message["webhook_id"] = str(uuid.uuid4())
        return message


class SyncWebhookClient:
    """A `WebhookClient` for code without an event loop; takes the same arguments.

    It keeps one loop and one session until `close`, and may be shared by threads, which take
    turns.  In a thread whose own event loop is running it raises `RuntimeError`; use
    `WebhookClient` there.

    >>> with SyncWebhookClient("http://127.0.0.1:9/webhook", retry_count=1) as client:
    ...     client.send({"event_type": "detection.failed"}).status_code
    0
    """

    def __init__(
        self,
        webhook_url: str,
        api_key: str | None = None,
        timeout: float = 30,
        retry_count: int = 3,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._client = WebhookClient(webhook_url, api_key, timeout, retry_count, sleep=sleep)
        self._runner = asyncio.Runner()
        self._turn = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def send_detection(self, payload: Mapping[str, Any]) -> WebhookResponse:
        """Send `detection.completed` with this payload, as happened now."""
        return self.send(Event.new(EventType.DETECTION_COMPLETED, payload))

    def send(self, event: Sendable) -> WebhookResponse:
        """Send one event and wait for the answer."""
        with self._turn:
            if self._closed:
                return WebhookResponse(False, 0, "Client is closed")
            return self._runner.run(self._client.send_async(event))

    def batch_send(self, events: Sequence[Sendable]) -> list[WebhookResponse]:
        """Send all *events* at once; the answers are in their order."""
        with self._turn:
            if self._closed:
                return [WebhookResponse(False, 0, "Client is closed") for _ in events]
            return self._runner.run(self._client.send_batch_async(events))

    def close(self) -> None:
        """Close the session and the loop.  Closing twice is fine."""
        with self._turn:
            if not self._closed:
                self._closed = True
                self._runner.run(self._client.close())
                self._runner.close()


async def _closes_with_its_loop(session: aiohttp.ClientSession) -> AsyncGenerator[None, None]:
    # asyncio.run ends the asynchronous generators that were begun in its loop, which is the one
    # moment at which a session that nobody closed can still be closed properly.
    try:
        yield
    finally:
        await session.close()


def _may_be_retried(status: int) -> bool:
    return status in _RETRIED_STATUSES or status >= 500


def _read_answer(status: int, reason: str, body: bytes) -> WebhookResponse:
    success = 200 <= status < 300
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return WebhookResponse(success, status, reason)
    return WebhookResponse(
        success and document.get("success") is not False,
        status,
        str(document.get("message", reason)),
        document.get("data"),
    )
