"""What is to go wrong on the connections of a network, and at which byte.

A *plot* waits for its place in an exchange of one operation: the bytes that arrive are handed to
it on their way. Its exchange is the request that is under way when the plot is laid (of several
the one that began last), else the next one to begin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from desvelo.world.messages import Exchange

if TYPE_CHECKING:
    from desvelo.world.messages import Messages
    from desvelo.world.network import Connection, Network, Pipe, Segment

PLACES = (0.0, 0.5, 1.0, 0.25, 0.75, 0.125, 0.375, 0.875)
"""Where in a message something may strike: after its first byte, in its middle, before its last
byte, and between; the simplest first."""


def cut_at(length: int, place: int) -> int:
    """Return how many bytes of a message come before a place: at least one, never all.

    >>> [cut_at(100, place) for place in range(4)], cut_at(1, 1)
    ([1, 50, 99, 25], 0)
    """
    share = PLACES[place % len(PLACES)]
    return min(max(int(share * length), 1), length - 1)


class Plot:
    """Something that is to go wrong for an operation; its methods say what they take over.

    Each returns whether the bytes are dealt with: nobody else delivers them then.
    """

    def __init__(self, operation: str) -> None:
        self.operation = operation
        self.connection: Connection | None = None
        """Where its exchange is, once that is known."""
        self.interference: Interference

    def wants(self, exchange: Exchange) -> bool:
        """Tell whether an exchange that is under way is not too far for it."""
        return True

    def before(self, pipe: Pipe, messages: Messages, data: bytes) -> bool:
        """See bytes of its exchange before they arrive; ``messages`` has taken them in."""
        return False

    def after(self, pipe: Pipe, messages: Messages) -> None:
        """Learn that the bytes have arrived."""

    def answered_elsewhere(self) -> None:
        """Learn that another connection of the operation has brought an answer."""

    def call_off(self) -> None:
        """End without having struck: the operation is over."""

    def done(self) -> None:
        """Wait no longer."""
        self.interference.drop(self)


class Interference:
    """The plots against one network, and where each of its connections is."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._plots: list[Plot] = []
        self._begun = 0

    def lay(self, plot: Plot) -> None:
        """Lay a plot; it strikes the exchange under way, or the next one."""
        plot.interference = self
        self._plots.append(plot)
        under_way = [
            connection
            for connection in self._connections(plot.operation)
            if connection.exchange is not None
            and connection.exchange.is_open
            and plot.wants(connection.exchange)
        ]
        if under_way:
            plot.connection = max(under_way, key=lambda one: _exchange(one).begun)

    def drop(self, plot: Plot) -> None:
        """Forget a plot."""
        if plot in self._plots:
            self._plots.remove(plot)

    def call_off(self, operation: str) -> None:
        """Forget what was laid against an operation that is over."""
        for plot in [one for one in self._plots if one.operation == operation]:
            self.drop(plot)
            plot.call_off()

    def _connections(self, operation: str) -> list[Connection]:
        return [
            sock.connection
            for sock in self._network.sockets.values()
            if sock.is_client and sock.connection is not None and sock.connection.name == operation
        ]

    def arrive(self, pipe: Pipe, segment: Segment) -> None:
        """Let what is under way arrive, unless a plot makes something else of it."""
        if segment.data is None:
            exchange = _exchange(pipe.connection)
            (exchange.requests if pipe.writer.is_client else exchange.answers).stop()
            pipe.deliver(None)
            return
        interval = self._network.slowed.get(pipe.connection.name)
        if interval and not segment.slowed:
            pipe.slow_down(segment, interval)
            return
        data = segment.data
        while data and not pipe.reset and not pipe.withheld:
            data = data[self._piece(pipe, data, segment) :]

    def _piece(self, pipe: Pipe, data: bytes, segment: Segment) -> int:
        """Let what belongs to one message arrive; return how many bytes that is."""
        exchange = _exchange(pipe.connection)
        asks = pipe.writer.is_client
        messages = exchange.requests if asks else exchange.answers
        if asks and not messages.within:
            self._begins(pipe.connection, exchange)
            exchange.answers.bodiless = data.startswith(b"HEAD ")
        size = messages.take(data, ends=segment.ends)
        for plot in self._against(pipe.connection):
            if plot.before(pipe, messages, data[:size]):
                return size
        pipe.deliver(data[:size])
        for plot in self._against(pipe.connection):
            plot.after(pipe, messages)
        if not messages.within and not asks:
            exchange.is_open = exchange.requests.within
            self._answered(pipe.connection)
        return size

    def _answered(self, connection: Connection) -> None:
        for plot in list(self._plots):
            if plot.operation == connection.name and plot.connection is not connection:
                plot.answered_elsewhere()

    def _begins(self, connection: Connection, exchange: Exchange) -> None:
        self._begun += 1
        exchange.begun = self._begun
        exchange.is_open = True
        for plot in self._plots:
            if plot.connection is None and plot.operation == connection.name:
                plot.connection = connection

    def _against(self, connection: Connection) -> list[Plot]:
        return [one for one in self._plots if one.connection is connection]


class Breaking(Plot):
    """Both ends of the connection see a reset: before, in or after the request or the answer."""

    def __init__(self, operation: str, when: str, *, answer: bool, place: int = 0) -> None:
        super().__init__(operation)
        self._when = when
        self._answer = answer
        self._place = place
        self._left: int | None = None
        """Bytes that still arrive before it breaks."""

    def wants(self, exchange: Exchange) -> bool:
        """Tell whether the place is still to come in an exchange."""
        if self._answer:
            return self._when == "after" or not exchange.answers.within
        return self._when == "after" and exchange.requests.within

    def before(self, pipe: Pipe, messages: Messages, data: bytes) -> bool:
        """Break it before the first byte, or let some bytes through and then break it."""
        if messages.answers is not self._answer or self._when == "after":
            return False
        if self._when == "in":
            if self._left is None:
                known = messages.expected or len(data) + under_way(pipe, messages)
                self._left = cut_at(known, self._place)
            if len(data) <= self._left:
                self._left -= len(data)
                return False
            if self._left:
                pipe.deliver(data[: self._left])
        self.done()
        pipe.break_off()
        return True

    def after(self, pipe: Pipe, messages: Messages) -> None:
        """Break it when the message has arrived as a whole."""
        if messages.answers is self._answer and self._when == "after" and not messages.within:
            self.done()
            pipe.break_off()


class Ending(Plot):
    """One direction ends although its writer has not ended it: a FIN in that direction."""

    def __init__(self, operation: str, *, answer: bool) -> None:
        super().__init__(operation)
        self._answer = answer

    def after(self, pipe: Pipe, messages: Messages) -> None:
        """End it when the request has arrived."""
        if not messages.answers and not messages.within:
            self.done()
            there = pipe.writer.incoming if self._answer else pipe
            if there is not None:
                there.cut_off()


class Duplicating(Plot):
    """The request arrives a second time, on a connection of its own, as from a proxy."""

    def __init__(self, operation: str, again: Callable[[Pipe, bytes], None]) -> None:
        super().__init__(operation)
        self._again = again
        self._copy = bytearray()

    def wants(self, exchange: Exchange) -> bool:
        """Want no request of which bytes have already passed."""
        return False

    def before(self, pipe: Pipe, messages: Messages, data: bytes) -> bool:
        """Keep a copy."""
        if not messages.answers:
            self._copy += data
        return False

    def after(self, pipe: Pipe, messages: Messages) -> None:
        """Send the copy when the request has arrived."""
        if not messages.answers and not messages.within:
            self.done()
            self._again(pipe, bytes(self._copy))


class Withholding(Plot):
    """The request arrives only after another one of the operation, its retry, was answered."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self._pipe: Pipe | None = None

    def wants(self, exchange: Exchange) -> bool:
        """Want no request of which bytes have already passed."""
        return False

    def before(self, pipe: Pipe, messages: Messages, data: bytes) -> bool:
        """Keep the request under way; for how long at most is the network's affair."""
        self._pipe = pipe
        pipe.withhold(data, self.call_off)
        return True

    def answered_elsewhere(self) -> None:
        """Let the request arrive behind its retry."""
        if self._pipe is not None:
            self.call_off()

    def call_off(self) -> None:
        """Let the request arrive now."""
        self.done()
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.let_go()


def under_way(pipe: Pipe, messages: Messages) -> int:
    """Return how many more bytes of a message were sent, when nothing says how long it is."""
    if not messages.within:
        return 0
    return sum(len(segment.data) for segment in pipe.segments if segment.data)


def _exchange(connection: Connection) -> Exchange:
    if connection.exchange is None:
        connection.exchange = Exchange()
    return connection.exchange
