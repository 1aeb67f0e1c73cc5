"""``socket.socket`` in a world on kernel sockets: each call is answered by a real socket.

The simulated socket beneath keeps the books: it takes the same decisions at the same moments.
What the program gets back is the kernel's.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket
from typing import TYPE_CHECKING, Any

from desvelo.world.kernel.kernel import BROKEN, READABLE, WRITABLE, state_of
from desvelo.world.kernel.wire import connect, open_socket
from desvelo.world.network import Address
from desvelo.world.sockets import SimSocket

if TYPE_CHECKING:
    from desvelo.world.kernel.network import KernelNetwork

_BUFFERS = ((socket.SOL_SOCKET, socket.SO_SNDBUF), (socket.SOL_SOCKET, socket.SO_RCVBUF))


class KernelSocket(SimSocket):
    """One end of a real connection on loopback, or a real listener there."""

    _network: KernelNetwork

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.real: _socket.socket | None = None
        super().__init__(*arguments, **options)

    def made(self) -> _socket.socket:
        """Return the real socket, made when it is first needed."""
        if self.real is None:
            self.real = open_socket(self._family)
        return self.real

    # what it is

    def setsockopt(self, level: int, option: int, value: Any, optlen: int | None = None, /) -> None:
        """Set an option of the real socket; the sizes of its buffers stay ours."""
        if (level, option) not in _BUFFERS:
            self._check_open()
            extra = () if optlen is None else (optlen,)
            self.made().setsockopt(level, option, value, *extra)
        super().setsockopt(level, option, value, optlen)

    def getsockopt(self, level: int, option: int, buflen: int = 0, /) -> Any:
        """Return an option; the outcome of a connect is the kernel's."""
        known = super().getsockopt(level, option, buflen)
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR) and not known:
            return self.made().getsockopt(level, option)
        return known

    def getpeername(self) -> Address:
        """Return the peer's address in the world; raises what the kernel raises."""
        known = super().getpeername()
        self.made().getpeername()
        return known

    # addresses

    def bind(self, address: Address, /) -> None:
        """Claim a local address, in the world and for real."""
        refused: OSError | None = None
        try:
            super().bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            refused = error
        self._network.bind_real(self, address if refused else self.address, refused)

    def listen(self, backlog: int = 128, /) -> None:
        """Take connections."""
        if self.address is None:
            self._network.bind_anywhere(self)
        super().listen(backlog)
        self.made().listen(backlog)

    # what the network tells it

    def connected(self) -> None:
        """Connect for real: this is the moment at which the world lets it be."""
        self._network.connect_client(self)
        super().connected()

    def refuse(self, error: int) -> None:
        """Be refused for real, where nobody listens."""
        found = connect(self._network.kernel, self.made(), self._network.refused_address(self))
        if not found:
            self._network.kernel.give_up(
                f"the kernel connects where the simulated network says {os.strerror(error)}"
            )
        super().refuse(found or error)

    def enqueue(self, server: SimSocket) -> None:
        """Let a connection become acceptable: now it reaches the kernel's queue."""
        if not self.closed and isinstance(server, KernelSocket):
            self._network.connect_server(self, server)
        super().enqueue(server)

    def has_input(self) -> bool:
        """Ask the kernel whether a read would not block."""
        if self.real is None or (self.incoming is None and not self.listening):
            return False
        return bool(state_of(self.real) & READABLE)

    def has_room(self) -> bool:
        """Ask the kernel whether a write would not block, once the world lets it be seen."""
        if self._connecting:
            return False
        pipe, back = self.outgoing, self.incoming
        if pipe is None or self.real is None:
            return True
        state = state_of(self.real)
        if state & BROKEN or pipe.reset or (back is not None and back.reset):
            return bool(state & WRITABLE)
        return not pipe.short_of_room and pipe.room() > 0 and bool(state & WRITABLE)

    # data

    def accept(self) -> tuple[SimSocket, Address]:
        """Take the next connection out of the kernel's queue."""
        server, address = super().accept()
        if isinstance(server, KernelSocket):
            self._network.accept_server(self, server)
            pipe = server.incoming
            if pipe is not None:
                pipe.settle()  # type: ignore[attr-defined] # of a network on kernel sockets
                pipe.settle_end()  # type: ignore[attr-defined] # as above
        return server, address

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send bytes through the kernel; at most as many as the world has room for."""
        self._check_open()
        real, pipe, payload = self.made(), self.outgoing, bytes(data)
        spoilt = self._write_closed or state_of(real) & BROKEN
        if pipe is None or spoilt or not payload:
            return real.send(payload)
        accepted = super().send(payload)
        left = memoryview(payload)[:accepted]
        while left:
            try:
                left = left[real.send(left) :]
            except BlockingIOError:
                kernel = self._network.kernel
                if not kernel.wait_for(
                    real, WRITABLE, f"taken {accepted} bytes that the program sent"
                ):
                    break
        return accepted

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Return what the kernel has, at most ``size`` bytes; ``b""`` at the end."""
        self._check_open()
        try:
            data = self.made().recv(size, flags)
        except BlockingIOError:
            self._check_non_blocking("recv")
            raise
        pipe = self.incoming
        if data and pipe is not None and not flags & socket.MSG_PEEK:
            pipe.taken += len(data)  # type: ignore[attr-defined] # of a network on kernel sockets
            pipe.take(len(data))
        return data

    def shutdown(self, how: int, /) -> None:
        """Close one direction or both."""
        self._check_open()
        self.made().shutdown(how)
        super().shutdown(how)

    def _really_close(self) -> None:
        super()._really_close()
        self._close_real()

    def forget_silently(self) -> None:
        """Drop the socket at the end of its world."""
        super().forget_silently()
        self._close_real()

    def _close_real(self) -> None:
        real, self.real = self.real, None
        if real is not None:
            real.close()
