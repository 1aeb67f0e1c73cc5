"""The server's end of a simulated connection whose server is real."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Self

from desvelo.world.sockets import SimSocket

if TYPE_CHECKING:
    from desvelo.world.held.bridge import Bridge
    from desvelo.world.held.protocol import Session
    from desvelo.world.network import Address


class HeldEnd(SimSocket):
    """A socket that nobody reads: what arrives at it goes to the bridge at once."""

    def __new__(cls, *_arguments: object, **_options: object) -> Self:
        """Make a simulated socket, whoever asks."""
        return socket.socket.__new__(cls)

    def __init__(
        self, bridge: Bridge, session: Session, client: SimSocket, address: Address, server: str
    ) -> None:
        super().__init__(client.family, socket.SOCK_STREAM, 0)
        self._bridge = bridge
        self.session = session
        self._server = server
        self._gone = False
        self._unsent = bytearray()
        self.address = address
        self.peer_address = client.address if client.address is not None else ""

    @property
    def label(self) -> str:
        """Name it for a story."""
        return f"{self._server} session {self.session.number}"

    def listen_in(self) -> None:
        """Begin to describe what goes to and fro; the connection stands."""
        assert self.incoming is not None
        assert self.outgoing is not None
        describe = self.session.describe
        self.incoming.describer = lambda data: describe(data, sent=True)
        self.outgoing.describer = lambda data: describe(data, sent=False)

    def wake_reader(self) -> None:
        """Hand what has arrived to the bridge."""
        pipe = self.incoming
        if pipe is None or self._gone or self.closed:
            return
        if pipe.arrived:
            self._bridge.heard(self.session, pipe.take(len(pipe.arrived)))
        if (pipe.ended or pipe.reset) and not self._gone:
            self._gone = True
            self._bridge.left(self.session)

    def wake_writer(self) -> None:
        """Send more of an answer that did not fit."""
        if self._unsent and not self.closed and not self._gone:
            self._send_more()

    def say(self, data: bytes) -> None:
        """Send the client an answer; what does not fit follows when there is room."""
        if self._gone or self.closed:
            return
        pipe = self.outgoing
        if pipe is not None and self._network.medium.tracing:
            self._network.medium.note("send", self.lane, f"answers {pipe.describe(data)}")
        self._unsent += data
        self._send_more()

    def _send_more(self) -> None:
        unsent, pipe, connection = self._unsent, self.outgoing, self.connection
        assert pipe is not None
        assert connection is not None
        while unsent and not pipe.reset:
            accepted = pipe.send(bytes(unsent), connection.name)
            if not accepted:
                return
            del unsent[:accepted]

    def end(self) -> None:
        """Close the server's end, as a server does that has ended a session."""
        self._gone = True
        if not self.closed:
            self.close()
