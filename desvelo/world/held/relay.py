"""A relay for drivers whose sockets are not Python's: libpq opens its own, in C.

Such a driver is led to a Unix socket of this process instead of the server. What it writes there
is read at once and sent over a simulated connection in its name; what arrives on that connection
is written back when the driver waits for it. So it goes through the same network, under the same
decisions, as a driver written for asyncio.
"""

from __future__ import annotations

import _socket
import atexit
import contextlib
import itertools
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from desvelo.world.actors import ACTOR
from desvelo.world.sockets import SimSocket

if TYPE_CHECKING:
    from desvelo.world.network import Address, Network

_PIECE = 1 << 18


class Relay:
    """Where the clients of one server are led to: a Unix socket in a folder of its own."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self.port = port
        self.folder = _new_folder()
        self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._listener.bind(str(Path(self.folder, f".s.PGSQL.{port}")))
        self._listener.listen(64)
        self._listener.setblocking(False)
        self._process = os.getpid()
        atexit.register(self.close)

    def accept(self) -> _socket.socket | None:
        """Return our end of the connection that a driver has just opened, if it has."""
        try:
            descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return None
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        sock.setblocking(False)
        return sock

    def close(self) -> None:
        """Remove the folder; in a forked process it is the parent's."""
        self._listener.close()
        if self._process == os.getpid():
            shutil.rmtree(self.folder, ignore_errors=True)


def _new_folder() -> str:
    """Make a folder that outlives the world in which it is first needed.

    It draws none of that world's names for temporary files, and is none of what it leaves open.
    """
    for number in itertools.count():
        folder = Path(tempfile.gettempdir(), f"desvelo-relay-{os.getpid()}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            return str(folder)
    raise AssertionError


class RelayedSocket(SimSocket):
    """The client's end of a simulated connection, in the name of a driver's own socket."""

    def __new__(cls, *_arguments: object, **_options: object) -> Self:
        """Make a simulated socket, whoever asks."""
        return socket.socket.__new__(cls)

    def __init__(self, network: Network, ours: _socket.socket, descriptor: int) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM, 0)
        self.setblocking(False)
        self.descriptor = descriptor
        """The driver's own descriptor."""
        self._relay_network = network
        self._ours = ours
        self._unsent = bytearray()
        self._hung_up = False

    def begin(self, address: Address) -> None:
        """Connect to the server that the driver wanted."""
        self._connecting = True
        self._relay_network.connect(self, address)

    # from the driver

    def pump(self) -> None:
        """Send what the driver has written; see whether it has closed its socket."""
        while not self.closed:
            try:
                data = self._ours.recv(_PIECE)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._goodbye()
                return
            self._unsent += data
        self._flush()

    def _flush(self) -> None:
        """Send as much as there is room for."""
        unsent = self._unsent
        while unsent and self.outgoing is not None and self.has_room():
            try:
                del unsent[: self.send(bytes(unsent))]
            except BlockingIOError:
                return
            except OSError:
                unsent.clear()

    def _goodbye(self) -> None:
        self._flush()
        self._ours.close()
        self.close()

    def connected(self) -> None:
        """Learn that the connection stands; what was written before follows."""
        super().connected()
        self._flush()

    def wake_writer(self) -> None:
        """Learn that there is room, or that there is no connection."""
        super().wake_writer()
        if self._error:
            self._hang_up()
        else:
            self._flush()

    # to the driver

    def has_news(self) -> bool:
        """Tell whether the driver would find something if it read now."""
        return self.closed or self._hung_up or bool(self._error) or self.has_input()

    def hand_over(self) -> None:
        """Write what has arrived into the driver's socket."""
        pipe = self.incoming
        if pipe is None or self.closed:
            return
        while pipe.arrived:
            # Its buffer may be full until it reads; the rest follows when it waits again.
            try:
                accepted = self._ours.send(bytes(pipe.arrived[:_PIECE]))
            except BlockingIOError:
                return
            except OSError:
                accepted = len(pipe.arrived)
            pipe.take(accepted)
        if pipe.ended or pipe.reset:
            self._hang_up()

    def _hang_up(self) -> None:
        if not self._hung_up:
            self._hung_up = True
            with contextlib.suppress(OSError):
                self._ours.shutdown(_socket.SHUT_WR)

    def forget_silently(self) -> None:
        """Drop the connection at the end of its world."""
        self._ours.close()
        super().forget_silently()


def open_relayed(network: Network, relay: Relay, descriptor: int) -> RelayedSocket | None:
    """Return the simulated connection of a driver's descriptor that has just been connected."""
    ours = relay.accept()
    if ours is None:
        return None
    made = RelayedSocket(network, ours, descriptor)
    made.created_by = ACTOR.get().name
    made.begin(relay.address)
    made.pump()
    return made
