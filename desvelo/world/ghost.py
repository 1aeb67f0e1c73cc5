"""A client that nobody wrote: it sends what it was given and throws the answer away.

As a proxy does that sends a request once more; it is no socket of the program's.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Self

from desvelo.world.actors import ACTOR, Actor
from desvelo.world.sockets import SimSocket

if TYPE_CHECKING:
    from desvelo.world.network import Network, Pipe


class Ghost(SimSocket):
    """One request on a connection of its own."""

    def __new__(cls, *_arguments: object, **_options: object) -> Self:
        """Make a simulated socket, whoever asks."""
        return socket.socket.__new__(cls)

    def __init__(self, network: Network, like: SimSocket, request: bytes) -> None:
        super().__init__(like.family, socket.SOCK_STREAM, 0)
        self.setblocking(False)
        # Nobody of the program has opened it, so nobody is to close it.
        network.sockets.pop(self._fd)
        self._unsent = bytearray(request)

    def connected(self) -> None:
        """Send the request."""
        self._connecting = False
        self.wake_writer()

    def refuse(self, error: int) -> None:
        """Give up: there is nobody to tell."""
        self.close()

    def wake_writer(self) -> None:
        """Send as much as there is room for."""
        pipe, connection = self.outgoing, self.connection
        if self.closed or pipe is None or connection is None:
            return
        if pipe.reset or (self.incoming is not None and self.incoming.reset):
            self.close()
            return
        while self._unsent and (accepted := pipe.send(bytes(self._unsent), connection.name)):
            del self._unsent[:accepted]

    def wake_reader(self) -> None:
        """Throw the answer away, and close when it is all there."""
        pipe, connection = self.incoming, self.connection
        if self.closed or pipe is None or connection is None:
            return
        pipe.take(len(pipe.arrived))
        exchange = connection.exchange
        if pipe.ended or pipe.reset or (exchange and not exchange.answers.within):
            self.close()


def send_again(pipe: Pipe, request: bytes) -> None:
    """Send a request once more, to where a pipe has brought it first."""
    reader, writer = pipe.reader, pipe.writer
    if reader.spawned_by is None or writer.peer_address is None:
        return
    actor = Actor(pipe.connection.name)
    token = ACTOR.set(actor)
    try:
        ghost = Ghost(pipe.network, writer, request)
        ghost._connecting = True
        pipe.network.connect(ghost, writer.peer_address)
    finally:
        ACTOR.reset(token)
