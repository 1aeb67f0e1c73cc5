"""A real Redis server behind simulated connections.

Commands are handed over when all of their bytes have arrived, and have exactly one reply each;
what has not is refused. Times to live run by the server's own clock, which is the real one.
"""

from __future__ import annotations

import re
import socket
from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from desvelo.errors import ServerGone, UnsupportedInWorld
from desvelo.world.held.redis_connection import RedisConnection, RedisError
from desvelo.world.held.resp import Command, Commands, Replies, describe, refusal, tell_command

if TYPE_CHECKING:
    from desvelo.servers.redis import RedisServer

_OWN_ID = re.compile(rb"(\$2\r\nid\r\n:)\d+\r\n")
_MANY = 65536


class RedisBackend:
    """One real Redis server, for all executions of this process.

    A server that was started here is emptied before each execution; of another one the data stays
    what it is, and so may differ from run to run.
    """

    name = "Redis"

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._side: RedisConnection | None = None
        self._idle: deque[RedisConnection] = deque()

    def begin(self) -> None:
        """Empty a server of ours: data, scripts, functions."""
        if self._server.ours:
            self._aside([("FLUSHALL",), ("SCRIPT", "FLUSH"), *self._functions()])

    def _functions(self) -> list[tuple[str, ...]]:
        return [("FUNCTION", "FLUSH")] if int(self._server.version.split(".")[0]) >= 7 else []

    def session(self, number: int) -> RedisSession:
        """Return the session of a client that has just connected."""
        connection = self._idle.popleft() if self._idle else RedisConnection(self._server.address)
        return RedisSession(self, number, connection)

    def pry(self, sessions: Collection[Any]) -> bool:
        """Do nothing: what others publish has been written before they are answered."""
        return False

    def close(self) -> None:
        """Close everything."""
        for connection in (*self._idle, *([self._side] if self._side is not None else [])):
            connection.close()
        self._idle.clear()
        self._side = None

    def freeze(self, session: Any) -> None:
        """Do nothing: the server has one thread, and wakes those who wait in their order."""

    def thaw(self, session: Any) -> None:
        """Do nothing: nobody was frozen."""

    def held_up(self, sessions: Collection[Any]) -> bool:
        """Say no: nobody was frozen."""
        return False

    def waiting(
        self, asked: Collection[Any], sessions: Collection[Any], silence: float
    ) -> dict[Any, str]:
        """Return those sessions that the server says are blocked."""
        suspects = [session for session in asked if session.may_wait]
        if not suspects:
            return {}
        listed = self._aside([("CLIENT", "LIST", "TYPE", "NORMAL")])[0].decode()
        blocked = set(re.findall(r"^id=(\d+) .*flags=\w*b", listed, re.MULTILINE))
        return {
            session: "another client to do something"
            for session in suspects
            if str(session.connection_id) in blocked
        }

    def end(self, sessions: Collection[Any]) -> None:
        """Take the connections of an execution back."""
        for session in sorted(sessions, key=lambda session: session.number):
            session.client_left()

    def give_back(self, connection: RedisConnection) -> None:
        """Make a connection as good as new and keep it; raises `ServerGone`."""
        try:
            connection.command("RESET")
        except RedisError:
            # Older than Redis 6.2.
            connection.close()
            return
        self._idle.append(connection)

    def _aside(self, commands: list[tuple[str, ...]]) -> list[Any]:
        if self._side is None:
            self._side = RedisConnection(self._server.address)
        try:
            return self._side.commands(list(commands))
        except ServerGone:
            self._side.close()
            self._side = None
            raise


class RedisSession:
    """One client's session with a real Redis server."""

    def __init__(self, backend: RedisBackend, number: int, connection: RedisConnection) -> None:
        self.number = number
        self.over = False
        self._backend = backend
        self._connection: RedisConnection | None = connection
        self._commands = Commands()
        self._replies = Replies()
        self._asked: deque[Command] = deque()
        self._answer: list[bytes] = []
        self._done: list[tuple[Command, bytes]] = []
        self.connection_id = 0

    @property
    def owing(self) -> bool:
        """Whether a command is without its reply."""
        return bool(self._asked)

    @property
    def may_wait(self) -> bool:
        """Whether it may be blocked."""
        return any(command.may_wait for command in self._asked)

    def hear_client(self, data: bytes) -> None:
        """Send on what is complete; raises `UnsupportedInWorld` for what cannot be held."""
        commands = list(self._commands.feed(data))
        for command in commands:
            why = refusal(command)
            if why is not None:
                raise UnsupportedInWorld(why)
        if not commands or self._connection is None:
            return
        if self.connection_id == 0 and any(command.may_wait for command in commands):
            self.connection_id = self._connection.command("CLIENT", "ID")
        self._asked.extend(commands)
        sock = self._connection.socket
        try:
            sock.sendall(b"".join([command.raw for command in commands]))
        except OSError as error:
            raise self._gone() from error

    def hear_server(self) -> bool:
        """Read replies; tell whether there was a complete one."""
        if self._connection is None:
            return False
        try:
            data = self._connection.socket.recv(_MANY, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._gone() from error
        if not data:
            raise self._gone()
        before = len(self._answer)
        for reply in self._replies.feed(data):
            command = self._asked.popleft()
            told = self._told(command, reply)
            self._answer.append(told)
            self._done.append((command, told))
        return len(self._answer) > before

    def _told(self, command: Command, reply: bytes) -> bytes:
        """Number the session by its place in the execution: the server counts on for ever."""
        if command.name == b"HELLO":
            return _OWN_ID.sub(rb"\g<1>%d\r\n" % self.number, reply)
        if [word.upper() for word in command.words] == [b"CLIENT", b"ID"] and reply[:1] == b":":
            return b":%d\r\n" % self.number
        return reply

    def report(self) -> str:
        """Say which commands were carried out since the last report, and what they returned."""
        told = [
            f"{tell_command(command)} -> {describe(reply, sent=False)}"
            for command, reply in self._done
        ]
        return "; ".join(told)

    def take(self) -> bytes:
        """Return, once, the complete replies."""
        self._done.clear()
        answer, self._answer = b"".join(self._answer), []
        return answer

    def client_left(self) -> None:
        """End: what it has watched, queued or waits for is given up."""
        connection, self._connection = self._connection, None
        self.over = True
        if connection is None:
            return
        if self._asked:
            self._asked.clear()
            connection.close()
        else:
            self._backend.give_back(connection)

    def fileno(self) -> int:
        """Return the descriptor of the real connection."""
        return self._connection.socket.fileno() if self._connection is not None else -1

    def doing(self) -> str:
        """Return the command that has no reply yet."""
        if not self._asked:
            return ""
        return tell_command(self._asked[0])

    def describe(self, data: bytes, *, sent: bool) -> str:
        """Describe commands, or replies."""
        return describe(data, sent=sent)

    def _gone(self) -> ServerGone:
        self._asked.clear()
        return ServerGone("the Redis server closed the connection: it was stopped, or has died")
