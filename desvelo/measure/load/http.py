"""HTTP/1.1 at little cost: one connection that carries one request at a time.

Written on `asyncio.Protocol` with the parser of httptools, because a generator that is slower than
the server would measure itself.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections.abc import Callable
from time import perf_counter

from desvelo.errors import UsageError
from desvelo.measure.load.request import Address

try:
    import httptools
except ImportError as missing:
    raise UsageError("load is sent with httptools: pip install 'desvelo[measure]'") from missing

CLOSED = "connection closed before the answer was complete"
REFUSED = "connection refused"
RESET = "connection reset"
NOT_HTTP = "answer is not HTTP"
TIME_OUT = "time-out"

Answered = Callable[[int, bytes, str, float], None]
"""Called with status, body, kind of error, and the moment; with an error the status is 0."""


class Connection(asyncio.Protocol):
    """A connection that says for each request once how it ended, then takes the next.

    All moments are those of `time.perf_counter`.
    """

    def __init__(self) -> None:
        self.sent = 0.0
        """When the request under way was written; 0 when there is none."""
        self.usable = False
        """Whether another request may be sent on it."""
        self._transport: asyncio.Transport | None = None
        self._answered: Answered | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._until_the_end = False
        """Whether only the end of the connection ends the answer that is being read."""

    def send(self, request: bytes, answered: Answered) -> None:
        """Write a request; ``answered`` is called when its answer is complete or will never be."""
        assert self._transport is not None
        assert self._answered is None, "one request at a time"
        self._answered = answered
        self.sent = perf_counter()
        self._transport.write(request)

    def give_up(self, kind: str) -> None:
        """End the connection, and the request under way with this kind of error."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()
        self._end(0, b"", kind)

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take requests from now on."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.usable = True

    def data_received(self, data: bytes) -> None:
        """Read an answer, or a part of one."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.give_up(NOT_HTTP)

    def eof_received(self) -> None:
        """Take the end of the connection for the end of an answer that said no length."""
        # httptools does not pass the end on to its parser; such answers are complete here.
        if self._answered is not None and self._until_the_end:
            self._complete()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the request under way."""
        self.usable = False
        self._end(0, b"", CLOSED if error is None else kind_of(error))

    # what the parser calls

    def on_message_begin(self) -> None:
        """Begin an answer."""
        self._body.clear()
        self._until_the_end = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note whether the answer says where it ends."""
        if name.lower() in {b"content-length", b"transfer-encoding"}:
            self._until_the_end = False

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Hand the answer over, unless it only announces one."""
        if self._parser.get_status_code() >= 200:
            self._complete()

    def _complete(self) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if self._transport is not None and not self._parser.should_keep_alive():
            self.usable = False
            self._transport.close()
        self._end(self._parser.get_status_code(), body, "")

    def _end(self, status: int, body: bytes, error: str) -> None:
        answered, self._answered = self._answered, None
        self.sent = 0.0
        if answered is not None:
            answered(status, body, error, perf_counter())


async def connect(
    address: Address, context: ssl.SSLContext | None = None, timeout: float = 10.0
) -> Connection:
    """Open a connection; raises `OSError`, and `TimeoutError` among them."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout):
        _, connection = await loop.create_connection(
            Connection, address.host, address.port, ssl=context
        )
    return connection


def kind_of(error: BaseException) -> str:
    """Return what an error is counted as.

    >>> kind_of(ConnectionRefusedError(111, "...")), kind_of(OSError(24, "..."))
    ('connection refused', 'too many open files')
    """
    if isinstance(error, TimeoutError):
        return TIME_OUT
    if isinstance(error, ConnectionRefusedError):
        return REFUSED
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return RESET
    if isinstance(error, OSError) and error.errno in errno.errorcode:
        return os.strerror(error.errno or 0).lower()
    return str(error) or type(error).__name__
