"""The simulated network of one world: hosts, ports, connections and the bytes between them.

It is one machine that answers to every name. Bytes are sent at one moment and arrive at
another; what lies between is a decision. Buffers are bounded, closing follows TCP (FIN after
the data, RST when unread data is thrown away, TIME_WAIT on the side that closed first).
"""

from __future__ import annotations

import errno
import functools
import ipaddress
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from desvelo.world.actors import ACTOR, WORLD, Actor
from desvelo.world.interference import Interference
from desvelo.world.messages import Exchange

if TYPE_CHECKING:
    from desvelo.world.held.bridge import Bridge
    from desvelo.world.sockets import SimSocket

CAPACITY = 128 * 1024
"""Bytes that one direction of a connection holds, in flight and unread together."""

EPHEMERAL = range(32768, 61000)
TIME_WAIT_NS = 60 * 1_000_000_000
LONG_NS = 300 * 1_000_000_000
"""What a fault keeps back arrives this much later: after any time-out, as a rule."""

DRIPS = 64
"""Bytes of one piece that a slow drip lets arrive one by one; the rest of it follows as one."""

ANY_V4, ANY_V6 = "0.0.0.0", "::"  # noqa: S104 - the wildcard of a simulated machine
_TLS_HANDSHAKE = b"\x16\x03"
FIRST_FD = 1_000_000
"""Simulated descriptors start here, so that none is mistaken for one of the kernel."""

Address = Any
"""A socket address as the socket module writes it: a tuple, or a path for Unix sockets."""


class Medium(Protocol):
    """What the network needs from its world: events, time, and a place to record."""

    def post(
        self, kind: str, actor: str, fire: Callable[[], None], *, behind: bool = False
    ) -> None:
        """Make something possible; the schedule decides when it is seen."""

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Take one decision."""

    def note(self, kind: str, lane: str, text: str) -> None:
        """Write a row of the trace, when one is kept."""

    def later(self, actor: str, fire: Callable[[], None], nanoseconds: int) -> Callable[[], None]:
        """Let something happen when so much time has passed; return what calls it off."""

    @property
    def now_ns(self) -> int:
        """Return the virtual time."""

    @property
    def tracing(self) -> bool:
        """Tell whether a trace is kept, so that nobody builds texts for nothing."""


class Connection(Actor):
    """Two connected sockets; an actor in the name of the operation that wrote last."""

    __slots__ = ("exchange", "number")

    def __init__(self, number: int, owner: str) -> None:
        super().__init__(owner, "server")
        self.number = number
        self.exchange: Exchange | None = None
        """How far its messages are; known where faults may strike."""


class Segment:
    """Bytes under way, or the end of the stream (``None``), and whether they may arrive."""

    __slots__ = ("data", "ends", "permitted", "slowed")

    def __init__(self, data: bytes | None, *, ends: bool = True) -> None:
        self.data = data
        self.ends = ends
        """Whether they are the last of one call of ``send``."""
        self.permitted = False
        self.slowed = False
        """Whether it has been taken out of a slow drip: it will not be slowed again."""


class Pipe:
    """One direction of a connection: what is in flight, what has arrived, how it ends."""

    __slots__ = (
        "_call_off",
        "arrived",
        "connection",
        "cut",
        "describer",
        "encrypted",
        "ended",
        "in_flight",
        "network",
        "reader",
        "reset",
        "segments",
        "short_of_room",
        "withheld",
        "writer",
    )

    def __init__(
        self, network: Network, connection: Connection, writer: SimSocket, reader: SimSocket
    ) -> None:
        self.network = network
        self.connection = connection
        self.writer = writer
        self.reader = reader
        self.arrived = bytearray()
        self.in_flight = 0
        self.segments: deque[Segment] = deque()
        """What is under way, in order."""
        self._call_off: Callable[[], None] = _nothing
        self.withheld = b""
        """A fault: bytes that arrive only when it lets them; nothing overtakes them."""
        self.cut = False
        """A fault: the reader is shown an end that the writer has not sent."""
        self.ended = False
        self.reset = False
        self.short_of_room = False
        self.encrypted: bool | None = None
        """Whether it began with a TLS handshake; unknown until something was sent."""
        self.describer: Callable[[bytes], str] | None = None
        """Who describes its messages, when that takes knowledge of their protocol."""

    def room(self) -> int:
        """Return how many bytes may be sent now."""
        return self.network.capacity - self.in_flight - len(self.arrived)

    def send(self, data: bytes, actor: str) -> int:
        """Put bytes under way and return how many were accepted; 0 when there is no room."""
        room = self.room()
        accepted = min(len(data), room)
        # Whoever fills the buffer is told when there is room again, also when a part went in.
        self.short_of_room = accepted == room
        if accepted <= 0:
            return 0
        medium = self.network.medium
        cut = medium.decide("split", actor, 5) if accepted > 1 else 0
        if self.network.dripping and self.connection.name in self.network.dripping:
            cut = 1 if accepted > 1 else 0
        if cut == 4:
            accepted = (accepted + 1) // 2
            self.short_of_room = False
            data = data[:accepted]
            self._launch(data, actor)
        elif cut:
            at = (0, 1, accepted // 2, accepted - 1)[cut]
            self._launch(data[:at], actor, ends=False)
            self._launch(data[at:accepted], actor, behind=True)
        else:
            self._launch(data if accepted == len(data) else data[:accepted], actor)
        return accepted

    def end(self, actor: str) -> None:
        """Send the end of the stream after all that was sent before."""
        self._post(Segment(None), actor)

    def _launch(self, data: bytes, actor: str, *, behind: bool = False, ends: bool = True) -> None:
        self.in_flight += len(data)
        self._post(Segment(data, ends=ends), actor, behind=behind)

    def _post(self, segment: Segment, actor: str, *, behind: bool = False) -> None:
        self.segments.append(segment)
        permit = functools.partial(self._permit, segment)
        self.network.medium.post("deliver", actor, permit, behind=behind)

    def _permit(self, segment: Segment) -> None:
        """Let a segment arrive, after all before it: a stream never overtakes itself."""
        segment.permitted = True
        self.flow()

    def flow(self) -> None:
        """Let arrive what may arrive."""
        segments, network = self.segments, self.network
        while segments and segments[0].permitted and not self.withheld:
            segment = segments.popleft()
            if network.watched:
                network.interference.arrive(self, segment)
            else:
                self.deliver(segment.data)

    def deliver(self, segment: bytes | None) -> None:
        """Let bytes arrive, or the end of the stream."""
        medium = self.network.medium
        if self.ended:
            if segment is not None:
                # A proxy that has ended it on its other side can only reset.
                self.break_off()
            return
        if segment is None:
            self.ended = True
            if medium.tracing:
                medium.note("end", self.reader.lane, f"end of stream on {self.reader.label}")
            self.reader.wake_reader()
            return
        self.in_flight -= len(segment)
        if self.reader.closed:
            self._bounce()
            return
        self.arrived += segment
        if medium.tracing:
            medium.note("deliver", self.reader.lane, f"receives {self.describe(segment)}")
        self.reader.wake_reader()

    def describe(self, data: bytes) -> str:
        """Describe a message; of encrypted ones not even the size is the same in every run."""
        if self.describer is not None:
            return self.describer(data)
        if self.encrypted is None:
            self.encrypted = data[:2] == _TLS_HANDSHAKE
        return "encrypted bytes" if self.encrypted else describe_bytes(data)

    def _bounce(self) -> None:
        """Answer data for a closed socket with a reset, as TCP does."""
        back = self.reader.outgoing
        if back is not None and not back.reset and not self.writer.closed:
            back.fail_later(self.connection.name)

    # what faults do

    def break_off(self) -> None:
        """Break the connection, as seen by both its ends."""
        for pipe in (self, self.writer.incoming):
            if pipe is not None:
                pipe.fail()

    def cut_off(self) -> None:
        """Show the reader an end after all that was sent until now, though it goes on."""
        if not self.ended and not self.reset:
            self.cut = True
            end = Segment(None)
            end.permitted = True
            self.segments.append(end)
            self.flow()

    def withhold(self, data: bytes, let_go: Callable[[], None]) -> None:
        """Keep bytes under way, for a long time or until `let_go` is called."""
        self.withheld = data
        self._call_off = self.network.medium.later(self.connection.name, let_go, LONG_NS)

    def let_go(self) -> None:
        """Let arrive what was withheld."""
        data, self.withheld = self.withheld, b""
        self._call_off()
        if data and not self.reset:
            self.deliver(data)
            self.flow()

    def slow_down(self, segment: Segment, interval_ns: int) -> None:
        """Let the first bytes of a segment arrive one by one, and the rest after them."""
        assert segment.data is not None
        singly = min(len(segment.data) - 1, DRIPS)
        data = segment.data
        pieces = [data[at : at + 1] for at in range(singly)] + [data[singly:]]
        parts = [Segment(piece, ends=False) for piece in pieces]
        parts[-1].ends = segment.ends
        self.segments.extendleft(reversed(parts))
        for number, part in enumerate(parts):
            part.slowed = True
            permit = functools.partial(self._permit, part)
            self.network.medium.later(self.connection.name, permit, (number + 1) * interval_ns)

    # how it breaks

    def fail_later(self, actor: str) -> None:
        """Send a reset towards this pipe's reader."""
        self.network.medium.post("deliver", actor, self.fail)

    def fail(self) -> None:
        """Break the connection, as seen by this pipe's reader."""
        if self.reset:
            return
        self.reset = True
        self.segments.clear()
        self.withheld = b""
        self._call_off()
        self.in_flight = 0
        medium = self.network.medium
        if medium.tracing:
            medium.note("reset", self.reader.lane, f"connection reset on {self.reader.label}")
        self.reader.wake_reader()
        self.reader.wake_writer()

    def take(self, size: int) -> bytes:
        """Return at most ``size`` bytes that have arrived; make room for the writer."""
        arrived = self.arrived
        if len(arrived) <= size:
            data = bytes(arrived)
            arrived.clear()
        else:
            data = bytes(arrived[:size])
            del arrived[:size]
        if self.short_of_room and data:
            self.short_of_room = False
            self.network.medium.post("writable", self.connection.name, self.writer.wake_writer)
        return data


class Network:
    """Ports, names and connections of one world."""

    socket_class: type[SimSocket] | None = None
    """What sockets are made as; plain simulated ones when nothing is said."""
    pipe_class = Pipe

    def __init__(
        self, medium: Medium, *, capacity: int = CAPACITY, ephemeral: range = EPHEMERAL
    ) -> None:
        self.medium = medium
        self.bridge: Bridge | None = None
        """The real servers that are reached through this network, if any."""
        self.capacity = capacity
        self.ephemeral = ephemeral
        self.sockets: dict[int, SimSocket] = {}
        """Open sockets by descriptor, in the order in which they were opened."""
        self.listeners: dict[tuple[str, Any], SimSocket] = {}
        """Listening sockets by (host, port); Unix sockets by ("unix", path)."""
        self.bound: dict[tuple[str, int], int] = {}
        self.refusing: set[str] = set()
        """Operations whose next connection is refused."""
        self.dripping: set[str] = set()
        """Operations whose messages arrive in pieces."""
        self.slowed: dict[str, int] = {}
        """Operations whose messages arrive byte by byte: after how many nanoseconds each."""
        self.unknown: set[str] = set()
        """Operations whose next look-up of a name fails."""
        self.watched = False
        """Whether `interference` is asked before anything arrives."""
        self.interference = Interference(self)
        self._time_wait: dict[tuple[str, int], int] = {}
        self._in_use: set[int] = set()
        self._hosts: dict[str, str] = {}
        self._next_fd = FIRST_FD
        self._next_port = ephemeral.start
        self._connections = 0

    # descriptors and names

    def open(self, sock: SimSocket) -> int:
        """Give a new socket its descriptor."""
        fd = self._next_fd
        self._next_fd += 1
        self.sockets[fd] = sock
        return fd

    def forget(self, sock: SimSocket, fd: int) -> None:
        """Take a closed socket out of the tables."""
        self.sockets.pop(fd, None)
        self.release(sock)

    def release(self, sock: SimSocket) -> None:
        """Take back the ports that a socket has."""
        for key in sock.bound_keys:
            if self.listeners.get(key) is sock:
                del self.listeners[key]
            count = self.bound.get(key, 0) - 1
            if count > 0:
                self.bound[key] = count
            else:
                self.bound.pop(key, None)
        sock.bound_keys.clear()
        if sock.ephemeral_port is not None:
            self._in_use.discard(sock.ephemeral_port)

    def resolve(
        self, host: str | bytes | None, family: int = 0, *, passive: bool = False
    ) -> list[tuple[int, str]]:
        """Return (family, address) pairs for a host name; every name has an address here."""
        if isinstance(host, bytes):
            host = host.decode("ascii")
        if not host:
            answers: list[tuple[int, str]] = [
                (socket.AF_INET, ANY_V4 if passive else "127.0.0.1"),
                (socket.AF_INET6, ANY_V6 if passive else "::1"),
            ]
        elif host.lower() in ("localhost", "localhost."):
            answers = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
        else:
            answers = [literal_address(host) or (socket.AF_INET, self._address_of(host))]
        wanted = [pair for pair in answers if family in (0, pair[0])]
        if not wanted:
            raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {host}")
        return [(int(kind), address) for kind, address in wanted]

    def _address_of(self, name: str) -> str:
        """Give each name an address of its own from the benchmark range (RFC 2544)."""
        number = len(self._hosts) + 1
        return self._hosts.setdefault(name.lower(), f"198.18.{number // 256}.{number % 256}")

    def name_of(self, address: str) -> str:
        """Return the name that an address was given for, else the address."""
        if address in ("127.0.0.1", "::1"):
            return "localhost"
        return next((name for name, own in self._hosts.items() if own == address), address)

    # ports

    def bind(self, sock: SimSocket, address: Address) -> Address:
        """Claim an address for a socket; raises ``EADDRINUSE`` as a kernel would."""
        if sock.family == socket.AF_UNIX:
            path = os.fsdecode(address)
            self._claim(sock, ("unix", path))
            return path
        host, port, *rest = address
        check_port("bind", port)
        host = self.resolve(host, sock.family, passive=True)[0][1]
        if port == 0:
            port = self.free_port(host)
            sock.ephemeral_port = port
        self._claim(sock, (host, port))
        return (host, port, *rest) if sock.family == socket.AF_INET else (host, port, 0, 0)

    def _claim(self, sock: SimSocket, key: tuple[str, Any]) -> None:
        if self._is_taken(sock, key):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self.bound[key] = self.bound.get(key, 0) + 1
        sock.bound_keys.append(key)

    def _is_taken(self, sock: SimSocket, key: tuple[str, Any]) -> bool:
        """Tell whether the kernel would refuse: SO_REUSEADDR forgives all but a listener."""
        if self._shared(sock, key):
            return False
        if any(other in self.listeners for other in self._rivals(key, self.listeners)):
            return True
        if sock.reuse_address:
            return False
        now = self.medium.now_ns
        lingering = [other for other, until in self._time_wait.items() if until > now]
        accepted = [
            other.address[:2]
            for other in self.sockets.values()
            if other.connection is not None and other.family != socket.AF_UNIX and other.address
        ]
        return any(self._rivals(key, among) for among in (self.bound, lingering, accepted))

    @staticmethod
    def _rivals(key: tuple[str, Any], among: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
        """Return those keys that clash with this one: same port, same or any host."""
        host, port = key
        if host == "unix":
            return [other for other in among if other == key]
        wildcard = ANY_V6 if ":" in host else ANY_V4
        same_family = [k for k in among if k[1] == port and (":" in k[0]) == (":" in host)]
        if host == wildcard:
            return same_family
        return [k for k in same_family if k[0] in (host, wildcard)]

    def _shared(self, sock: SimSocket, key: tuple[str, Any]) -> bool:
        """Tell whether every rival agreed to share the port (SO_REUSEPORT)."""
        if not sock.reuse_port:
            return False
        rivals = [self.listeners.get(other) for other in self._rivals(key, self.bound)]
        return all(rival is not None and rival.reuse_port for rival in rivals)

    def free_port(self, host: str) -> int:
        """Return an ephemeral port that nobody uses; raises when there is none left."""
        for _ in range(len(self.ephemeral)):
            port = self._next_port
            self._next_port += 1
            if self._next_port >= self.ephemeral.stop:
                self._next_port = self.ephemeral.start
            free = (host, port) not in self.bound and port not in self._in_use
            if free and self._time_wait.get((host, port), 0) <= self.medium.now_ns:
                self._in_use.add(port)
                return port
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

    def linger(self, address: tuple[str, int]) -> None:
        """Keep a closed connection's local address in TIME_WAIT."""
        self._time_wait[address] = self.medium.now_ns + TIME_WAIT_NS

    def listen(self, sock: SimSocket) -> None:
        """Let a bound socket take connections."""
        if not sock.bound_keys:
            sock.address = self.bind(sock, (ANY_V4, 0))
        for key in sock.bound_keys:
            rivals = [self.listeners[other] for other in self._rivals(key, self.listeners)]
            if any(rival is not sock and not sock.reuse_port for rival in rivals):
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            self.listeners[key] = sock

    def listener_at(self, family: int, address: Address) -> SimSocket | None:
        """Return who listens at an address, by itself or through the wildcard."""
        if family == socket.AF_UNIX:
            return self.listeners.get(("unix", os.fsdecode(address)))
        host, port = address[0], address[1]
        wildcard = ANY_V6 if ":" in host else ANY_V4
        found = self.listeners.get((host, port)) or self.listeners.get((wildcard, port))
        if found is None and ":" not in host:
            if host != "127.0.0.1":
                # A name of another host: every server of the world is there too.
                return self.listener_at(family, ("127.0.0.1", port))
            both = self.listeners.get((ANY_V6, port))
            if both is not None and not both.only_v6:
                return both
        return found

    # connections

    def connect(self, sock: SimSocket, address: Address) -> None:
        """Begin a connection; whether anybody listens is found out when it arrives."""
        actor = ACTOR.get()
        name = actor.name
        if sock.family != socket.AF_UNIX:
            host, port = address[0], address[1]
            check_port("connect", port)
            host = self.resolve(host, sock.family)[0][1]
            if host in (ANY_V4, ANY_V6):
                host = "127.0.0.1" if host == ANY_V4 else "::1"
            address = (host, port) if sock.family == socket.AF_INET else (host, port, 0, 0)
            if sock.address is None:
                source = "127.0.0.1" if sock.family == socket.AF_INET else "::1"
                sock.ephemeral_port = self.free_port(source)
                sock.address = (
                    source,
                    sock.ephemeral_port,
                    *(() if sock.family == socket.AF_INET else (0, 0)),
                )
        sock.peer_address = address
        if self.medium.tracing:
            self.medium.note("connect", actor.lane, f"connects to {self._named(address)}")
        self.medium.post("connect", name, lambda: self._arrive(sock, address, name))

    def _arrive(self, sock: SimSocket, address: Address, actor: str) -> None:
        if sock.closed:
            return
        listener = self.listener_at(sock.family, address)
        if actor in self.refusing:
            self.refusing.discard(actor)
            listener = None
        elif (
            listener is None
            and self.bridge is not None
            and self.bridge.accept(sock, address, actor)
        ):
            return
        if listener is None:
            missing = sock.family == socket.AF_UNIX
            sock.refuse(errno.ENOENT if missing else errno.ECONNREFUSED)
            if self.medium.tracing:
                self.medium.note("refused", actor, f"nobody listens at {self._named(address)}")
            return
        if listener.queue_is_full():
            listener.waiting.append(lambda: self._arrive(sock, address, actor))
            return
        server = listener.spawn(sock, address)
        server.spawned_by = listener
        self.join(sock, server, actor)
        sock.connected()
        listener.expected += 1
        self.medium.post("accept", actor, lambda: listener.enqueue(server))

    def _named(self, address: Address) -> str:
        """Write an address for the trace: a real server's differs from run to run."""
        name = self.bridge.describe(address) if self.bridge is not None else None
        return name or describe_address(address)

    def join(self, client: SimSocket, server: SimSocket, actor: str) -> Connection:
        """Make two sockets the ends of one connection."""
        self._connections += 1
        connection = Connection(self._connections, actor)
        there = self.pipe_class(self, connection, client, server)
        back = self.pipe_class(self, connection, server, client)
        client.attach(connection, outgoing=there, incoming=back, client=True)
        server.attach(connection, outgoing=back, incoming=there, client=False)
        return connection

    def close(self) -> None:
        """Release what the network holds of the real machine; here, nothing."""


@functools.lru_cache(maxsize=1024)
def literal_address(host: str) -> tuple[int, str] | None:
    """Return family and address of a host that is an address already, else nothing.

    >>> literal_address("0:0::1%eth0") == (socket.AF_INET6, "::1"), literal_address("example.org")
    (True, None)
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (socket.AF_INET if address.version == 4 else socket.AF_INET6), str(address)


def _nothing() -> None:
    """Call off what nobody has begun."""


def check_port(call: str, port: int) -> None:
    """Raise what Python raises for a port that cannot be.

    >>> check_port("bind", 65536)
    Traceback (most recent call last):
        ...
    OverflowError: bind(): port must be 0-65535, not 65536; choose another port
    """
    if not 0 <= port <= 65535:
        raise OverflowError(f"{call}(): port must be 0-65535, not {port}; choose another port")


def acting(connection: Connection | None, *, client: bool) -> str:
    """Return who is writing, and let the connection stand for them from now on."""
    actor = ACTOR.get()
    if connection is None:
        return actor.name
    if client and actor is not WORLD and actor is not connection:
        connection.name = actor.name
    return connection.name


def describe_address(address: Address) -> str:
    """Write an address as people do.

    >>> describe_address(("::1", 8000, 0, 0)), describe_address(("127.0.0.1", 80))
    ('[::1]:8000', '127.0.0.1:80')
    """
    if isinstance(address, str):
        return address
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def describe_bytes(data: bytes) -> str:
    r"""Describe a message by its first line when that is text, else by its size.

    >>> describe_bytes(b"POST /webhook HTTP/1.1\r\nHost: x\r\n\r\n")
    'POST /webhook HTTP/1.1 (35 bytes)'
    """
    first, _, _ = data[:200].partition(b"\n")
    first = first.rstrip(b"\r")
    text = first.decode("ascii", "replace")
    if text and text.isprintable() and "\ufffd" not in text:
        shown = text if len(text) <= 60 else text[:57] + "..."
        return f"{shown} ({len(data)} bytes)"
    return f"{len(data)} bytes"
