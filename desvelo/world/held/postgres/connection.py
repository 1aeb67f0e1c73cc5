"""A plain connection to PostgreSQL, spoken in its own protocol, version 3.

It depends on no driver and no event loop: the world's side connection, its pool of real
connections and the launcher use it. It blocks, in real time.

Source: PostgreSQL documentation, "Frontend/Backend Protocol"; SCRAM is RFC 5802 and RFC 7677.
"""

from __future__ import annotations

import _socket
import base64
import contextlib
import hashlib
import hmac
import os
import struct
from dataclasses import dataclass, field
from typing import Any

from desvelo.errors import ServerGone, ServerRefused


class PostgresError(ServerRefused):
    """The server's answer was an error; ``state`` is its SQLSTATE, ``answer`` its bytes."""

    def __init__(self, message: str, state: str = "", answer: bytes = b"") -> None:
        super().__init__(message)
        self.state = state
        self.answer = answer


@dataclass(frozen=True)
class Address:
    """Where a server is and how to log in: what a DSN says.

    ``host`` may be a folder, for a Unix socket.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str

    def open(self) -> _socket.socket:
        """Return a real, connected socket; raises `ServerGone` when nobody listens."""
        if self.host.startswith("/"):
            sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            where: Any = f"{self.host}/.s.PGSQL.{self.port}"
        else:
            try:
                family, kind, _, _, where = _socket.getaddrinfo(
                    self.host, self.port, 0, _socket.SOCK_STREAM
                )[0]
            except OSError as error:
                raise ServerGone(f"PostgreSQL at {self.host}: {error.strerror}") from error
            sock = _socket.socket(family, kind)
        try:
            sock.connect(where)
            if sock.family != _socket.AF_UNIX:
                sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            raise ServerGone(
                f"PostgreSQL at {self.host}:{self.port} cannot be reached: {error.strerror}"
            ) from error
        return sock


def message(kind: bytes, body: bytes = b"") -> bytes:
    r"""Put a message together.

    >>> message(b"S")
    b'S\x00\x00\x00\x04'
    """
    return kind + struct.pack("!I", len(body) + 4) + body


def query(sql: str) -> bytes:
    """Return the message of a simple query."""
    return message(b"Q", sql.encode() + b"\0")


def startup(parameters: dict[str, str]) -> bytes:
    """Return the first message of a client."""
    body = struct.pack("!I", 196608)
    for name, value in parameters.items():
        body += name.encode() + b"\0" + value.encode() + b"\0"
    body += b"\0"
    return struct.pack("!I", len(body) + 4) + body


def cancel_request(pid: int, key: bytes) -> bytes:
    """Return the message that asks for a session's statement to be cancelled."""
    return struct.pack("!III", 12 + len(key), 80877102, pid) + key


def error_fields(body: bytes) -> dict[str, str]:
    r"""Read an ErrorResponse or NoticeResponse.

    >>> error_fields(b"SERROR\0C23505\0Mduplicate key\0\0")["C"]
    '23505'
    """
    parts = body.rstrip(b"\0").split(b"\0")
    return {part[:1].decode(): part[1:].decode("utf-8", "replace") for part in parts if part}


class PostgresConnection:
    """One real connection, logged in.

    ``greeting`` is what the server said after it had let us in: ParameterStatus messages, the
    key for cancelling, ReadyForQuery. Raises `PostgresError` when it does not let us in.
    """

    def __init__(self, address: Address, parameters: dict[str, str] | None = None) -> None:
        self.address = address
        self.sock = address.open()
        self.buffer = bytearray()
        self.greeting = b""
        self.pid = 0
        self.key = b""
        self.status = "I"
        wanted = {"user": address.user, "database": address.database} | (parameters or {})
        try:
            self.send(startup(wanted))
            self._log_in(wanted["user"])
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the real descriptor."""
        return self.sock.fileno()

    def close(self) -> None:
        """Say goodbye and close."""
        with contextlib.suppress(OSError):
            self.sock.send(message(b"X"))
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send everything."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise self._gone(error) from error

    def receive(self) -> tuple[bytes, bytes]:
        """Wait for one message and return its kind and body."""
        buffer = self.buffer
        while True:
            if len(buffer) >= 5:
                end = 1 + int.from_bytes(buffer[1:5])
                if len(buffer) >= end:
                    kind, body = bytes(buffer[:1]), bytes(buffer[5:end])
                    del buffer[:end]
                    return kind, body
            try:
                data = self.sock.recv(65536)
            except OSError as error:
                raise self._gone(error) from error
            if not data:
                raise self._gone(None)
            buffer += data

    def query(self, sql: str) -> list[list[str | None]]:
        """Run statements and return the rows of the last one, as text."""
        self.send(query(sql))
        rows: list[list[str | None]] = []
        failure: PostgresError | None = None
        while True:
            try:
                kind, body = self.receive()
            except ServerGone:
                if failure is not None:
                    raise failure from None
                raise
            if kind == b"T":
                rows = []
            elif kind == b"D":
                rows.append(_fields_of(body))
            elif kind == b"E":
                failure = _error(body)
            elif kind == b"Z":
                self.status = body.decode()
                if failure is not None:
                    raise failure
                return rows

    def _gone(self, error: OSError | None) -> ServerGone:
        self.sock.close()
        why = f" ({error.strerror})" if error is not None else ""
        where = f"{self.address.host}:{self.address.port}"
        return ServerGone(f"PostgreSQL at {where} has gone away{why}")

    def _log_in(self, user: str) -> None:
        greeting = bytearray()
        scram = _Scram(self.address.password)
        while True:
            kind, body = self.receive()
            if kind == b"E":
                raise _error(body)
            if kind == b"R":
                self._authenticate(body, user, scram)
                continue
            greeting += message(kind, body)
            if kind == b"K":
                self.pid, self.key = int.from_bytes(body[:4]), body[4:]
            elif kind == b"Z":
                self.greeting = bytes(greeting)
                return

    def _authenticate(self, body: bytes, user: str, scram: _Scram) -> None:
        how = int.from_bytes(body[:4])
        password = self.address.password.encode()
        if how == 3:
            self.send(message(b"p", password + b"\0"))
        elif how == 5:
            inner = hashlib.md5(password + user.encode()).hexdigest()  # noqa: S324 - as the protocol has it
            outer = hashlib.md5(inner.encode() + body[4:8]).hexdigest()  # noqa: S324 - as the protocol has it
            self.send(message(b"p", b"md5" + outer.encode() + b"\0"))
        elif how == 10:
            first = scram.first()
            name = b"SCRAM-SHA-256\0"
            self.send(message(b"p", name + struct.pack("!I", len(first)) + first))
        elif how == 11:
            self.send(message(b"p", scram.final(body[4:])))
        elif how not in {0, 12}:
            raise PostgresError(
                f"PostgreSQL asks for a way to log in that is not known here: {how}"
            )


class _Scram:
    """The client's side of SCRAM-SHA-256, without channel binding."""

    def __init__(self, password: str) -> None:
        self._password = password.encode()
        self._nonce = base64.b64encode(os.urandom(18))

    def first(self) -> bytes:
        return b"n,,n=,r=" + self._nonce

    def final(self, challenge: bytes) -> bytes:
        parts = dict(part.split(b"=", 1) for part in challenge.split(b","))
        salted = hashlib.pbkdf2_hmac(
            "sha256", self._password, base64.b64decode(parts[b"s"]), int(parts[b"i"])
        )
        without_proof = b"c=biws,r=" + parts[b"r"]
        signed = b",".join((b"n=,r=" + self._nonce, challenge, without_proof))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
        return without_proof + b",p=" + base64.b64encode(proof)


def _fields_of(body: bytes) -> list[str | None]:
    fields: list[str | None] = []
    at = 2
    for _ in range(int.from_bytes(body[:2])):
        length = int.from_bytes(body[at : at + 4], signed=True)
        at += 4
        if length < 0:
            fields.append(None)
        else:
            fields.append(body[at : at + length].decode("utf-8", "replace"))
            at += length
    return fields


def _error(body: bytes) -> PostgresError:
    said = error_fields(body)
    state = said.get("C", "")
    text = f"{said.get('M', 'an error without a message')} (SQLSTATE {state})"
    return PostgresError(text, state, message(b"E", body))
