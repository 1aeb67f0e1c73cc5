"""Who wants to know of events that were processed."""

import asyncio
import logging
from collections.abc import Callable

from vigia_reference.events import Event

Listener = Callable[[Event], object]
"""A plain function that returns soon: it is called in the event loop."""

logger = logging.getLogger(__name__)


class Listeners:
    """Calls functions with every event that was processed, in the order of their subscription.

    >>> async def example():
    ...     listeners = Listeners()
    ...     waiting = asyncio.ensure_future(listeners.wait_for(lambda event: True, timeout=5))
    ...     await asyncio.sleep(0)
    ...     listeners.tell(Event.new("detection.failed", {"patient_code": "A-1"}))
    ...     event = await waiting
    ...     return event.payload["patient_code"], len(listeners)
    >>> asyncio.run(example())
    ('A-1', 0)
    """

    def __init__(self) -> None:
        self._subscribed: list[Listener] = []

    def __len__(self) -> int:
        return len(self._subscribed)

    def subscribe(self, listener: Listener) -> None:
        """Call *listener* from now on; one that is subscribed twice is called twice."""
        self._subscribed.append(listener)

    def unsubscribe(self, listener: Listener) -> None:
        """Call it no more (once less); does nothing when it is not subscribed."""
        if listener in self._subscribed:
            self._subscribed.remove(listener)

    def tell(self, event: Event) -> None:
        """Call every listener.  One that raises is logged and does not stop the others."""
        for listener in list(self._subscribed):
            try:
                listener(event)
            except Exception:
                logger.exception("A listener failed on %s", event.event_type.value)

    async def wait_for(self, wanted: Callable[[Event], bool], *, timeout: float) -> Event:
        """Wait until an event is processed that is *wanted*, and return it.

        Raises `TimeoutError` after *timeout* seconds.
        """
        seen: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

        def note(event: Event) -> None:
            if not seen.done() and wanted(event):
                seen.set_result(event)

        self.subscribe(note)
        try:
            async with asyncio.timeout(timeout):
                return await seen
        finally:
            self.unsubscribe(note)
