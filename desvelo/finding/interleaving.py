"""One schedule, written down by hand or by ``desvelo export``, and run as a plain test.

Basically this is for a race that has been found: the test says which operation is held where,
and nothing in it is left to chance. It runs in well under a second and fails with the target's
own error until the race is gone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from desvelo.errors import ReplayDiverged, UsageError
from desvelo.schedule.cancelling import BEFORE_IT_RUNS
from desvelo.schedule.decisions import MAX_HOLD, ORDERS, SPLITS, Deviation, Key, Schedule
from desvelo.world.whereabouts import is_foreign

if TYPE_CHECKING:
    from desvelo.scenario import Scenario

WHAT = {
    "start": "arrive",
    "delivery": "deliver",
    "connection": "connect",
    "acceptance": "accept",
    "room to write": "writable",
    "job": "job",
    "result": "answer",
    "step": "ready",
    "switch point": "pause",
    "wake-up": "wake",
    "thread's start": "spawn",
    "call into the loop": "call",
    "fault": "strike",
}
"""What can be held back, by the word for it, with the kind of decision that this is."""


class Interleaving:
    """A scenario under one schedule: plain FIFO order, except for what is said here.

    ``scenario`` is what `desvelo.explore` takes; ``operations`` leaves out all others. What is
    not in the code any more makes `run` raise `ReplayDiverged`, so that a test which no longer
    tests anything does not pass.

    >>> class LostUpdate:
    ...     def setup(self):
    ...         return {"hits": 0}
    ...
    ...     def operations(self, state):
    ...         async def hit():
    ...             import asyncio
    ...
    ...             seen = state["hits"]
    ...             await asyncio.sleep(0)
    ...             state["hits"] = seen + 1
    ...
    ...         return {"one": hit, "two": hit}
    ...
    ...     def check(self, state):
    ...         assert state["hits"] == 2, state["hits"]
    >>> Interleaving(LostUpdate).hold("two", "start", polls=9).run()
    >>> Interleaving(LostUpdate).run()
    Traceback (most recent call last):
        ...
    AssertionError: 1
    """

    def __init__(
        self,
        scenario: Any,
        *,
        operations: Sequence[str] | None = None,
        seed: int = 0,
        mode: str = "asyncio-order",
        latency: float = 0.1,
        leaks: bool = True,
        granularity: str | None = None,
        max_polls: int = 50_000,
    ) -> None:
        self._source = scenario
        self._only = list(operations) if operations is not None else None
        self._seed = seed
        self._mode = mode
        self._latency = latency
        self._leaks = leaks
        self._granularity = granularity
        self._max_polls = max_polls
        self._deviations: list[Deviation] = []

    def hold(
        self, operation: str, what: str, number: int = 1, *, polls: int = 0, place: int = 0
    ) -> Interleaving:
        """Hold something of an operation back for some iterations of the event loop.

        ``what`` is a word such as ``start``, ``delivery`` or ``result``; ``number`` tells the
        first from the second of its kind. With ``place`` it comes after others that happen in
        the same iteration.
        """
        if what not in WHAT:
            raise UsageError(f"nothing called {what!r} can be held; it is one of {', '.join(WHAT)}")
        return self._add(operation, WHAT[what], number, polls * ORDERS + place)

    def cut(self, operation: str, how: str, number: int = 1) -> Interleaving:
        """Let a message of an operation arrive in pieces, or be accepted only in part."""
        if how not in SPLITS[1:]:
            raise UsageError(f"no message is cut {how!r}; it is one of {', '.join(SPLITS[1:])}")
        return self._add(operation, "split", number, SPLITS.index(how))

    def fire(
        self, operation: str, number: int = 1, *, polls: int = 0, place: int = 0
    ) -> Interleaving:
        """Let a timer of an operation fire although the loop has other work."""
        return self._add(operation, "timer", number, polls * ORDERS + place)

    def pause(
        self, operation: str, number: int = 1, *, polls: int = 0, place: int = 0
    ) -> Interleaving:
        """Pause the thread of an operation at one of its switch points; ``number`` tells which.

        Others run until they wait. With ``place`` it is behind those that are ready, with
        ``polls`` behind those that are held for less.
        """
        return self._add(operation, "pause", number, polls * ORDERS + place)

    def interrupt(self, operation: str, number: int = 1, *, thread: int = 1) -> Interleaving:
        """Interrupt the event loop at a line of an operation, and let a waiting thread run."""
        return self._add(operation, "preempt", number, thread)

    def cancel(
        self, operation: str, number: int = 1, *, polls: int = 0, place: int = 0
    ) -> Interleaving:
        """Cancel an operation, some polls after it began, or after it was cancelled before.

        With 0 polls it is cancelled before it runs a line; with ``place`` after what else comes
        in the same iteration. ``number`` tells the first cancellation from the second.
        """
        value = polls * ORDERS + place if polls else BEFORE_IT_RUNS
        return self._add(operation, "cancel", number, value)

    def strike(self, operation: str, choice: int) -> Interleaving:
        """Let a fault of the scenario strike an operation.

        ``choice`` counts its faults from 1 in their simplest variants, then goes on with the
        second variant of each.
        """
        return self._add(operation, "fault", 1, choice)

    def _add(self, actor: str, kind: str, number: int, value: int) -> Interleaving:
        if number < 1:
            raise UsageError(f"number is {number}; the first of its kind is 1")
        if not 0 < value < MAX_HOLD:
            raise UsageError("this deviates from nothing; give polls or place, above 0")
        self._deviations.append(Deviation(Key(actor, kind, number - 1), value))
        return self

    @property
    def schedule(self) -> Schedule:
        """The schedule as it has been said so far."""
        return Schedule(self._deviations, self._seed)

    def run(self) -> None:
        """Run it; raises the error of the target when it fails."""
        from desvelo.execution import Settings, execute
        from desvelo.exploration import young_garbage_only
        from desvelo.schedule.policy import Fifo, Recorded
        from desvelo.world.boundary import Boundary
        from desvelo.world.threads.where import files_to_switch_in

        scenario = self._load()
        settings = Settings(
            mode=self._mode,
            latency=self._latency,
            leaks=self._leaks,
            granularity=self._granularity or scenario.granularity,
            max_polls=self._max_polls,
            switch_files=files_to_switch_in(scenario.file),
        )
        with Boundary(), young_garbage_only():
            plain = execute(scenario, Fifo(), settings, seed=self._seed)
            missing = [name for name in self._only or () if name not in plain.operations]
            if missing:
                raise ReplayDiverged(
                    f"scenario {scenario.name!r} has no operation {missing[0]!r} any more, it has "
                    f"{', '.join(plain.operations)}"
                )
            policy = Recorded(self.schedule.values())
            outcome = execute(scenario, policy, settings, seed=self._seed, only=self._only)
        if outcome.failure is not None:
            error = outcome.failure.error
            raise error.with_traceback(_from_the_user_on(error.__traceback__))
        met = {deviation.key for deviation in outcome.schedule.deviations}
        for deviation in self._deviations:
            if deviation.key not in met:
                raise ReplayDiverged(
                    f'scenario {scenario.name!r} has changed: "{deviation.describe()}" never '
                    "came up, so this schedule no longer tests anything; explore it again"
                )

    def _load(self) -> Scenario:
        from desvelo.scenario import Scenario, load_scenario

        if isinstance(self._source, Scenario):
            return self._source
        if isinstance(self._source, (str, os.PathLike)):
            return load_scenario(os.fspath(self._source))
        return Scenario(self._source)


def _from_the_user_on(trace: TracebackType | None) -> TracebackType | None:
    """Cut off how the engine got to the user's code: the error is about that code."""
    found = trace
    while found is not None and is_foreign(found.tb_frame.f_code.co_filename):
        found = found.tb_next
    return found or trace


def as_call(deviation: Deviation) -> str:
    """Return the call of an `Interleaving` that states a deviation.

    >>> as_call(Deviation(Key("first", "arrive", 0), 20))
    "hold('first', 'start', polls=5)"
    """
    key, value = deviation.key, deviation.value
    number = [] if key.ordinal == 0 else [str(key.ordinal + 1)]
    if key.kind == "split":
        return f"cut({', '.join([repr(key.actor), repr(SPLITS[min(value, 4)]), *number])})"
    if key.kind == "preempt":
        return f"interrupt({', '.join([repr(key.actor), *number])}, thread={value})"
    if key.kind == "fault":
        return f"strike({key.actor!r}, {value})"
    polls, place = divmod(value, ORDERS)
    if key.kind == "cancel" and not polls:
        place = 0
    amount = [f"polls={polls}"] * bool(polls) + [f"place={place}"] * bool(place)
    if key.kind == "pause":
        return f"pause({', '.join([repr(key.actor), *number, *amount])})"
    if key.kind == "cancel":
        return f"cancel({', '.join([repr(key.actor), *number, *amount])})"
    if key.kind == "timer":
        return f"fire({', '.join([repr(key.actor), *number, *amount])})"
    word = next((word for word, kind in WHAT.items() if kind == key.kind), None)
    if word is None:
        raise UsageError(f"a deviation of kind {key.kind!r} cannot be written as a test")
    return f"hold({', '.join([repr(key.actor), repr(word), *number, *amount])})"
