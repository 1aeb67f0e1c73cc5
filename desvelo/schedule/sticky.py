"""Sticky: stay with the same actor, so that there are long runs and few switches."""

from __future__ import annotations

from desvelo.schedule.decisions import HOLD_KINDS, ORDERS
from desvelo.schedule.scale import Scale
from desvelo.schedule.source import Source


class Sticky:
    """Stay with the actor that ran last with probability ``stay``.

    A random walk with inertia, as Node.fz (Davis, Thekumparampil, Lee, EuroSys 2017) and most
    controlled schedulers offer under some name: few preemptions, each lasting long. Its events
    come at once; those of another actor wait, on average, for ``1 / (1 - stay)`` polls.
    Deviations: it is made of holds, so that others are seen at the latest when the current
    actor has nothing to do; an arrival waits for some part of the plain run.

    >>> policy = Sticky(Source(1), 1.0, Scale())
    >>> policy.decide("deliver", "a", 1000), policy.decide("deliver", "b", 1000) > 0
    (0, True)
    """

    def __init__(self, random: Source, stay: float, scale: Scale) -> None:
        self._random = random
        self._stay = stay
        self._scale = scale
        self._current: str | None = None
        self._first = random.randrange(max(scale.arrivals, 1))
        """Which of the operations is the first to be stayed with."""

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return 0 for the actor that ran last, a hold for the others."""
        random = self._random
        if kind not in HOLD_KINDS:
            return random.randrange(limit) if random.random() < 0.05 else 0
        if self._current is None:
            if kind == "arrive" and self._first > 0:
                self._first -= 1
            else:
                self._current = actor
        if actor == self._current and random.random() < self._stay:
            return 0
        if kind == "timer":
            return 0
        polls = 1
        while random.random() < self._stay and polls < 64:
            polls += 1
        if kind == "arrive" and not self._scale.any_order:
            polls = random.randint(1, max(self._scale.polls, 2))
        if random.random() >= self._stay:
            self._current = actor
        return min(polls * ORDERS, limit - 1)
