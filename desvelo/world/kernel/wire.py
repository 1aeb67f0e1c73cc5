"""What lies between the two ends of a connection on kernel sockets: a wire that is ours.

Each socket of the program is connected to an end of the wire, and the wire hands bytes, ends of
streams and resets on at the moment that the schedule names, as a network with latency would.
It invents nothing: what it hands on it has got from the kernel, and it waits until the kernel
shows it on the other side.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import select
import socket
import struct
import termios

from desvelo.world.kernel.kernel import READABLE, WRITABLE, Kernel, state_of

BUFFER = 1 << 20
"""Buffers of every socket: more than the world lets be under way, so that none fills by itself."""

_ABORT = struct.pack("ii", 1, 0)


def open_socket(family: int) -> _socket.socket:
    """Return a real socket that never blocks, whatever the world has put in place of sockets."""
    real = _socket.socket(family, socket.SOCK_STREAM, 0)
    return prepare(real)


def prepare(real: _socket.socket) -> _socket.socket:
    """Make a real socket as all of them are: never blocking, with wide buffers."""
    real.setblocking(False)
    real.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    real.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    return real


def unread(real: _socket.socket) -> int:
    """Return how many bytes the kernel holds ready to be read."""
    answer = fcntl.ioctl(real.fileno(), termios.FIONREAD, b"\0\0\0\0")
    return int(struct.unpack("i", answer)[0])


def connect(kernel: Kernel, real: _socket.socket, address: object) -> int:
    """Connect and wait for the outcome; returns the kernel's error number, 0 when it stands."""
    error = real.connect_ex(address)  # type: ignore[arg-type] # as the socket module writes it
    if error == errno.EINPROGRESS:
        kernel.wait_for(real, WRITABLE, "answered a connect")
        error = real.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return error


class End:
    """One end of a wire: our own descriptor, facing one socket of the program.

    As long as it is not connected, what is handed to it waits; the server's end is connected
    when the program may accept.
    """

    __slots__ = (
        "_cut",
        "_finished",
        "_kernel",
        "_refuses",
        "_reset",
        "_unsent",
        "address",
        "real",
    )

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.real: _socket.socket | None = None
        self.address: object = None
        """Its own address, by which the program's socket knows its peer."""
        self._unsent = b""
        self._finished = False
        self._reset = False
        self._cut = False
        """Whether a reset came in place of an end; the kernel says so only once."""
        self._refuses = False
        """Whether the kernel has refused to take bytes; it may be silent afterwards."""

    def attach(self, real: _socket.socket) -> None:
        """Become connected, and hand on what has waited."""
        self.real = real
        self.address = real.getsockname()
        if real.family != socket.AF_UNIX:
            real.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting, self._unsent = self._unsent, b""
        self.push(waiting)
        if self._finished:
            self.finish()
        if self._reset:
            self.reset()

    # from the program

    def fetch(self, size: int) -> bytes:
        """Take over so many bytes that the program has sent; fewer when the kernel ends it."""
        taken = bytearray()
        while self.real is not None and len(taken) < size:
            try:
                part = self.real.recv(size - len(taken))
            except BlockingIOError:
                if not self._wait("shown bytes that the program had sent"):
                    break
                continue
            except OSError:
                self._cut = True
                break
            if not part:
                break
            taken += part
        return bytes(taken)

    def ended(self) -> bool:
        """Wait for the end of what the program sends; tell whether it came in good order."""
        while self.real is not None:
            try:
                if self.real.recv(1):
                    self._kernel.give_up("the kernel had more bytes than the program has sent")
                    return True
                # Also when a reset came after the end: the end came first.
                return not self._cut
            except BlockingIOError:
                if not self._wait("shown the end of a stream"):
                    return True
            except OSError:
                self._cut = True
                return False
        return True

    def broken(self) -> bool:
        """Tell whether what the program did has made the kernel reset the connection."""
        if self.real is None:
            return True
        real = self.real
        return self._kernel.shows(lambda: self._is_reset(real))

    def _is_reset(self, real: _socket.socket) -> bool:
        return self._cut or self._refuses or bool(state_of(real) & select.POLLERR)

    def _wait(self, what: str) -> bool:
        assert self.real is not None
        return self._kernel.wait_for(self.real, READABLE, what)

    # to the program

    def push(self, data: bytes) -> None:
        """Hand bytes on; a connection that is broken swallows them, and says so later."""
        if self._reset:
            return
        if self.real is None:
            self._unsent += data
            return
        view = memoryview(data)
        while view:
            try:
                view = view[self.real.send(view) :]
            except BlockingIOError:
                if not self._kernel.wait_for(
                    self.real, WRITABLE, "taken bytes that were to be delivered"
                ):
                    return
            except OSError:
                self._refuses = True
                return

    def finish(self) -> None:
        """Hand on the end of the stream."""
        self._finished = True
        if self.real is not None:
            try:
                self.real.shutdown(socket.SHUT_WR)
            except OSError:
                return

    def reset(self) -> None:
        """Break the connection, as seen by the program's socket."""
        self._reset = True
        if self.real is not None:
            self.close()

    def close(self) -> None:
        """Close at once; of TCP nothing stays behind in TIME_WAIT."""
        real, self.real = self.real, None
        if real is not None:
            if real.family != socket.AF_UNIX:
                real.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            real.close()
