"""One operation after the other: how a program runs without any concurrency."""

from __future__ import annotations

from collections.abc import Sequence

from desvelo.schedule.decisions import ORDERS


class Sequential:
    """Each operation starts when nothing else can happen any more.

    It tells a race from a plain bug: what fails here needs no concurrency to fail. ``order``
    names the operations in the order in which they start, by default the one that they have.

    >>> policy = Sequential()
    >>> [policy.decide("arrive", name, 65536) for name in "abc"]
    [0, 4000, 8000]
    >>> policy = Sequential("cab")
    >>> [policy.decide("arrive", name, 65536) for name in "abc"]
    [4000, 8000, 0]
    """

    APART = 1000
    """Polls between two arrivals; an idle loop lets the next one through long before."""

    def __init__(self, order: Sequence[str] = ()) -> None:
        self._places = {name: place for place, name in enumerate(order)}
        self._arrivals = 0

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Hold each arrival back behind all earlier ones."""
        if kind != "arrive":
            return 0
        place = self._places.get(actor, self._arrivals)
        self._arrivals += 1
        return min(place * self.APART * ORDERS, limit - 1)
