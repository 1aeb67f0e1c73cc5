"""Making a failure small: fewest operations, then fewest deviations, then the mildest ones.

The schedule is FIFO plus named deviations, so shrinking drops operations, drops deviations
(delta debugging: Zeller and Hildebrandt, IEEE TSE 2002) and lowers their values. The path by
which a policy stumbled on a bug is seldom the shortest, so there is a search afresh by number
of deviations from below, as Lincheck does: every single deviation, mildest first, and then
drawn pairs and triples, with all operations and with one left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from desvelo.failure import Failure
from desvelo.schedule.decisions import (
    HOLD_KINDS,
    ORDERS,
    SPLITS,
    THREAD_KINDS,
    Deviation,
    Key,
    Schedule,
    keys_of,
)
from desvelo.schedule.scale import Scale
from desvelo.schedule.source import Source
from desvelo.schedule.surprises import UNTIL_IDLE, drawn_value

Identity = tuple[str, str, str]
Names = tuple[str, ...]

MAX_RUNS = 2500
MAX_SECONDS = 12.0
"""A guard only: the bound on runs is what makes one seed give one finding everywhere."""
FULL_RANGE = 120
"""Polls up to which every hold is tried; beyond, they are doubled."""

MOST_PLACES = 12
"""Polls up to which the hold of a thread is tried."""

UNKNOWN_POLLS = 40
"""How long a plain run is taken to be when nobody has counted."""


@dataclass(frozen=True)
class Attempt:
    """What one run of a candidate showed."""

    failure: Failure | None
    schedule: Schedule
    kinds: Sequence[tuple[str, str]] = ()
    """What was decided, as (kind, actor); only plain runs need it."""
    polls: int = 0


Sound = Callable[[Names], bool]
"""Tells whether a failure of some of the operations can be the one that was found."""

Run = Callable[[Names, Schedule], Attempt]
"""Runs some operations under a schedule and says what happened."""


@dataclass
class Minimum:
    """The smallest failing candidate so far."""

    operations: Names
    schedule: Schedule
    failure: Failure
    runs: int = 0
    seen: set[tuple[Names, Schedule]] = field(default_factory=set)


class Shrinker:
    """Shrinks one failure within bounds on runs and seconds; ``best`` is always a failure.

    Operations are dropped only when what is left is ``sound``: a check that counts on all of
    them would otherwise be broken by leaving one out, and the race be lost; or some would wait
    in vain for what the one left out would have done. What survives is
    the failure's identity: kind, type and site. An interrupt ends the shrinking and keeps what
    was reached.
    """

    def __init__(
        self,
        run: Run,
        best: Minimum,
        *,
        max_runs: int = MAX_RUNS,
        max_seconds: float = MAX_SECONDS,
        sound: Sound = lambda operations: True,
        on_better: Callable[[Minimum], None] | None = None,
    ) -> None:
        self.best = best
        self.interrupted = False
        self._run = run
        self._sound_of = sound
        self._known_sound: dict[Names, bool] = {}
        self._identity = best.failure.identity()
        self._max_runs = max_runs
        self._until = time.perf_counter() + max_seconds
        self._on_better = on_better

    def shrink(self) -> Minimum:
        """Return the smallest failure found."""
        try:
            self._without_luck()
            self._simplify()
            # Deviations before operations, although those count more: with one deviation left
            # most operations are seen to be needless at once, and the rest is quickly searched.
            self._search_fewer_deviations()
            self._search_fewer_operations()
            self._search_fewer_deviations()
            self._simplify()
            self._lower_values()
            self._search_milder()
        except _OutOfBudget:
            pass
        except KeyboardInterrupt:
            self.interrupted = True
        return self.best

    # candidates

    def _try(self, operations: Names, schedule: Schedule) -> bool:
        """Run a candidate; keep it when it fails in the same way."""
        best = self.best
        if (operations, schedule) in best.seen:
            return False
        best.seen.add((operations, schedule))
        attempt = self._spend(operations, schedule)
        if attempt.failure is None or attempt.failure.identity() != self._identity:
            return False
        # What was written but never met in the run is not part of it.
        met = attempt.schedule if len(attempt.schedule) <= len(schedule) else schedule
        best.operations, best.schedule, best.failure = operations, met, attempt.failure
        if self._on_better is not None:
            self._on_better(best)
        return True

    def _spend(self, operations: Names, schedule: Schedule) -> Attempt:
        best = self.best
        if best.runs >= self._max_runs or time.perf_counter() > self._until:
            raise _OutOfBudget
        best.runs += 1
        return self._run(operations, schedule)

    def _with(self, deviations: Sequence[Deviation]) -> Schedule:
        return Schedule(deviations, self.best.schedule.seed)

    def _sound(self, operations: Names) -> bool:
        """Without this test the invariant may break for want of an operation, not by a race."""
        known = self._known_sound.get(operations)
        if known is None:
            known = self._known_sound[operations] = self._sound_of(operations)
        return known

    def _smaller(self) -> Iterator[Names]:
        """Return the sets of operations that have one less and can be judged."""
        everything = self.best.operations
        for name in reversed(everything):
            left = tuple(other for other in everything if other != name)
            if left and self._sound(left):
                yield left

    # dropping

    def _without_luck(self) -> None:
        """Try the plain order, and the world's own randomness at its default."""
        best = self.best
        if best.schedule.seed:
            self._try(best.operations, Schedule((), 0)) or self._try(
                best.operations, Schedule(best.schedule.deviations, 0)
            )
        if best.schedule.deviations:
            self._try(best.operations, self._with(()))

    def _simplify(self) -> None:
        while True:
            before = (self.best.operations, len(self.best.schedule))
            self._drop_operations()
            self._drop_deviations()
            if (self.best.operations, len(self.best.schedule)) == before:
                return

    def _drop_operations(self) -> None:
        dropped = True
        while dropped:
            dropped = False
            for left in self._smaller():
                deviations = self.best.schedule.deviations
                keep = [deviation for deviation in deviations if deviation.key.actor in left]
                if self._try(left, self._with(keep)) or self._try(left, self._with(deviations)):
                    dropped = True
                    break

    def _drop_deviations(self) -> None:
        chunk = max(len(self.best.schedule) // 2, 1)
        while self.best.schedule.deviations:
            start, dropped = 0, False
            while start < len(self.best.schedule):
                deviations = self.best.schedule.deviations
                rest = deviations[:start] + deviations[start + chunk :]
                if self._try(self.best.operations, self._with(rest)):
                    dropped = True
                else:
                    start += chunk
            if chunk == 1 and not dropped:
                return
            chunk = max(chunk // 2, 1)

    # milder values

    def _lower_values(self) -> None:
        lowered = True
        while lowered:
            lowered = False
            for index in range(len(self.best.schedule)):
                if index < len(self.best.schedule):
                    lowered = self._lower(index) or lowered

    def _lower(self, index: int) -> bool:
        """Find the mildest value of one deviation, all others as they are."""
        key, current = _pair(self.best.schedule.deviations[index])
        for value in values_of(key.kind, current // ORDERS):
            if value >= current:
                return False
            deviations = list(self.best.schedule.deviations)
            deviations[index] = Deviation(key, value)
            if self._try(self.best.operations, self._with(deviations)):
                return True
        return False

    # searching afresh

    def _search_fewer_operations(self) -> None:
        """An operation may be needed by these deviations only: look for others without it."""
        found = True
        while found and len(self.best.operations) > 1:
            found = False
            for left in list(self._smaller()):
                if self._search(left, count=1) or self._search(left, count=2, tries=150):
                    self._simplify()
                    found = True
                    break

    def _search_fewer_deviations(self) -> None:
        """Go up from one deviation until the number that is known."""
        count = 1
        while count < len(self.best.schedule):
            if not self._search(self.best.operations, count, tries=500 * count):
                count += 1

    def _search_milder(self) -> None:
        """Of single deviations take the mildest, whichever decision it is."""
        if len(self.best.schedule) == 1:
            limit = self.best.schedule.deviations[0].value
            self._search(self.best.operations, count=1, below=limit)

    def _search(self, operations: Names, count: int, tries: int = 0, below: int = 1 << 30) -> bool:
        plain = self._spend(operations, self._with(()))
        keys = keys_of(plain.kinds)
        known = [deviation.key for deviation in self.best.schedule.deviations]
        keys += [key for key in known if key not in keys and key.actor in operations]
        if not keys:
            return False
        if count == 1:
            return self._search_single(operations, keys, plain.polls or UNKNOWN_POLLS, below)
        arrivals = sum(1 for key in keys if key.kind == "arrive")
        scale = Scale(len(keys), plain.polls or UNKNOWN_POLLS, arrivals)
        return self._search_drawn(operations, keys, scale, count, tries)

    def _search_single(self, operations: Names, keys: list[Key], polls: int, below: int) -> bool:
        ranges = {kind: list(values_of(kind, polls + 2)) for kind in {key.kind for key in keys}}
        for value in sorted({value for values in ranges.values() for value in values}):
            if value >= below:
                return False
            for key in keys:
                if value in ranges[key.kind] and self._try(
                    operations, self._with([Deviation(key, value)])
                ):
                    return True
        return False

    def _search_drawn(
        self, operations: Names, keys: list[Key], scale: Scale, count: int, tries: int
    ) -> bool:
        source = Source(count)  # repeatable on purpose
        known = [d.key for d in self.best.schedule.deviations if d.key.actor in operations]
        arrivals = [key for key in keys if key.kind == "arrive"]
        for _ in range(tries):
            chosen: dict[Key, int] = {}
            for _ in range(count):
                key = source.choice(source.choice([known or keys, arrivals or keys, keys]))
                limit = 1 << 16 if key.kind in HOLD_KINDS else len(SPLITS)
                chosen[key] = drawn_value(source, key.kind, limit, scale)
            # In the order in which they are met, as every schedule is written.
            pair = [Deviation(key, chosen[key]) for key in keys if key in chosen]
            if self._try(operations, self._with(pair)):
                return True
        return False


class _OutOfBudget(Exception):
    """The way out of nested loops."""


def values_of(kind: str, polls: int) -> Iterator[int]:
    """Return the values worth trying for one kind of decision, mildest first.

    >>> list(values_of("split", 10))
    [1, 2, 3, 4]
    >>> list(values_of("arrive", 3))
    [1, 4, 8, 12, 1200]
    """
    if kind == "preempt":
        yield from range(1, ORDERS)
        return
    if kind == "fault":
        yield from range(1, (polls + 1) * ORDERS)
        return
    if kind not in HOLD_KINDS:
        yield from range(1, len(SPLITS))
        return
    yield 1
    if kind == "cancel":
        for hold in range(1, min(polls, FULL_RANGE) + 1):
            yield hold * ORDERS
            yield hold * ORDERS + 1
        return
    if kind in THREAD_KINDS:
        # A hold is a place among the threads that are ready: a few polls are as good as many.
        for hold in range(1, min(polls, MOST_PLACES) + 1):
            yield hold * ORDERS
        yield UNTIL_IDLE * ORDERS
        return
    for hold in range(1, min(polls, FULL_RANGE) + 1):
        yield hold * ORDERS
    hold = FULL_RANGE
    while hold * 2 < polls:
        hold *= 2
        yield hold * ORDERS
    if polls < UNTIL_IDLE:
        yield UNTIL_IDLE * ORDERS


def _pair(deviation: Deviation) -> tuple[Key, int]:
    return deviation.key, deviation.value
