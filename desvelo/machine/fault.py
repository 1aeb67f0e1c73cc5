"""Faults that a machine may allow: what a network and a server do to an operation in flight.

A machine lists those it allows in its class attribute ``faults``; each is then a step that
Hypothesis draws and shrinks like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from desvelo.world import Operation, World
    from desvelo.world.sockets import SimSocket


@dataclass(frozen=True)
class Fault:
    """A named thing that goes wrong for one operation."""

    name: str
    strike: Callable[[World, Operation], None]

    def __repr__(self) -> str:
        return f"fault.{self.name}"


def _clients(world: World, operation: Operation) -> list[SimSocket]:
    return [
        sock
        for sock in world.network.sockets.values()
        if sock.is_client and sock.connection is not None and sock.connection.name == operation.name
    ]


def _reset(world: World, operation: Operation) -> None:
    for sock in _clients(world, operation):
        for pipe in (sock.incoming, sock.outgoing):
            if pipe is not None:
                pipe.fail()


def _stall(world: World, operation: Operation) -> None:
    world.selector.stall(operation.name, 300.0)


def _refuse(world: World, operation: Operation) -> None:
    world.network.refusing.add(operation.name)


def _partial(world: World, operation: Operation) -> None:
    world.network.dripping.add(operation.name)


def _crash_server(world: World, operation: Operation) -> None:
    for sock in list(world.network.sockets.values()):
        if sock.connection is not None:
            for pipe in (sock.incoming, sock.outgoing):
                if pipe is not None:
                    pipe.fail()


def _lose_ack(world: World, operation: Operation) -> None:
    for sock in _clients(world, operation):
        if sock.incoming is not None:
            sock.incoming.lose_next = True


reset = Fault("reset", _reset)
"""The connections of the operation break, in both directions, now."""

stall = Fault("stall", _stall)
"""What is under way for the operation arrives only after time-outs have had their chance."""

refuse = Fault("refuse", _refuse)
"""The operation's next connection is refused."""

partial = Fault("partial", _partial)
"""What the operation and its server send from now on arrives a byte, then the rest."""

crash_server = Fault("crash_server", _crash_server)
"""Every connection breaks at once, as when the server's process dies."""

lose_ack = Fault("lose_ack", _lose_ack)
"""The next bytes that the server sends back to the operation are lost and the connection breaks."""

ALL = (reset, stall, refuse, partial, crash_server, lose_ack)
