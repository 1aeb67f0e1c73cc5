"""``socket.socket`` inside the world: the same calls, answered by the simulated network.

Only what a non-blocking event loop calls is there. A call that would block the thread, or
that has no counterpart in the simulation, raises an error that names the line.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

from desvelo.errors import UnsupportedInWorld
from desvelo.world import inside
from desvelo.world.actors import ACTOR
from desvelo.world.network import (
    Address,
    Connection,
    Network,
    Pipe,
    acting,
    describe_address,
)
from desvelo.world.threads.points import controlled, wait_until
from desvelo.world.whereabouts import calling_line

if TYPE_CHECKING:
    from desvelo.world.selector import WorldSelector

real_socket = socket.socket
_SUPPORTED = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class SimSocket(real_socket):
    """One end of a simulated connection, or a listener.

    It is a subclass of the real class, so that ``isinstance`` holds, and never opens a
    descriptor: the constructor of the real class is not called.
    """

    # The world that sockets are made in; set while an execution runs.
    network: Network | None = None
    selector: WorldSelector | None = None

    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        """Make a simulated socket inside the world and a real one outside."""
        # Other threads of the process, such as a test runner's, keep their real sockets.
        if cls.network is None or threading.get_ident() != inside._thread:
            return real_socket(*arguments, **options)
        made = cls.network.socket_class if cls is SimSocket else None
        return super().__new__(made or cls)

    def __init__(
        self,
        family: int = -1,
        type: int = -1,  # noqa: A002 - callers pass it by this name
        proto: int = -1,
        fileno: int | None = None,
    ) -> None:
        if fileno is not None:
            raise UnsupportedInWorld(
                f"socket(fileno={fileno}) at {calling_line()}: "
                "a simulated world has no descriptors of the kernel; "
                "open the connection inside the world instead"
            )
        network, selector = SimSocket.network, SimSocket.selector
        if network is None or selector is None:
            raise UnsupportedInWorld(
                f"a simulated socket was made outside its world at {calling_line()}"
            )
        self._family = socket.AF_INET if family == -1 else socket.AddressFamily(family)
        self._kind = socket.SOCK_STREAM if type == -1 else socket.SocketKind(int(type) & 0xF)
        self._proto = 0 if proto == -1 else proto
        if self._kind is not socket.SOCK_STREAM or self._family not in _SUPPORTED:
            raise UnsupportedInWorld(
                f"socket({self._family.name}, {self._kind.name}) at {calling_line()}: "
                "the simulated network has stream sockets over IPv4, IPv6 and Unix paths only"
            )
        self._network = network
        self._selector = selector
        self._timeout: float | None = socket.getdefaulttimeout()
        self._options: dict[tuple[int, int], Any] = {}
        self._connecting = False
        self._error = 0
        self._refs = 0
        self._close_wanted = False
        self._aborts = False
        self.closed = False
        self.address: Address = None
        self.peer_address: Address = None
        self.bound_keys: list[tuple[str, Any]] = []
        self.ephemeral_port: int | None = None
        self.connection: Connection | None = None
        self.is_client = False
        self.outgoing: Pipe | None = None
        self.incoming: Pipe | None = None
        self.created_by = ACTOR.get().name
        self.created_at = calling_line() if network.medium.tracing else ""
        self.spawned_by: SimSocket | None = None
        """The listener that a server's end came from."""
        self._told_of_reset = False
        self._write_closed = False
        self._read_closed = False
        # Listeners only.
        self.listening = False
        self.backlog = 0
        self.expected = 0
        self.queue: deque[SimSocket] = deque()
        self.waiting: deque[Callable[[], None]] = deque()
        self._fd = network.open(self)

    # what it is

    @property
    def only_v6(self) -> bool:
        """Whether IPV6_V6ONLY is set."""
        return bool(self._options.get((socket.IPPROTO_IPV6, socket.IPV6_V6ONLY), 0))

    @property
    def family(self) -> socket.AddressFamily:
        """The address family."""
        return self._family

    @property
    def type(self) -> socket.SocketKind:
        """The kind of socket; always a stream."""
        return self._kind

    @property
    def proto(self) -> int:
        """The protocol number."""
        return self._proto

    @property
    def timeout(self) -> float | None:
        """The time-out in seconds; 0.0 is non-blocking."""
        return self._timeout

    @property
    def label(self) -> str:
        """Name it for a story."""
        if self.listening or self.connection is None:
            return f"the socket at {describe_address(self.address)}" if self.address else "a socket"
        return f"connection {self.connection.number}"

    @property
    def lane(self) -> str:
        """The column of the story that it belongs to."""
        if self.connection is None:
            return ACTOR.get().lane
        return self.connection.name if self.is_client else self.connection.lane

    @property
    def reuse_address(self) -> bool:
        """Whether SO_REUSEADDR is set."""
        return bool(self._options.get((socket.SOL_SOCKET, socket.SO_REUSEADDR), 0))

    @property
    def reuse_port(self) -> bool:
        """Whether SO_REUSEPORT is set."""
        return bool(self._options.get((socket.SOL_SOCKET, socket.SO_REUSEPORT), 0))

    def __repr__(self) -> str:
        return f"<SimSocket {self.label}{' [closed]' if self.closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def __getstate__(self) -> Any:
        raise TypeError("cannot pickle a socket")

    def fileno(self) -> int:
        """Return the simulated descriptor, -1 when closed."""
        return -1 if self.closed else self._fd

    def setblocking(self, flag: bool, /) -> None:
        """Set blocking mode; in the loop's own thread a call that would block is refused."""
        self._timeout = None if flag else 0.0

    def settimeout(self, value: float | None, /) -> None:
        """Set the time-out."""
        self._timeout = value

    def gettimeout(self) -> float | None:
        """Return the time-out."""
        return self._timeout

    def getblocking(self) -> bool:
        """Tell whether the socket is in blocking mode."""
        return self._timeout is None or self._timeout > 0

    def setsockopt(self, level: int, option: int, value: Any, optlen: int | None = None, /) -> None:
        """Remember an option; those for the address are honoured."""
        self._check_open()
        self._options[level, option] = value
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self._aborts = tuple(struct.unpack("ii", value)) == (1, 0)

    def getsockopt(self, level: int, option: int, buflen: int = 0, /) -> Any:
        """Return an option; SO_ERROR is the outcome of the last connect."""
        self._check_open()
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            error, self._error = self._error, 0
            return error
        if (level, option) == (socket.SOL_SOCKET, socket.SO_TYPE):
            return int(self._kind)
        return self._options.get((level, option), 0)

    def getsockname(self) -> Address:
        """Return the local address."""
        self._check_open()
        if self.address is None:
            return "" if self._family == socket.AF_UNIX else ("0.0.0.0", 0)  # noqa: S104 - the wildcard of a simulated machine
        return self.address

    def getpeername(self) -> Address:
        """Return the peer's address; raises ENOTCONN without one."""
        self._check_open()
        if self.connection is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self.peer_address if self.peer_address is not None else ""

    def get_inheritable(self) -> bool:
        """Tell whether child processes get it; there are none."""
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        """Do nothing: a world has no child processes."""

    # addresses

    def bind(self, address: Address, /) -> None:
        """Claim a local address."""
        self._check_open()
        self.address = self._network.bind(self, address)

    def listen(self, backlog: int = 128, /) -> None:
        """Take connections, at most ``backlog`` waiting."""
        self._check_open()
        self.backlog = max(1, backlog)
        self._network.listen(self)
        self.listening = True

    def connect(self, address: Address, /) -> None:
        """Connect; on a non-blocking socket the outcome is seen later."""
        self._check_open()
        self._check_non_blocking("connect", address)
        if self.connection is not None:
            raise OSError(errno.EISCONN, os.strerror(errno.EISCONN))
        if self._connecting:
            raise OSError(errno.EALREADY, os.strerror(errno.EALREADY))
        self._network.connect(self, address)
        self._connecting = True
        if self._timeout == 0.0:
            raise BlockingIOError(errno.EINPROGRESS, os.strerror(errno.EINPROGRESS))
        self._wait(lambda: not self._connecting, f"a connection to {describe_address(address)}")
        error, self._error = self._error, 0
        if error:
            raise OSError(error, os.strerror(error))

    def connect_ex(self, address: Address, /) -> int:
        """Connect and return the error number instead of raising."""
        try:
            self.connect(address)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    # what the network tells it

    def attach(
        self, connection: Connection, *, outgoing: Pipe, incoming: Pipe, client: bool
    ) -> None:
        """Become one end of a connection."""
        self.connection = connection
        self.outgoing = outgoing
        self.incoming = incoming
        self.is_client = client

    def connected(self) -> None:
        """Learn that the connection stands."""
        self._connecting = False
        self.wake_writer()

    def refuse(self, error: int) -> None:
        """Learn that there is no connection."""
        self._connecting = False
        self._error = error
        self.peer_address = None
        self.wake_writer()

    def wake_reader(self) -> None:
        """Have the selector report that there is something to read."""
        if not self.closed:
            self._selector.readable(self._fd)

    def wake_writer(self) -> None:
        """Have the selector report that there is room to write."""
        if not self.closed:
            self._selector.writable(self._fd)

    def has_input(self) -> bool:
        """Tell whether a read would not block."""
        if self.listening:
            return bool(self.queue)
        pipe = self.incoming
        return pipe is not None and bool(pipe.arrived or pipe.ended or pipe.reset)

    def has_room(self) -> bool:
        """Tell whether a write would not block."""
        if self._connecting:
            return False
        pipe = self.outgoing
        if pipe is None or pipe.reset or (self.incoming is not None and self.incoming.reset):
            return True
        return not pipe.short_of_room and pipe.room() > 0

    # listeners

    def queue_is_full(self) -> bool:
        """Tell whether the backlog has no room for one more."""
        return self.expected >= self.backlog

    def spawn(self, client: SimSocket, address: Address) -> SimSocket:
        """Make the server's end for a connection that arrives."""
        server = SimSocket(self._family, self._kind, self._proto)
        server.address = address
        server.peer_address = client.address if client.address is not None else ""
        return server

    def enqueue(self, server: SimSocket) -> None:
        """Let a connection become acceptable."""
        if self.closed:
            server.abort()
            return
        self.queue.append(server)
        self.wake_reader()

    def accept(self) -> tuple[SimSocket, Address]:
        """Take the next connection; what is done for it is done in its client's name."""
        self._check_open()
        self._check_non_blocking("accept")
        if not self.queue:
            self._wait(lambda: bool(self.queue) or self.closed, "a client to connect")
            self._check_open()
        server = self.queue.popleft()
        self.expected -= 1
        while self.waiting and not self.queue_is_full():
            self.waiting.popleft()()
        connection = server.connection
        if connection is not None:
            ACTOR.set(connection)
            medium = self._network.medium
            if medium.tracing:
                medium.note("accept", connection.lane, f"accepts connection {connection.number}")
        return server, server.peer_address

    def perish(self) -> None:
        """Listen no longer, as when the process has died; its program still has the socket."""
        self._network.release(self)
        for server in self.queue:
            server.abort()
        self.queue.clear()
        waiting, self.waiting = self.waiting, deque()
        for retry in waiting:
            retry()

    # data

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send bytes, possibly fewer than given; raises when there is no room."""
        pipe = self._writing("send")
        actor = acting(self.connection, client=self.is_client)
        payload = bytes(data)
        if not payload:
            return 0
        accepted = pipe.send(payload, actor)
        while not accepted:
            self._wait(self._can_write, f"room to write on {self.label}")
            pipe = self._writing("send")
            accepted = pipe.send(payload, actor)
        medium = self._network.medium
        if medium.tracing:
            medium.note("send", self.lane, f"sends {pipe.describe(payload[:accepted])}")
        return accepted

    def sendmsg(self, buffers: Iterable[Any], *rest: Any) -> int:
        """Send several buffers as one."""
        return self.send(b"".join(bytes(part) for part in buffers))

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send everything or raise."""
        view = memoryview(bytes(data))
        while view:
            view = view[self.send(view) :]

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Return what has arrived, at most ``size`` bytes; ``b""`` at the end."""
        self._check_open()
        if self._timeout != 0.0 and not self._can_read() and not flags & socket.MSG_DONTWAIT:
            self._check_non_blocking("recv")
            self._wait(self._can_read, f"an answer on {self.label}")
            self._check_open()
        pipe = self.incoming
        if pipe is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        if pipe.arrived:
            if flags & socket.MSG_PEEK:
                return bytes(pipe.arrived[:size])
            return pipe.take(size)
        if pipe.ended or self._read_closed:
            return b""
        if pipe.reset:
            # Linux says so once, to whoever asks first; then the stream is simply at its end.
            if self._told_of_reset:
                return b""
            self._told_of_reset = True
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:
        """Read into a buffer and return the number of bytes."""
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def recvfrom(self, size: int, flags: int = 0, /) -> tuple[bytes, Address]:
        """Read, with the peer's address."""
        return self.recv(size, flags), self.peer_address

    def shutdown(self, how: int, /) -> None:
        """Close one direction or both."""
        self._check_open()
        if self.connection is None or (self.incoming is not None and self.incoming.reset):
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            self._end_stream()
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self._read_closed = True

    def close(self) -> None:
        """Close as TCP does: FIN after the data, RST when unread data is thrown away."""
        self._close_wanted = True
        if self._refs == 0:
            self._really_close()

    def abort(self) -> None:
        """Close with a reset, as a kernel does with connections that nobody accepted."""
        self._aborts = True
        self.close()

    def detach(self) -> int:
        """Refuse: the descriptor means nothing outside the world."""
        raise UnsupportedInWorld(
            f"socket.detach() at {calling_line()}: the descriptor of a simulated socket means "
            "nothing to anybody else"
        )

    def dup(self) -> SimSocket:
        """Refuse, as `detach` does."""
        raise UnsupportedInWorld(f"socket.dup() at {calling_line()}: not in the simulated network")

    def makefile(self, *arguments: Any, **options: Any) -> Any:
        """Refuse: a file object reads by blocking."""
        raise UnsupportedInWorld(
            f"socket.makefile() at {calling_line()}: "
            "it reads by blocking the thread, which would hold the whole world; use asyncio streams"
        )

    def _really_close(self) -> None:
        if self.closed:
            return
        self._selector.gone(self._fd)
        for server in self.queue:
            server.abort()
        self.queue.clear()
        waiting, self.waiting = self.waiting, deque()
        pipe, back = self.outgoing, self.incoming
        self.closed = True
        self._network.forget(self, self._fd)
        if pipe is not None and back is not None and not pipe.reset and not back.reset:
            actor = acting(self.connection, client=self.is_client)
            if back.arrived or self._aborts:
                pipe.fail_later(actor)
            else:
                if not self._write_closed:
                    pipe.end(actor)
                if not back.ended and self.address and self._family != socket.AF_UNIX:
                    self._network.linger(self.address[:2])
            back.arrived.clear()
        for retry in waiting:
            retry()

    def forget_silently(self) -> None:
        """Drop the socket at the end of its world; nobody is told."""
        self.closed = True
        self._network.forget(self, self._fd)

    def _end_stream(self) -> None:
        if not self._write_closed and self.outgoing is not None:
            self._write_closed = True
            if not self.outgoing.reset:
                self.outgoing.end(acting(self.connection, client=self.is_client))

    def _writing(self, call: str) -> Pipe:
        self._check_open()
        pipe = self.outgoing
        if pipe is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        back = self.incoming
        if back is not None and back.reset and not back.ended and not self._told_of_reset:
            self._told_of_reset = True
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if (back is not None and back.reset) or pipe.reset or self._write_closed:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        self._check_non_blocking(call)
        return pipe

    def _check_open(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def _can_read(self) -> bool:
        # A call that would raise does not block either.
        return self.closed or self.incoming is None or self._read_closed or self.has_input()

    def _can_write(self) -> bool:
        return self.closed or self.has_room()

    def _wait(self, ready: Callable[[], bool], why: str) -> None:
        """Block this thread as long as the socket's time-out allows."""
        if self._timeout == 0.0:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if not wait_until(ready, why, timeout=self._timeout):
            raise TimeoutError("timed out")

    def _check_non_blocking(self, call: str, address: Address = None) -> None:
        if self._timeout == 0.0 or controlled():
            return
        target = f" to {describe_address(address)}" if address is not None else ""
        raise UnsupportedInWorld(
            f"blocking socket.{call}(){target} at {calling_line()}: "
            "it would hold the event loop and with it the whole world; "
            "use an asynchronous client, or leave this call out of the scenario"
        )


def socketpair(
    family: int = socket.AF_UNIX,
    type: int = socket.SOCK_STREAM,  # noqa: A002 - callers pass it by this name
    proto: int = 0,
) -> tuple[SimSocket, SimSocket]:
    """Return two connected simulated sockets, as ``socket.socketpair`` does."""
    one, other = SimSocket(family, type, proto), SimSocket(family, type, proto)
    one.peer_address = other.peer_address = one.address = other.address = ""
    one._network.join(one, other, ACTOR.get().name)
    return one, other


def _refuse(name: str) -> Any:
    def call(self: SimSocket, *arguments: Any, **options: Any) -> Any:
        raise UnsupportedInWorld(
            f"socket.{name}() at {calling_line()}: the simulated network has plain streams only"
        )

    return call


for _name in ("ioctl", "recvfrom_into", "recvmsg", "recvmsg_into", "sendfile", "sendto"):
    if hasattr(real_socket, _name):
        setattr(SimSocket, _name, _refuse(_name))
