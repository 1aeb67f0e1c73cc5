"""A plain connection to Redis, spoken in its own protocol.

It depends on no driver and no event loop: the launcher and the world's pool of real connections
use it. It blocks, in real time.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec
"""

from __future__ import annotations

import _socket
from dataclasses import dataclass, field
from typing import Any

from desvelo.errors import ServerGone, ServerRefused
from desvelo.world.held.resp import Replies


class RedisError(ServerRefused):
    """The server's answer was an error."""


@dataclass(frozen=True)
class RedisAddress:
    """Where a server is and how to log in: what a URL says."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    database: int = 0

    def open(self) -> _socket.socket:
        """Return a real, connected socket; raises `ServerGone` when nobody listens."""
        try:
            family, kind, _, _, where = _socket.getaddrinfo(
                self.host, self.port, 0, _socket.SOCK_STREAM
            )[0]
            sock = _socket.socket(family, kind)
        except OSError as error:
            raise ServerGone(f"Redis at {self.host}: {error.strerror}") from error
        try:
            sock.connect(where)
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            raise ServerGone(
                f"Redis at {self.host}:{self.port} cannot be reached: {error.strerror}"
            ) from error
        return sock


def encode_command(*words: str | int | bytes) -> bytes:
    r"""Write a command as clients do.

    >>> encode_command("SELECT", 1)
    b'*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n'
    """
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(p), p) for p in parts])


class RedisConnection:
    """One real connection, logged in; raises `RedisError` when the server does not let us in."""

    def __init__(self, address: RedisAddress) -> None:
        self.address = address
        self.socket = address.open()
        self._replies = Replies()
        try:
            if address.password:
                login = (address.user, address.password) if address.user else (address.password,)
                self.command("AUTH", *login)
            if address.database:
                self.command("SELECT", address.database)
        except BaseException:
            self.close()
            raise

    def command(self, *words: str | int | bytes) -> Any:
        """Send a command and return its reply; raises `RedisError` for an error reply."""
        return self.commands([words])[0]

    def commands(self, several: list[tuple[str | int | bytes, ...]]) -> list[Any]:
        """Send commands as one message and return their replies; raises for the first error."""
        replies: list[bytes] = []
        try:
            self.socket.send(b"".join([encode_command(*words) for words in several]))
            while len(replies) < len(several):
                data = self.socket.recv(65536)
                if not data:
                    raise ServerGone(f"Redis at {self._where()} closed the connection")
                replies += self._replies.feed(data)
        except OSError as error:
            raise ServerGone(f"Redis at {self._where()}: {error.strerror}") from error
        values = [decode(reply) for reply in replies]
        for value in values:
            if isinstance(value, RedisError):
                raise value
        return values

    def _where(self) -> str:
        return f"{self.address.host}:{self.address.port}"

    def close(self) -> None:
        """Close it."""
        self.socket.close()

    def __del__(self) -> None:
        # Connections are kept from execution to execution; nobody says when the last one was.
        if hasattr(self, "socket"):
            self.socket.close()


def decode(reply: bytes) -> Any:
    r"""Return a reply of RESP2 as Python has it; an error is a `RedisError`, not raised.

    >>> decode(b"*3\r\n$1\r\na\r\n:2\r\n$-1\r\n")
    [b'a', 2, None]
    """
    value, _ = _value(reply, 0)
    return value


def _value(data: bytes, at: int) -> tuple[Any, int]:
    line_end = data.index(b"\r\n", at)
    kind, head, at = data[at : at + 1], data[at + 1 : line_end], line_end + 2
    if kind == b"+":
        return head, at
    if kind == b"-":
        return RedisError(head.decode("utf-8", "replace")), at
    size = int(head)
    if kind == b":":
        return size, at
    if size < 0:
        return None, at
    if kind == b"$":
        return data[at : at + size], at + size + 2
    values = []
    for _ in range(size):
        value, at = _value(data, at)
        values.append(value)
    return values, at
