"""Faults of the network: what happens to the connections of an operation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from desvelo.fault.fault import Fault, Strike
from desvelo.world.ghost import send_again
from desvelo.world.interference import (
    PLACES,
    Breaking,
    Duplicating,
    Ending,
    Plot,
    Withholding,
)

if TYPE_CHECKING:
    from desvelo.world import Operation, World
    from desvelo.world.sockets import SimSocket

STALL_SECONDS = 300.0
DRIP_SECONDS = (1.0, 0.1, 5.0, 30.0)
"""How long each byte of a slow drip takes, in virtual seconds, by variant."""


def clients(world: World, operation: Operation) -> Iterator[SimSocket]:
    """Return the clients' ends of all connections that are used for an operation."""
    for sock in list(world.network.sockets.values()):
        if (
            sock.is_client
            and sock.connection is not None
            and sock.connection.name == operation.name
        ):
            yield sock


def break_off(sock: SimSocket) -> None:
    """Break a connection, as seen by both its ends."""
    for pipe in (sock.incoming, sock.outgoing):
        if pipe is not None:
            pipe.fail()


def lay(world: World, operation: Operation, plot: Plot) -> None:
    """Have a plot wait for its place, as long as the operation lasts."""
    network = world.network
    network.watched = True
    network.interference.lay(plot)
    operation.on_end(lambda _: network.interference.call_off(operation.name))


def _reset(world: World, operation: Operation, _variant: int) -> None:
    for sock in clients(world, operation):
        break_off(sock)


def _breaking(when: str, *, answer: bool) -> Strike:
    def strike(world: World, operation: Operation, variant: int) -> None:
        lay(world, operation, Breaking(operation.name, when, answer=answer, place=variant))

    return strike


def _half_close(*, answer: bool) -> Strike:
    def strike(world: World, operation: Operation, _variant: int) -> None:
        struck = False
        for sock in clients(world, operation):
            pipe = sock.incoming if answer else sock.outgoing
            if pipe is not None:
                pipe.cut_off()
                struck = True
        if not struck:
            lay(world, operation, Ending(operation.name, answer=answer))

    return strike


def _refuse(world: World, operation: Operation, _variant: int) -> None:
    refusing = world.network.refusing
    refusing.add(operation.name)
    operation.on_end(lambda _: refusing.discard(operation.name))


def _stall(world: World, operation: Operation, _variant: int) -> None:
    world.selector.stall(operation.name, STALL_SECONDS)


def _partial(world: World, operation: Operation, _variant: int) -> None:
    world.network.dripping.add(operation.name)


def _drip(world: World, operation: Operation, variant: int) -> None:
    network = world.network
    network.watched = True
    network.slowed[operation.name] = int(DRIP_SECONDS[variant] * 1e9)

    def end(_operation: Operation) -> None:
        network.slowed.pop(operation.name, None)

    operation.on_end(end)


def _lose_ack(world: World, operation: Operation, variant: int) -> None:
    _breaking("before", answer=True)(world, operation, variant)


def _duplicate(world: World, operation: Operation, _variant: int) -> None:
    lay(world, operation, Duplicating(operation.name, send_again))


def _reorder(world: World, operation: Operation, _variant: int) -> None:
    lay(world, operation, Withholding(operation.name))


def _crash_server(world: World, _operation: Operation, _variant: int) -> None:
    for sock in list(world.network.sockets.values()):
        break_off(sock)


def _restart_server(world: World, operation: Operation, variant: int) -> None:
    for sock in list(world.network.sockets.values()):
        if sock.listening:
            sock.perish()
    _crash_server(world, operation, variant)


class Reset(Fault):
    """A reset: now, or at a place in the next exchange."""

    before_request = Fault(
        "reset.before_request",
        _breaking("before", answer=False),
        "the connection of {} breaks before its request",
    )
    """The connection breaks before a byte of the request has arrived."""

    in_request = Fault(
        "reset.in_request",
        _breaking("in", answer=False),
        "the connection of {} breaks in its request",
        variants=len(PLACES),
    )
    """It breaks when a part of the request has arrived."""

    after_request = Fault(
        "reset.after_request",
        _breaking("after", answer=False),
        "the connection of {} breaks after its request",
    )
    """It breaks when the request has arrived, and nothing of the answer."""

    before_response = Fault(
        "reset.before_response",
        _breaking("before", answer=True),
        "the connection of {} breaks before its response",
    )
    """It breaks when the response was sent, and before a byte of it has arrived."""

    in_response = Fault(
        "reset.in_response",
        _breaking("in", answer=True),
        "the connection of {} breaks in its response",
        variants=len(PLACES),
    )
    """It breaks when a part of the response has arrived."""

    after_response = Fault(
        "reset.after_response",
        _breaking("after", answer=True),
        "the connection of {} breaks after its response",
    )
    """It breaks when the response has arrived, and may be used no more."""


class HalfClose(Fault):
    """One direction of the connections ends: what its reader sees is a FIN."""

    by_client = Fault(
        "half_close.by_client",
        _half_close(answer=False),
        "what {} sends ends for its server",
    )
    """The server is told that the operation sends no more; the other direction stays open."""


reset = Reset("reset", _reset, "the connections of {} break")
"""The connections of the operation break, in both directions, now."""

half_close = HalfClose("half_close", _half_close(answer=True), "what {} is sent ends")
"""The operation is told that its server sends no more; its own direction stays open."""

stall = Fault("stall", _stall, "what is under way for {} is stuck")
"""What is under way for the operation arrives 300 virtual seconds later."""

drip = Fault("drip", _drip, "what {} and its server send drips", variants=len(DRIP_SECONDS))
"""What the operation and its server send arrives a byte at a time, one a second."""

partial = Fault("partial", _partial, "what {} and its server send arrives in pieces")
"""What the operation and its server send from now on arrives a byte, then the rest."""

refuse = Fault("refuse", _refuse, "the next connection of {} is refused")
"""The operation's next connection is refused."""

lose_ack = Fault("lose_ack", _lose_ack, "the next answer to {} is lost")
"""The next answer to the operation is lost, and the connection breaks."""

duplicate = Fault("duplicate", _duplicate, "the request of {} arrives twice")
"""The next request of the operation arrives again on a second connection, as from a proxy."""

reorder = Fault("reorder", _reorder, "the request of {} arrives after its retry")
"""The next request of the operation arrives after another one, its retry, was answered."""

crash_server = Fault("crash_server", _crash_server, "every connection breaks")
"""Every connection breaks at once, as when the server's process dies."""

restart_server = Fault(
    "restart_server",
    _restart_server,
    "every connection breaks and nobody listens, until restart()",
    needs="restart",
)
"""The server's process dies, with its connections and its ports, and is started again."""
