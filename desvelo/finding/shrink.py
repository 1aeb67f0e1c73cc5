"""Making a failure small: fewest operations, then fewest deviations, then the mildest ones.

The schedule is FIFO plus named deviations, so shrinking drops operations, drops deviations
(delta debugging: Zeller and Hildebrandt, IEEE TSE 2002), lowers their values, and at the end
searches afresh by number of deviations from below, as Lincheck does, because the path by
which a policy stumbled on a bug is seldom the shortest.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from desvelo.failure import Failure
from desvelo.schedule.decisions import HOLD_KINDS, ORDERS, Deviation, Key, Schedule

Identity = tuple[str, str, str]

MILD_HOLDS = (
    1,
    1 * ORDERS,
    2 * ORDERS,
    4 * ORDERS,
    8 * ORDERS,
    16 * ORDERS,
    32 * ORDERS,
    300 * ORDERS,
)
"""Values tried when a single deviation is searched for, mildest first."""


@dataclass(frozen=True)
class Attempt:
    """What one run of a candidate showed."""

    failure: Failure | None
    schedule: Schedule
    kinds: Sequence[tuple[str, str]]


Sound = Callable[[tuple[str, ...]], bool]
"""Tells whether some operations end well when they run one after the other."""

Run = Callable[[tuple[str, ...], Schedule], Attempt]
"""Runs some operations under a schedule and says what happened."""


@dataclass
class Minimum:
    """The smallest failing candidate so far."""

    operations: tuple[str, ...]
    schedule: Schedule
    failure: Failure
    runs: int = 0
    seen: set[tuple[tuple[str, ...], Schedule]] = field(default_factory=set)


class Shrinker:
    """Shrinks one failure within bounds on runs and seconds; ``best`` is always a failure.

    Operations are dropped only when what is left is ``sound``: a check that counts on all of
    them would otherwise be broken by leaving one out, and the race be lost.
    """

    def __init__(
        self,
        run: Run,
        best: Minimum,
        *,
        max_runs: int = 1500,
        max_seconds: float = 10.0,
        sound: Sound = lambda operations: True,
        on_better: Callable[[Minimum], None] | None = None,
    ) -> None:
        self.best = best
        self._run = run
        self._sound = sound
        self._identity = best.failure.identity()
        self._max_runs = max_runs
        self._until = time.perf_counter() + max_seconds
        self._on_better = on_better

    def shrink(self) -> Minimum:
        """Return the smallest failure found."""
        try:
            self._drop_all_deviations()
            while True:
                before = (self.best.operations, len(self.best.schedule))
                self._drop_operations()
                self._drop_deviations()
                if (self.best.operations, len(self.best.schedule)) == before:
                    break
            self._lower_values()
            self._search_by_count()
            self._drop_operations()
            self._lower_values()
        except _OutOfBudget:
            pass
        return self.best

    # candidates

    def _try(self, operations: tuple[str, ...], schedule: Schedule) -> bool:
        """Run a candidate; keep it when it fails in the same way."""
        best = self.best
        if (operations, schedule) in best.seen:
            return False
        best.seen.add((operations, schedule))
        if best.runs >= self._max_runs or time.perf_counter() > self._until:
            raise _OutOfBudget
        best.runs += 1
        attempt = self._run(operations, schedule)
        if attempt.failure is None or attempt.failure.identity() != self._identity:
            return False
        # What was written but never met in the run is not part of it.
        met = attempt.schedule if len(attempt.schedule) <= len(schedule) else schedule
        best.operations, best.schedule, best.failure = operations, met, attempt.failure
        if self._on_better is not None:
            self._on_better(best)
        return True

    def _with(self, deviations: Sequence[Deviation]) -> Schedule:
        return Schedule(deviations, self.best.schedule.seed)

    def _drop_all_deviations(self) -> None:
        if self.best.schedule.deviations:
            self._try(self.best.operations, self._with(()))

    def _drop_operations(self) -> None:
        for name in reversed(self.best.operations):
            left = tuple(other for other in self.best.operations if other != name)
            if not left:
                return
            if not self._sound(left):
                # The invariant needs this operation: without it even a sequential run breaks it.
                continue
            keep = [d for d in self.best.schedule.deviations if d.key.actor != name]
            if not self._try(left, self._with(keep)) and len(self.best.operations) > 2:  # noqa: PLR2004
                self._try(left, self._with(self.best.schedule.deviations))

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

    def _lower_values(self) -> None:
        for index in range(len(self.best.schedule)):
            if index >= len(self.best.schedule):
                return
            self._lower(index)

    def _lower(self, index: int) -> None:
        """Find the mildest value of one deviation: doubling from below, then in between."""

        def attempt(value: int) -> bool:
            deviations = list(self.best.schedule.deviations)
            deviations[index] = Deviation(deviations[index].key, value)
            return self._try(self.best.operations, self._with(deviations))

        current = self.best.schedule.deviations[index].value
        low = 0
        for value in (1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512, 1024):
            if value >= current:
                break
            if attempt(value):
                break
            low = value
        while index < len(self.best.schedule):
            current = self.best.schedule.deviations[index].value
            step = ORDERS if current > 2 * ORDERS else 1
            middle = (low + current) // 2 // step * step
            if middle <= low or middle >= current:
                return
            if not attempt(middle):
                low = middle

    # fewest deviations

    def _search_by_count(self) -> None:
        count = len(self.best.schedule)
        if count <= 1:
            return
        plain = self._run(self.best.operations, self._with(()))
        keys = _keys_of(plain.kinds)
        if self._search_single(keys) or count <= 2:  # noqa: PLR2004
            return
        self._search_pairs(keys)

    def _search_single(self, keys: list[Key]) -> bool:
        for value in MILD_HOLDS:
            for key in keys:
                if key.kind in HOLD_KINDS and self._try(
                    self.best.operations, self._with([Deviation(key, value)])
                ):
                    return True
        return False

    def _search_pairs(self, keys: list[Key]) -> None:
        source = random.Random(0)  # noqa: S311 - repeatable on purpose
        known = [d.key for d in self.best.schedule.deviations]
        for _ in range(400):
            first = source.choice(known)
            second = source.choice(keys) if source.random() < 0.7 else source.choice(known)  # noqa: PLR2004
            if first == second:
                continue
            pair = [Deviation(key, source.choice(MILD_HOLDS)) for key in (first, second)]
            if self._try(self.best.operations, self._with(pair)):
                return


class _OutOfBudget(Exception):  # noqa: N818 - the way out of nested loops
    pass


def _keys_of(kinds: Sequence[tuple[str, str]]) -> list[Key]:
    counts: dict[tuple[str, str], int] = {}
    keys = []
    for kind, actor in kinds:
        ordinal = counts.get((kind, actor), 0)
        counts[kind, actor] = ordinal + 1
        keys.append(Key(actor, kind, ordinal))
    return keys
