"""The policies in a world of threads, where every line of the target is a place to switch.

The values are those of any hold. What differs is what they mean: of threads that are ready the
one with the smallest hold goes on, and no poll passes before all of them wait. So a hold is a
priority, and a thread that is not held goes on until it waits. Each class says what its namesake
for the event loop says, in these terms.
"""

from __future__ import annotations

from desvelo.schedule.decisions import ORDERS
from desvelo.schedule.scale import Scale
from desvelo.schedule.source import Source
from desvelo.schedule.surprises import UNTIL_IDLE

PLACE = 1
_LEVELS = 4000
"""Priorities that are told apart."""


def hold_for(rank: float, limit: int) -> int:
    """Return the hold of a rank, 0 being the highest and 4 as low as any.

    >>> hold_for(0.25, 65536) < hold_for(0.5, 65536) < hold_for(3.5, 65536)
    True
    """
    return min((1 + int(rank * _LEVELS)) * ORDERS, limit - 1)


class ThreadDelays:
    """At most ``count`` deviations, at places drawn beforehand: delay-bounded scheduling.

    Emmi, Qadeer, Rakamaric, POPL 2011. A delay sends a thread to the end of the queue, as in
    the paper, or until nothing else can happen. One in four is about the order of arrivals.

    >>> policy = ThreadDelays(Source(1), 1, Scale(decisions=10, arrivals=2, threads=True))
    >>> sum(policy.decide("pause", "a", 1000) > 0 for _ in range(10)) <= 1
    True
    """

    preempts = True

    def __init__(self, random: Source, count: int, scale: Scale) -> None:
        self._random = random
        self._step = -1
        arrivals = min(scale.arrivals, scale.decisions)
        others = range(arrivals, max(scale.decisions, arrivals + 1))
        self._places: set[int] = set()
        draw = random.even(PLACE)
        for _ in range(min(count, len(others))):
            if arrivals > 1 and random.random() < 0.25:
                self._places.add(random.randrange(arrivals))
            else:
                self._places.add(others[int(draw * len(others))])
            draw = random.random()

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return 0 except at the drawn places."""
        self._step += 1
        if self._step not in self._places or kind == "timer":
            return 0
        if self._random.random() < 0.7:
            return min(1, limit - 1)
        return min(UNTIL_IDLE * ORDERS, limit - 1)


class ThreadPct:
    """Each thread has a random priority, and at ``depth - 1`` change points one falls to the end.

    Burckhardt, Kothari, Musuvathi, Nagarakatte, ASPLOS 2010, without deviation: of those that
    can run the one with the highest priority does. A step is a switch point.

    >>> policy = ThreadPct(Source(4), 1, Scale(decisions=20, arrivals=2, threads=True))
    >>> first = [policy.decide("arrive", name, 65536) for name in "ab"]
    >>> first[0] != first[1]
    True
    """

    preempts = True

    def __init__(self, random: Source, depth: int, scale: Scale) -> None:
        self._random = random
        self._ranks: dict[str, float] = {}
        self._ready: dict[str, float] = {}
        self._step = -1
        steps = max(scale.decisions - scale.arrivals, 1)
        drawn = random.sample(range(steps), min(depth - 1, steps))
        self._changes = {step: 1.0 + number / 8 for number, step in enumerate(drawn)}

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return 0 for the thread with the highest priority, and a hold for the others."""
        if kind == "timer":
            return 0
        ready = self._ready
        rank = self._ranks.get(actor)
        if rank is None:
            rank = self._ranks[actor] = self._random.random()
        if kind != "pause":
            ready[actor] = rank
            if kind == "wake":
                self._step += 1
            return hold_for(rank, limit)
        ready.pop(actor, None)
        self._step += 1
        if self._step in self._changes:
            rank = self._ranks[actor] = self._changes[self._step]
        if ready and min(ready.values()) < rank:
            ready[actor] = rank
            return hold_for(rank, limit)
        return 0


class ThreadPos:
    """Partial order sampling: each step of each thread has a random priority of its own.

    Yuan, Yang, Gu, *Partial Order Aware Concurrency Sampling*, CAV 2018, the basic form: what
    runs is the step with the highest priority, and a thread that has run draws a new one for
    its next. Deviation: those who race with a step do not draw again, for a hold stands.

    >>> policy = ThreadPos(Source(4))
    >>> policy.decide("arrive", "a", 65536) != policy.decide("arrive", "b", 65536)
    True
    """

    preempts = True

    def __init__(self, random: Source) -> None:
        self._random = random
        self._ready: dict[str, float] = {}

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return 0 while the drawn priority is the highest, else a hold as long as it is low."""
        if kind == "timer":
            return 0
        ready = self._ready
        drawn = self._random.random()
        if kind == "pause":
            ready.pop(actor, None)
            if not ready or drawn < min(ready.values()):
                return 0
        ready[actor] = drawn
        return hold_for(drawn, limit)


class ThreadWalk:
    """At every switch point a thread goes on with probability ``keep``; else somebody else does.

    The uniform random scheduler (Thomson, Donaldson, Betts, TOPC 2016): without ``keep`` each of
    those that can run is as likely as any other. Deviation: a thread that is held takes a random
    place in the queue of those that can run, whose own places stand.

    >>> policy = ThreadWalk(Source(1), 1.0)
    >>> policy.decide("pause", "a", 65536)
    0
    """

    preempts = True

    def __init__(self, random: Source, keep: float | None = None) -> None:
        self._random = random
        self._keep = keep
        self._queue: dict[str, int] = {}
        """The holds of the threads that can run and do not."""

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return 0 with the odds of going on, else a drawn place in the queue."""
        if kind == "timer":
            return 0
        queue, random = self._queue, self._random
        if kind == "pause":
            queue.pop(actor, None)
            if not queue:
                return 0
            keep = self._keep if self._keep is not None else 1 / (len(queue) + 1)
            if random.random() < keep:
                return 0
            # Behind at least one: behind an equal hold, for first come is first served.
            value = max(random.choice(list(queue.values())), 1)
        elif kind == "arrive" and not queue:
            value = 2
        else:
            value = random.choice([1, *queue.values(), max(queue.values(), default=1) + 1])
        queue[actor] = value
        return min(value, limit - 1)
