"""The network of a world on kernel sockets: who listens where, and what the wires hand on.

Ports, names and the order of events are kept as in the simulated network, so that the same
decisions are met. A port of the program stands for a free one on the real machine's loopback;
nothing leaves that, whatever address the program names.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import os
import socket
from typing import TYPE_CHECKING, Any

from desvelo.world.kernel.kernel import BROKEN, READABLE, Kernel, state_of
from desvelo.world.kernel.sockets import KernelSocket
from desvelo.world.kernel.wire import End, connect, open_socket, prepare, unread
from desvelo.world.network import Connection, Medium, Network, Pipe

if TYPE_CHECKING:
    from desvelo.world.sockets import SimSocket

_LOOPBACK: dict[int, str] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


class KernelPipe(Pipe):
    """One direction of a connection: the wire carries what the schedule lets arrive."""

    __slots__ = ("carried", "sink", "source", "taken")

    def __init__(
        self, network: Network, connection: Connection, writer: SimSocket, reader: SimSocket
    ) -> None:
        super().__init__(network, connection, writer, reader)
        self.source: End
        self.sink: End
        self.carried = 0
        """Bytes that the wire has handed to the reader's kernel socket."""
        self.taken = 0
        """Bytes of them that the reader has read."""

    def deliver(self, segment: bytes | None) -> None:
        """Let bytes arrive, or the end of the stream."""
        if self.ended:
            pass
        elif segment is not None:
            self._carry(segment)
        elif not self._carry_end():
            self.fail()
            return
        super().deliver(segment)
        back = self.reader.outgoing
        if self.ended and back is not None and back.ended:
            # Both have said their last, and both have heard it.
            self.source.close()
            self.sink.close()

    def _carry(self, segment: bytes) -> None:
        data = self.source.fetch(len(segment)) if _is_real(self.writer) else segment
        if _is_real(self.reader):
            self.sink.push(data)
            self.carried += len(data)
            self.settle()

    def _carry_end(self) -> bool:
        if _is_real(self.writer) and not self.cut and not self.source.ended():
            return False
        self.sink.finish()
        self._wait("shown the end of a stream to its reader", READABLE)
        return True

    def settle(self) -> None:
        """Wait until the kernel shows the reader all that has been handed on."""
        real = self._reader()
        if real is not None:
            self._kernel.wait(
                "shown its reader what was delivered",
                lambda: unread(real) >= self.carried - self.taken or bool(state_of(real) & BROKEN),
            )

    def settle_end(self) -> None:
        """Wait until the kernel shows the reader the end that has been handed on."""
        if self.ended or self.reset:
            self._wait("shown the end of a stream to its reader", READABLE)

    def fail_later(self, actor: str) -> None:
        """Hand on, when it is let through, the reset that the writer's kernel socket has sent."""
        self.network.medium.post("deliver", actor, self._pass_reset_on)

    def _pass_reset_on(self) -> None:
        if self.reset:
            return
        if self.source.broken():
            self.fail()
        elif not self.ended and not any(segment.data is None for segment in self.segments):
            # The kernel has ended it in good order, and no event brings that to the reader.
            self.deliver(None)

    def fail(self) -> None:
        """Break the connection, as seen by this pipe's reader."""
        if self.reset:
            return
        reader = self._reader()
        if reader is not None and reader.family == socket.AF_UNIX:
            self._kernel.give_up("a reset cannot be handed on between Unix sockets")
        self.sink.reset()
        self._wait("shown a reset to its reader", BROKEN)
        super().fail()

    @property
    def _kernel(self) -> Kernel:
        assert isinstance(self.network, KernelNetwork)
        return self.network.kernel

    def _reader(self) -> _socket.socket | None:
        reader = self.reader
        return reader.real if isinstance(reader, KernelSocket) and not reader.closed else None

    def _wait(self, what: str, wanted: int) -> None:
        real = self._reader()
        if real is not None:
            self._kernel.wait_for(real, wanted, what)


def _is_real(sock: SimSocket) -> bool:
    """Tell whether a socket has a real one beneath: the ends of servers with held answers do not.

    What lies behind such an end is a real server, and the bridge to it is ours as well.
    """
    return isinstance(sock, KernelSocket)


class KernelNetwork(Network):
    """Ports, names and connections of a world on kernel sockets."""

    socket_class = KernelSocket
    pipe_class = KernelPipe

    def __init__(self, medium: Medium, kernel: Kernel, **options: Any) -> None:
        super().__init__(medium, **options)
        self.kernel = kernel
        self._ports: dict[tuple[int, int], int] = {}
        """The real port that stands for one of the program: by family and port."""
        self._folder = ""
        self._paths: dict[str, str] = {}
        self._doors: dict[int, _socket.socket] = {}
        """Where clients are connected to their wires: a listener of ours for each family."""
        self._closed: dict[int, _socket.socket] = {}
        """Sockets that hold a port where nobody listens."""
        self._ends: list[End] = []

    # connections

    def join(self, client: SimSocket, server: SimSocket, actor: str) -> Connection:
        """Make two sockets the ends of one connection, with a wire between them."""
        connection = super().join(client, server, actor)
        near, far = End(self.kernel), End(self.kernel)
        self._ends += (near, far)
        for one, source, sink in ((client, near, far), (server, far, near)):
            pipe = one.outgoing
            assert isinstance(pipe, KernelPipe)
            pipe.source, pipe.sink = source, sink
        self.kernel.connections += 1
        for one, end in ((client, near), (server, far)):
            if isinstance(one, KernelSocket) and not client._connecting:
                ours, end_of_it = _socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
                one.real = prepare(ours)
                end.attach(prepare(end_of_it))
        return connection

    def connect_client(self, client: KernelSocket) -> None:
        """Connect the program's socket to its end of the wire."""
        real, door = client.made(), self._door(client.family)
        error = connect(self.kernel, real, door.getsockname())
        if error:
            self.kernel.give_up(f"the kernel refused a connection: {os.strerror(error)}")
            return
        end = client.outgoing.source if isinstance(client.outgoing, KernelPipe) else None
        accepted = self._accepted(door, real.getsockname())
        if end is not None and accepted is not None:
            end.attach(accepted)

    def connect_server(self, listener: KernelSocket, server: KernelSocket) -> None:
        """Connect the server's end of a wire to the program's listener, which may accept now."""
        pipe = server.outgoing
        if not isinstance(pipe, KernelPipe) or listener.real is None:
            return
        real = open_socket(listener.family)
        error = connect(self.kernel, real, listener.real.getsockname())
        if error:
            real.close()
            self.kernel.give_up(
                f"the kernel refused a connection to a listener: {os.strerror(error)}"
            )
            return
        pipe.source.attach(real)

    def accept_server(self, listener: KernelSocket, server: KernelSocket) -> None:
        """Take the connection to a server's end out of the kernel's queue."""
        pipe = server.outgoing
        if isinstance(pipe, KernelPipe) and listener.real is not None:
            server.real = self._accepted(listener.real, pipe.source.address)

    def _accepted(self, listener: _socket.socket, peer: object) -> _socket.socket | None:
        """Accept the connection from an address; strangers on this machine are sent away."""
        while self.kernel.wait_for(listener, READABLE, "let a connection be accepted"):
            with contextlib.suppress(BlockingIOError):
                descriptor, address = listener._accept()  # type: ignore[attr-defined] # of the C class
                real = _socket.socket(fileno=descriptor)
                if listener.family == socket.AF_UNIX or address == peer:
                    return prepare(real)
                real.close()
        return None

    def _door(self, family: int) -> _socket.socket:
        if family not in self._doors:
            self._doors[family] = door = open_socket(family)
            door.bind(self._anywhere(family, "door"))
            door.listen(128)
        return self._doors[family]

    def refused_address(self, sock: KernelSocket) -> Any:
        """Return a real address at which the kernel refuses what the world refuses."""
        address, family = sock.peer_address, sock.family
        if self.listener_at(family, address) is None:
            if family == socket.AF_UNIX:
                return self._path(os.fsdecode(address))
            known = self._ports.get((family, address[1]))
            if known is not None:
                return (_LOOPBACK[family], known)
        if family not in self._closed:
            self._closed[family] = closed = open_socket(family)
            closed.bind(self._anywhere(family, "closed"))
        return self._closed[family].getsockname()

    # addresses

    def bind_real(self, sock: KernelSocket, address: Any, refused: OSError | None) -> None:
        """Bind the real socket of one that was bound in the world, or refused there."""
        real = sock.made()
        if sock.family == socket.AF_UNIX:
            if refused is not None:
                raise refused
            path = self._path(os.fsdecode(address))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            real.bind(path)
            return
        host, key = _LOOPBACK[sock.family], (int(sock.family), int(address[1]))
        port = 0 if sock.reuse_port else self._ports.get(key, 0)
        if refused is not None and not port:
            raise refused
        try:
            real.bind((host, port))
        except OSError as error:
            lingers = error.errno == errno.EADDRINUSE and refused is None and port
            if not lingers or self._holds(port, sock):
                raise
            # In the world's time the port is free again; TIME_WAIT on the real one is not over.
            real.bind((host, 0))
        if refused is not None:
            self.kernel.give_up(
                f"the kernel lets port {key[1]} be bound, which the simulated network refuses"
            )
            raise refused
        self._ports[key] = real.getsockname()[1]

    def _holds(self, port: int, asking: KernelSocket) -> bool:
        """Tell whether another open socket of the program has a real port."""
        return any(
            isinstance(other, KernelSocket)
            and other is not asking
            and other.family == asking.family
            and other.real is not None
            and other.real.getsockname()[1] == port
            for other in self.sockets.values()
        )

    def bind_anywhere(self, sock: KernelSocket) -> None:
        """Bind the real socket of one that listens without having been bound."""
        sock.made().bind(self._anywhere(sock.family, str(len(self._paths))))

    def _anywhere(self, family: int, name: str) -> Any:
        return self._path(f"\0{name}") if family == socket.AF_UNIX else (_LOOPBACK[family], 0)

    def _path(self, path: str) -> str:
        """Return the real path that stands for one of the program; it lies in a folder of ours."""
        if not self._folder:
            number = 0
            while not self._folder:
                folder = f"/tmp/desvelo-{os.getpid()}-{number}"  # noqa: S108 - only we may enter it
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, 0o700)
                    self._folder = folder
                number += 1
        known = self._paths
        return f"{self._folder}/{known.setdefault(path, str(len(known)))}"

    # the end

    def close(self) -> None:
        """Close every real descriptor of ours and remove what was made in the file system."""
        for end in self._ends:
            end.close()
        for real in (*self._doors.values(), *self._closed.values()):
            real.close()
        if self._folder:
            for name in self._paths.values():
                with contextlib.suppress(OSError):
                    os.unlink(f"{self._folder}/{name}")
            with contextlib.suppress(OSError):
                os.rmdir(self._folder)
