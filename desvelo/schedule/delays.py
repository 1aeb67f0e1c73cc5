"""Delay-bounded scheduling: FIFO with a few deviations."""

from __future__ import annotations

from desvelo.schedule.scale import Scale
from desvelo.schedule.source import Source
from desvelo.schedule.surprises import drawn_value

PLACE, LATE = 1, 2


class Delays:
    """At most ``count`` decisions deviate, at places drawn beforehand.

    Delay-bounded scheduling: Emmi, Qadeer, Rakamaric, *Delay-Bounded Scheduling*, POPL 2011.
    Most real races need one or two delays of an otherwise plain schedule. Deviations from the
    paper: the delays are drawn and not enumerated; a delay has a length, in polls, instead of
    one turn of a round-robin; and half of the places are arrivals of operations, however few
    of the decisions these are, because requests come when they like.

    >>> policy = Delays(Source(1), 1, Scale(decisions=10, arrivals=2))
    >>> sum(policy.decide("deliver", "a", 1000) > 0 for _ in range(10))
    1
    """

    def __init__(self, random: Source, count: int, scale: Scale) -> None:
        self._random = random
        self._scale = scale
        self._places = drawn_places(random, count, scale)
        self._late: float | None = random.even(LATE)
        self._step = -1

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return 0 except at the drawn places."""
        self._step += 1
        if self._step not in self._places:
            return 0
        late, self._late = self._late, None
        return drawn_value(self._random, kind, limit, self._scale, late)


def drawn_places(random: Source, count: int, scale: Scale) -> set[int]:
    """Draw different decisions: arrivals with at least even odds, and never all of them.

    Delaying every arrival is delaying none: what counts is how far they are apart.
    """
    arrivals = list(range(min(scale.arrivals, scale.decisions)))
    others = list(range(len(arrivals), max(scale.decisions, 1)))
    odds = max(0.5, len(arrivals) / max(scale.decisions, 1))
    places: set[int] = set()
    draw = random.even(PLACE)
    while len(places) < count:
        may_arrive = len(arrivals) > 1 or (arrivals and scale.arrivals == 1)
        if may_arrive and (not others or draw < odds):
            pool = arrivals
        elif others:
            pool = others
        else:
            break
        places.add(pool.pop(random.randrange(len(pool))))
        draw = random.random()
    return places
