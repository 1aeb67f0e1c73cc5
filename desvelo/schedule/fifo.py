"""Plain FIFO: no deviation at all."""

from __future__ import annotations


class Fifo:
    """What stock asyncio does on an idle machine; the schedule that all others are told against.

    >>> Fifo().decide("deliver", "a", 1000)
    0
    """

    preempts = False

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return 0."""
        return 0


class Interruptible(Fifo):
    """Plain FIFO that is asked at every switch point of jobs, to see how many there are."""

    preempts = True
