"""Partial order sampling for the event loop: each event has a random priority of its own."""

from __future__ import annotations

from math import log2

from desvelo.schedule.decisions import HOLD_KINDS, ORDERS
from desvelo.schedule.scale import Scale
from desvelo.schedule.source import Source


class Pos:
    """Every event waits as long as its random priority is low.

    Yuan, Yang, Gu, *Partial Order Aware Concurrency Sampling*, CAV 2018. Deviations: a priority
    is a number of polls, at most so many as one draw per execution says, for in stock asyncio
    only time puts one event behind another; timers keep their time.

    >>> policy = Pos(Source(1), Scale(polls=30))
    >>> len({policy.decide("deliver", "a", 65536) for _ in range(20)}) > 1
    True
    """

    def __init__(self, random: Source, scale: Scale) -> None:
        self._random = random
        longest = max(scale.polls, 4)
        self._most = 2 ** (random.random() * log2(longest)) + 1
        self._longest = longest

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return a hold that is drawn evenly."""
        random = self._random
        if kind not in HOLD_KINDS:
            return random.randrange(limit) if random.random() < 0.1 else 0
        if kind == "timer":
            return 0
        most = self._longest if kind == "arrive" else self._most
        return min(int(random.random() * most * ORDERS), limit - 1)
