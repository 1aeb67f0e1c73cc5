"""The ``any-order`` mode: ready task steps may also run in another order than they became ready.

asyncio promises first come, first served; code that runs under another loop, or that must not
depend on that promise, can be explored with it lifted. Only steps of tasks are moved; the
callbacks of transports and timers keep their order, for they belong to asyncio itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from desvelo.schedule.decisions import MAX_HOLD, ORDERS
from desvelo.world.actors import ACTOR

if TYPE_CHECKING:
    from desvelo.world.world import World


class ReadyPool:
    """Task steps that are ready and held back by a decision."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._held: list[tuple[int, int, int, Any]] = []
        self._sequence = 0

    def busy(self) -> bool:
        """Tell whether a step is held."""
        return bool(self._held)

    def on_poll(self) -> None:
        """Decide for each step that became ready when it runs; let those run that are due."""
        world = self._world
        ready = world.loop._ready
        loop_would_wait = not ready
        poll = world.selector.polls
        kept = []
        while ready:
            handle = ready.popleft()
            owner = getattr(getattr(handle, "_callback", None), "__self__", None)
            if not isinstance(owner, asyncio.Task) or not world.deciding:
                kept.append(handle)
                continue
            actor = handle._context.get(ACTOR)  # type: ignore[attr-defined] # typeshed has no slots
            value = world.decide("ready", actor.name if actor is not None else "world", MAX_HOLD)
            self._sequence += 1
            self._held.append((poll + value // ORDERS, value % ORDERS, self._sequence, handle))
        if self._held:
            due = [entry for entry in self._held if entry[0] <= poll]
            if not due and not kept:
                soonest = min(entry[0] for entry in self._held)
                due = [entry for entry in self._held if entry[0] == soonest]
            if due:
                taken = {entry[2] for entry in due}
                self._held = [entry for entry in self._held if entry[2] not in taken]
                kept.extend(entry[3] for entry in sorted(due, key=lambda entry: entry[1:3]))
        ready.extend(kept)
        if ready and loop_would_wait:
            # The loop found nothing ready and asked to wait for whatever comes next. It must
            # not: a step has just become ready again, so the poll has to end at once.
            world.selector.call(_nothing)


def _nothing() -> None:
    """Run in a poll that only exists to be over."""
