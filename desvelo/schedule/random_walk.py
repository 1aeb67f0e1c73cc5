"""The memoryless walk: at every poll each event is seen or not, by chance."""

from __future__ import annotations

from desvelo.schedule.decisions import HOLD_KINDS, ORDERS
from desvelo.schedule.scale import Scale
from desvelo.schedule.source import Source
from desvelo.schedule.surprises import drawn_value


class RandomWalk:
    """At every poll each waiting event is reported with probability ``keep``.

    The uniform random scheduler of controlled concurrency testing: Thomson, Donaldson, Betts,
    *Concurrency Testing Using Controlled Schedulers*, TOPC 2016, found it hard to beat on
    shallow bugs. Deviations from it: an event draws all its coins at once, as a geometric
    number of polls; arrivals are spread over the whole run, and timers and messages are left
    alone most of the time, for a world in which each is a surprise is no plain world any more.

    >>> policy = RandomWalk(Source(1), keep=1.0, scale=Scale())
    >>> policy.decide("deliver", "a", 1000) < ORDERS
    True
    """

    def __init__(self, random: Source, keep: float, scale: Scale) -> None:
        self._random = random
        self._keep = keep
        self._scale = scale

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return a geometric hold, and a rare surprise for the other kinds."""
        random = self._random
        if kind not in HOLD_KINDS:
            return random.randrange(limit) if random.random() < 0.1 else 0
        if kind == "arrive" and not self._scale.any_order:
            late = random.random() < 0.75
            return drawn_value(random, kind, limit, self._scale) if late else 0
        if kind == "timer" and random.random() < 0.7:
            return 0
        polls = 0
        while random.random() >= self._keep and polls < 64:
            polls += 1
        return min(polls * ORDERS + random.randrange(ORDERS), limit - 1)
