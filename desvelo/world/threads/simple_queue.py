"""``queue.SimpleQueue`` in the world: who takes something up works for whoever handed it over."""

from __future__ import annotations

import queue
from typing import Any

from desvelo.world.actors import ACTOR
from desvelo.world.inside import current

_Plain: Any = queue._PySimpleQueue  # type: ignore[attr-defined] # made of threading's own


class SimpleQueue(_Plain):  # type: ignore[misc] # known to be a class when it runs
    """A queue that hands over the actor too, to threads that the target has started.

    The thread of a connection, a writer of logs, a worker: what it does next it does for whoever
    asked for it, and there it stands in a story.
    """

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an item; it never blocks."""
        super().put((ACTOR.get(), item))

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the next item, or raise `queue.Empty`."""
        actor, item = super().get(block, timeout)
        world = current()
        taker = world.threads.running if world is not None else None
        if taker is not None and taker.started_at:
            ACTOR.set(actor)
        return item
