"""A Redis server in this process: fakeredis behind real connections of the event loop.

In a simulated world its connections are simulated ones, so clients of every kind run their own
connection code, each command arrives at a moment that the schedule decides, and times to live
follow the virtual clock.
"""

from __future__ import annotations

import asyncio
import importlib.util
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self, TypeVar

from desvelo.errors import UsageError
from desvelo.servers.launch import ServerUnavailable
from desvelo.world.held.redis_connection import RedisError, decode, encode_command
from desvelo.world.held.resp import Commands, describe, tell_command
from desvelo.world.inside import current
from desvelo.world.sockets import SimSocket
from desvelo.world.threads.points import wait_until

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")

HOW_TO_GET_IT = 'the embedded Redis server needs fakeredis with Lua: pip install "fakeredis[lua]"'


class EmbeddedRedis:
    r"""A Redis server that listens in the event loop that starts it; an async context manager.

    It keeps nothing when it stops. Raises `ServerUnavailable` when fakeredis is not installed,
    `OSError` when the port is taken. Port 0 lets the loop choose one, see `port` and `url`.

    Each command is carried out in one step, when its last byte has arrived. Blocking commands,
    publishing and subscribing work; what fakeredis does not know is answered with an error.

    >>> async def example():
    ...     async with EmbeddedRedis(port=0) as server:
    ...         reader, writer = await asyncio.open_connection(server.host, server.port)
    ...         writer.write(
    ...             b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n1\r\n*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n"
    ...         )
    ...         answer = await reader.readexactly(9)
    ...         writer.close()
    ...         await writer.wait_closed()
    ...         return answer
    >>> asyncio.run(example())
    b'+OK\r\n:2\r\n'
    """

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 6379, version: tuple[int, ...] = (7, 0)
    ) -> None:
        self.host = host
        self.port = port
        self._version = version
        self._listener: asyncio.Server | None = None
        self.connections: dict[_Connection, None] = {}
        """Who is connected, in the order in which they came."""
        self.data: Any = None
        """The `fakeredis.FakeServer` behind it."""

    @property
    def url(self) -> str:
        """Where clients connect to; the real port once it has started."""
        return f"redis://{self.host}:{self.port}/0"

    async def start(self) -> None:
        """Listen, with empty databases."""
        self.data = _fakeredis().FakeServer(version=self._version)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: _Connection(self, loop), self.host, self.port
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection; what is under way is not answered."""
        listener = self._hang_up()
        while self.connections:
            await next(iter(self.connections)).gone
        if listener is not None:
            await listener.wait_closed()

    def start_for_threads(self) -> None:
        """Do as `start` does, in a world of threads, where nothing can be awaited."""
        loop = _loop_of_the_world()
        self.data = _fakeredis().FakeServer(version=self._version)
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((self.host, self.port))
        except OSError:
            sock.close()
            raise
        sock.setblocking(False)
        self._listener = _at_once(loop.create_server(lambda: _Connection(self, loop), sock=sock))
        self.port = sock.getsockname()[1]

    def stop_for_threads(self) -> None:
        """Do as `stop` does, in a world of threads."""
        self._hang_up()
        wait_until(lambda: not self.connections, "the connections of the embedded Redis to close")

    def _hang_up(self) -> asyncio.Server | None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        for connection in list(self.connections):
            connection.hang_up()
        return listener

    def run(self, *words: str | int | bytes) -> Any:
        """Run a command beside all clients, at once, and return its reply.

        For checks that look at the data without taking part; raises `RedisError` for an error.
        """
        aside = _Aside()
        session = _session_class()(self.data, aside, None)
        try:
            session.sendall(encode_command(*words))
        finally:
            session.close()
        reply = decode(bytes(aside.written))
        if isinstance(reply, RedisError):
            raise reply
        return reply

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


def _loop_of_the_world() -> asyncio.AbstractEventLoop:
    world = current()
    if world is None:
        raise UsageError("start_for_threads() works in a simulated world only; await start()")
    return world.loop


def _at_once(starting: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end that waits for nothing but its next turn."""
    try:
        while True:
            starting.send(None)
    except StopIteration as end:
        result: T = end.value
        return result


class _Connection(asyncio.Protocol):
    """One client's connection, from its bytes to fakeredis and back."""

    def __init__(self, server: EmbeddedRedis, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._session: Any = None
        self._transport: Any = None
        self._commands = Commands()
        self._lane = ""
        self.gone: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._session = _session_class()(self._server.data, transport, self._loop)
        self._server.connections[self] = None
        sock = getattr(transport.get_extra_info("socket"), "_sock", None)
        if isinstance(sock, SimSocket) and sock.incoming and sock.outgoing:
            # How a story words what goes to and fro.
            self._lane = sock.lane
            sock.incoming.describer = lambda data: describe(data, sent=True)
            sock.outgoing.describer = lambda data: describe(data, sent=False)

    def data_received(self, data: bytes) -> None:
        world = current()
        if world is not None and world.tracing and self._lane:
            for command in self._commands.feed(data):
                self._session.said.clear()
                self._session.sendall(command.raw)
                replies = describe(b"".join(self._session.said), sent=False)
                told = f"{tell_command(command)} -> {replies or 'waits'}"
                world.note("statement", self._lane, told)
        else:
            self._session.sendall(data)
        if self._session.is_killed:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.pop(self, None)
        self._session.close()
        self._transport = self._session = None
        self.gone.set_result(None)

    def hang_up(self) -> None:
        """Close from this side."""
        self._transport.close()


class _Aside:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return "aside", 0


def _fakeredis() -> Any:
    if importlib.util.find_spec("fakeredis") is None or importlib.util.find_spec("lupa") is None:
        raise ServerUnavailable(HOW_TO_GET_IT)
    import fakeredis

    return fakeredis


@lru_cache(maxsize=1)
def _session_class() -> Any:
    """Return the class of sessions; it can be made only when fakeredis is there."""
    import redis
    from fakeredis._helpers import NoResponse, SimpleError
    from fakeredis._socket import FakeSocket

    class Session(FakeSocket):
        """What fakeredis holds of one client; replies go to the transport as they are made."""

        def __init__(self, server: Any, transport: Any, loop: Any) -> None:
            super().__init__(
                server,
                0,
                client_class=redis.Redis,
                lua_modules=set(),
                client_info={
                    "addr": transport.get_extra_info("peername"),
                    "laddr": transport.get_extra_info("sockname"),
                },
            )
            self._transport = transport
            self._loop = loop
            self.said: deque[bytes] = deque(maxlen=16)
            """What it was told last, for the trace."""
            self._number = int(self._client_info["id"])

        @property
        def is_killed(self) -> bool:
            """Whether another client has ended it."""
            return bool(self._killed)

        def __hash__(self) -> int:
            # Subscribers are kept in sets: they are told in the order in which they connected.
            return self._number

        def put_response(self, msg: Any) -> None:
            if self._transport.is_closing():
                return
            protocol = self._client_info.protocol_version
            if isinstance(msg, _Reply):
                data = encode(msg.value, protocol)
            else:
                data = encode(msg, protocol)
                if protocol == 3 and isinstance(msg, list):
                    data = b">" + data[1:]
            self.said.append(data)
            self._transport.write(data)

        def _decode_result(self, result: Any) -> Any:
            # Status lines and errors stay what they are until they are written; and what is put
            # without passing here is no reply, but a message to a subscriber.
            return result if isinstance(result, NoResponse) else _Reply(result)

        def _blocking(
            self,
            timeout: float | None,
            func: Callable[[bool], Any],
            shape: Callable[[Any], Any] | None = None,
        ) -> Any:
            """Answer now, or when another client has brought what is waited for."""

            def shaped(found: Any) -> Any:
                return found if shape is None else shape(found)

            found = func(True)
            if found is not None or self._in_transaction or self._loop is None:
                return shaped(found)
            database = self._db

            def look_again() -> None:
                # Not before the command that brought it is over.
                self._loop.call_soon(look)

            def look(*, over: bool = False) -> None:
                if not self._blocked or self._server is None:
                    return
                with self._server.lock:
                    try:
                        unblocked = self._unblock_reason is not None
                        if unblocked:
                            self._take_unblock_reason()
                        found = func(False)
                        if found is None and not over and not unblocked:
                            return
                        reply = shaped(found)
                    except SimpleError as error:
                        reply = error
                    database.remove_change_callback(look_again)
                    self._blocked = False
                self.put_response(_Reply(reply))
                if timer is not None:
                    timer.cancel()
                self.resume()

            timer = self._loop.call_later(timeout, lambda: look(over=True)) if timeout else None
            database.add_change_callback(look_again)
            self._blocked = True
            self.pause()
            return NoResponse()

    return Session


class _Reply:
    """What a command answers, as fakeredis has it."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def encode(value: Any, protocol: int) -> bytes:
    r"""Write a reply as RESP2 or RESP3.

    Source: https://redis.io/docs/latest/develop/reference/protocol-spec

    >>> encode([b"a", 1, None], 2), encode([1.5, None, True], 3)
    (b'*3\r\n$1\r\na\r\n:1\r\n$-1\r\n', b'*3\r\n,1.5\r\n_\r\n#t\r\n')
    """
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, bool):
        return (b"#t\r\n" if value else b"#f\r\n") if protocol == 3 else b":%d\r\n" % value
    if isinstance(value, int):
        return b":%d\r\n" % value
    if value is None:
        return b"_\r\n" if protocol == 3 else b"$-1\r\n"
    if isinstance(value, str):
        return encode(value.encode(), protocol)
    if isinstance(value, float):
        text = b"%r" % value if not value.is_integer() else b"%d" % value
        return b",%b\r\n" % text if protocol == 3 else encode(text, protocol)
    if isinstance(value, dict):
        parts = [encode(part, protocol) for pair in value.items() for part in pair]
        head = b"%%%d\r\n" % len(value) if protocol == 3 else b"*%d\r\n" % len(parts)
        return head + b"".join(parts)
    if isinstance(value, (list, tuple)):
        return b"*%d\r\n" % len(value) + b"".join([encode(part, protocol) for part in value])
    if isinstance(value, Exception):
        return b"-%b\r\n" % str(getattr(value, "value", value)).encode()
    return b"+%b\r\n" % value.value


__all__ = ["EmbeddedRedis"]
