"""Who does something: every decision and every line of a story belongs to an actor.

The actor travels in a context variable. An operation's task carries the operation; the tasks
that a server starts for an accepted connection carry the connection, and a connection stands
for whichever operation wrote to it last. So the work that a server does is attributed to the
request that caused it, without the server knowing.
"""

from __future__ import annotations

from contextvars import ContextVar


class Actor:
    """Somebody with a name; ``side`` tells a server's work from its client's."""

    __slots__ = ("name", "side")

    def __init__(self, name: str, side: str = "") -> None:
        self.name = name
        self.side = side

    @property
    def lane(self) -> str:
        """Return the column of the story that this actor's steps belong to."""
        return f"{self.side} for {self.name}" if self.side else self.name


WORLD = Actor("world")
"""Whatever no operation caused: set-up, background tasks, the servers themselves."""

ACTOR: ContextVar[Actor] = ContextVar("desvelo_actor", default=WORLD)
