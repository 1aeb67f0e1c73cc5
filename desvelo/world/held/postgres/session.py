"""One client's session with a real PostgreSQL, over a connection that was open before it came."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from desvelo.errors import ServerGone
from desvelo.world import polling
from desvelo.world.held.postgres.connection import (
    PostgresError,
    message,
)
from desvelo.world.held.postgres.conversation import READY, Conversation
from desvelo.world.held.postgres.kept import Kept
from desvelo.world.held.postgres.wording import Wording, shown, text_of, without_reality

if TYPE_CHECKING:
    from desvelo.world.held.postgres.backend import PostgresBackend

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
_LISTENS = re.compile(rb"\s*listen\b", re.IGNORECASE)
_SYNC = message(b"S")
_DONT_WAIT = 0x40  # MSG_DONTWAIT
_LOG = re.compile(rb"(?:^|\0)VLOG\0")
_STILL_WAITING, _ACQUIRED = b" still waiting for ", b" acquired "


class PostgresSession:
    """What one client has with the server.

    Its start-up is answered with what the server said when the real connection was opened. The
    client is told process numbers that are the sessions' numbers, the same in every run.
    """

    def __init__(self, backend: PostgresBackend, number: int) -> None:
        self.number = number
        self.over = False
        self.connection: Kept | None = None
        self.cancelled = False
        """Whether its statement is being cancelled, so that it waits for nobody any more."""
        self.checked = False
        """Whether the server said that it waits for a lock, and found no deadlock."""
        self.frozen = False
        """Whether its process is stopped, until it can go on."""
        self.status = "I"
        self.listens = False
        self._backend = backend
        self._talk = Conversation()
        self._wording = Wording()
        self._heard = bytearray()
        """What has come from the client and is no whole message yet."""
        self._answer = bytearray()
        self._started = False
        self._statement = ""
        self._prepared: dict[bytes, str] = {}
        """The texts of prepared statements, by name."""

    @property
    def owing(self) -> bool:
        """Whether the server has not completely answered."""
        return self._talk.owing and self.connection is not None

    @property
    def pid(self) -> int:
        """The number of the server's process, 0 without a connection."""
        return self.connection.pid if self.connection is not None else 0

    @property
    def tells(self) -> bool:
        """Whether the server tells when it waits for a lock."""
        return self.connection is not None and self.connection.tells

    @property
    def at_rest(self) -> bool:
        """Whether the server has answered everything and awaits a new request."""
        return self._talk.at_rest

    def fileno(self) -> int:
        """Return the descriptor of the real connection."""
        return self.connection.fileno() if self.connection is not None else -1

    def doing(self) -> str:
        """Return the text of the statement."""
        return self._statement

    def describe(self, data: bytes, *, sent: bool) -> str:
        """Describe a piece of the stream."""
        return self._wording.of_client(data) if sent else self._wording.of_server(data)

    # from the client

    def hear_client(self, data: bytes) -> None:
        """Take bytes of the client and send whole messages on."""
        heard = self._heard
        heard += data
        if not self._started and not self._start():
            return
        sending = bytearray()
        at = 0
        while len(heard) - at >= 5:
            end = at + 1 + int.from_bytes(heard[at + 1 : at + 5])
            if len(heard) < end:
                break
            kind = heard[at]
            if kind == 88:  # the client says goodbye
                self.client_left()
                return
            if kind in b"QPB":
                self._take_note(kind, bytes(heard[at + 5 : end]))
            self._talk.asked(kind)
            sending += heard[at:end]
            at = end
        del heard[:at]
        if sending and self.connection is not None:
            self.connection.send(bytes(sending))

    def _take_note(self, kind: int, body: bytes) -> None:
        name, _, text = body.partition(b"\0")
        if kind == ord("B"):
            self._statement = self._prepared.get(text.partition(b"\0")[0], "")
            return
        if kind == ord("Q"):
            text = body
        self._statement = shown(text_of(text))
        if kind == ord("P"):
            self._prepared[name] = self._statement
        if _LISTENS.match(text):
            self.listens = True

    def _start(self) -> bool:
        """Read what comes before the first message; tell whether the session has begun."""
        heard = self._heard
        while len(heard) >= 8:
            length, code = int.from_bytes(heard[:4]), int.from_bytes(heard[4:8])
            if len(heard) < length:
                return False
            body = bytes(heard[8:length])
            del heard[:length]
            if code in {_SSL, _GSS}:
                self._answer += b"N"
            elif code == _CANCEL:
                self._backend.cancel(int.from_bytes(body[:4]))
                self.over = True
                return False
            else:
                self._begin(body)
                return True
        return False

    def _begin(self, body: bytes) -> None:
        words = [word.decode("utf-8", "replace") for word in body.rstrip(b"\0").split(b"\0")]
        parameters = dict(zip(words[::2], words[1::2], strict=False))
        self._started = True
        try:
            self.connection = self._backend.connection(parameters)
        except PostgresError as error:
            self._answer += error.answer or message(
                b"E", b"SFATAL\0C08006\0M" + str(error).encode() + b"\0\0"
            )
            self.over = True
            return
        key = self.number.to_bytes(4)
        self._answer += message(b"R", (0).to_bytes(4))
        self._answer += self.connection.parameters
        self._answer += message(b"K", key + key)
        self._answer += message(b"Z", b"I")

    def client_left(self) -> None:
        """End the session; a statement that is under way is carried out first, as in reality."""
        self.over = True
        self._heard.clear()
        self._answer.clear()
        if not self.owing:
            self._retire()

    # from the server

    def ask_for_notifications(self) -> None:
        """Have the server say now what it would tell an idle session some time."""
        assert self.connection is not None
        self._talk.asked_hidden()
        self.connection.send(_SYNC)

    def hear_server(self) -> bool:
        """Read what the server has said; tell whether an answer was completed by it."""
        connection = self.connection
        if connection is None:
            return False
        was_owing = self.owing
        try:
            data = connection.sock.recv(1 << 18, _DONT_WAIT)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._lost()
            return True
        buffer = connection.buffer
        buffer += data
        at = 0
        answered = self._talk.answered
        while len(buffer) - at >= 5:
            end = at + 1 + int.from_bytes(buffer[at + 1 : at + 5])
            if len(buffer) < end:
                break
            kind = buffer[at]
            if kind == READY:
                self.status = chr(buffer[at + 5])
                connection.status = self.status
            visible = answered(kind)
            if kind in b"EN":
                body = bytes(buffer[at + 5 : end])
                if kind == ord("N") and _LOG.search(body):
                    self._log(body)
                elif visible:
                    self._answer += without_reality(kind, body, self._backend.numbers())
            elif kind == ord("A"):
                self._answer += self._notified(bytes(buffer[at:end]))
            elif visible:
                self._answer += buffer[at:end]
            at = end
        del buffer[:at]
        completed = was_owing and not self.owing
        if completed:
            self.cancelled = self.checked = False
            if self.over:
                self._retire()
        return completed

    def _log(self, body: bytes) -> None:
        """Read what the server's log says of locks; it is for us and not for the client."""
        if _STILL_WAITING in body:
            self.checked = True
        elif _ACQUIRED in body:
            self.checked = False

    def _notified(self, frame: bytes) -> bytes:
        pid = self._backend.numbers().get(int.from_bytes(frame[5:9]), 0)
        return frame[:5] + pid.to_bytes(4) + frame[9:]

    def report(self) -> str:
        """Say which statement was carried out and what came of it."""
        if self.owing or not self._answer:
            return ""
        return self._wording.of_result(self._statement, bytes(self._answer))

    def take(self) -> bytes:
        """Return the answer when it is complete."""
        if self.owing or not self._answer:
            return b""
        data = bytes(self._answer)
        self._answer.clear()
        return data

    # the end

    def _lost(self) -> None:
        """The server closed the connection: it ended the session, or it died."""
        connection, self.connection = self.connection, None
        self._talk = Conversation()
        self.over = True
        if connection is not None:
            connection.sock.close()
            self._backend.check_alive()

    def _retire(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            self._backend.give_back(connection, usable=self._talk.at_rest, wait=True)
        self._talk = Conversation()

    def drain(self) -> None:
        """Wait, in real time, for the end of a statement that has been cancelled."""
        while self.owing:
            if not polling._real_select((self,), (), (), 10.0)[0]:
                raise ServerGone(f"PostgreSQL does not end {self._statement or 'a statement'}")
            self.hear_server()
