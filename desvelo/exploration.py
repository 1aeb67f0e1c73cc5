"""Exploring a scenario: many executions under drawn schedules, and the first failure made small."""

from __future__ import annotations

import gc
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from desvelo.errors import TargetError, TimeIsUp, UsageError
from desvelo.execution import Outcome, Settings, execute
from desvelo.failure import Failure, Nondeterminism
from desvelo.finding.confirmation import THREADS, confirm
from desvelo.finding.files import check_folder
from desvelo.finding.finding import Finding
from desvelo.finding.shrink import MAX_SECONDS, Attempt, Minimum, Shrinker
from desvelo.finding.source import source_hash
from desvelo.finding.sufficient import Plainly, Sufficient
from desvelo.scenario import Scenario, load_scenario
from desvelo.schedule.cancelling import Cancelling, Cancels, Coverage, Sweep, Uncancelled
from desvelo.schedule.decisions import Decider, Schedule, keys_of
from desvelo.schedule.faulting import Faulting
from desvelo.schedule.policy import (
    Fifo,
    Interruptible,
    Recorded,
    Scale,
    make_policy,
)
from desvelo.story.story import tell
from desvelo.world import MAX_POLLS, MODES
from desvelo.world.boundary import Boundary
from desvelo.world.kernel import Kernel
from desvelo.world.threads.baton import POINTS_PER_POLL
from desvelo.world.threads.lines import GRANULARITIES
from desvelo.world.threads.where import files_to_switch_in
from desvelo.world.tracing import is_own_code

FULL_COLLECTION_EVERY = 20
"""Executions between two collections; with all else frozen one is cheap, and without it the
tasks of past worlds pile up and slow the next ones down."""

PATIENCE = 4.0
"""Seconds that the last execution of a search may take beyond its time."""

BRIEFER = 50
"""By how much the bound on iterations is lowered once an execution has been seen to hang."""

LEAST_SHRINKING = 2.0
"""Seconds that a hang is shrunk for, when it was seen at the end of a search."""

OTHER_LUCK_EVERY = 4
"""One execution of so many sees other random numbers than the plain run did."""


@dataclass
class Progress:
    """How far an exploration has come."""

    executions: int = 0
    seconds: float = 0.0
    distinct: int = 0
    cancelled: Coverage | None = None
    """At which suspension points operations were cancelled in turn, where they may be."""


def explore(
    scenario: Any,
    *,
    max_seconds: float = 60,
    max_executions: int | None = None,
    policy: str = "mix",
    mode: str = "asyncio-order",
    seed: int | None = None,
    leaks: bool = True,
    trace: Iterable[str] | None = None,
    granularity: str | None = None,
    save: Path | str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    statistics: Progress | None = None,
) -> Finding | None:
    """Search the schedules of a scenario and return the first failure, shrunk, or nothing.

    ``scenario`` is a module, a class or object with the functions of a scenario, or a text
    such as ``"file.py:NAME"``. ``max_seconds`` is real time; ``trace`` names modules or files
    whose lines the story shows besides the user's own, and where threads may be interrupted
    besides the user's own files and the packages that the scenario's file imports.
    ``granularity`` is ``"line"`` or ``"instruction"``: where a thread may be interrupted, by
    default as the scenario says. Without ``leaks``, or where the scenario says so, what is left
    open is no failure. With ``save`` the finding is written
    to that folder the moment it is seen, and again as it shrinks. Raises `UsageError` for a
    wrong option and `TargetError` when the scenario cannot run.

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
    >>> finding = explore(LostUpdate, max_seconds=5, seed=1)
    >>> finding.kind, finding.deviations, finding.operations
    ('race', 0, ['one', 'two'])
    """
    check_options(max_seconds, max_executions, policy, mode, seed)
    if not isinstance(leaks, bool):
        raise UsageError(f"leaks is {leaks!r}; it must be True or False")
    if save is not None:
        check_folder(Path(save))
    if granularity is not None and granularity not in GRANULARITIES:
        raise UsageError(f"granularity is {granularity!r}; it is one of {', '.join(GRANULARITIES)}")
    if isinstance(scenario, str):
        scenario = load_scenario(scenario)
    elif not isinstance(scenario, Scenario):
        scenario = Scenario(scenario)
    settings = Settings(mode=mode, leaks=leaks, trace_files=files_to_trace(trace))
    settings = replace(
        settings,
        granularity=granularity or scenario.granularity,
        switch_files=files_to_switch_in(scenario.file, settings.trace_files if trace else None),
    )
    exploration = _Exploration(
        scenario,
        settings,
        policy,
        int.from_bytes(_fresh_seed()) if seed is None else seed,
        Path(save) if save is not None else None,
        tuple(trace or ()),
    )
    with Boundary(), young_garbage_only():
        return exploration.run(max_seconds, max_executions, on_progress, statistics or Progress())


def check_options(max_seconds: Any, max_executions: Any, policy: Any, mode: Any, seed: Any) -> None:
    """Raise `UsageError`, with one clear sentence, for an option that cannot be.

    >>> check_options(60, 0, "mix", "asyncio-order", None)
    Traceback (most recent call last):
        ...
    desvelo.errors.UsageError: max_executions is 0; at least one execution is needed
    """
    if mode not in MODES:
        raise UsageError(f"no mode is called {mode!r}; it is one of {', '.join(MODES)}")
    if max_executions is not None:
        if isinstance(max_executions, bool) or not isinstance(max_executions, int):
            raise UsageError(f"max_executions is {max_executions!r}; it must be a whole number")
        if max_executions < 1:
            raise UsageError(
                f"max_executions is {max_executions}; at least one execution is needed"
            )
    if isinstance(max_seconds, bool) or not isinstance(max_seconds, (int, float)):
        raise UsageError(f"max_seconds is {max_seconds!r}; it must be a number of seconds")
    if not max_seconds > 0:  # also not a number
        raise UsageError(f"max_seconds is {max_seconds}; it must be more than 0")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise UsageError(f"seed is {seed!r}; it must be a whole number")
    if not isinstance(policy, str):
        raise UsageError(f"policy is {policy!r}; it must be the name of one, such as 'mix'")
    make_policy(policy, 0, 1)


def _fresh_seed() -> bytes:
    import os

    return os.urandom(4)


@contextmanager
def young_garbage_only() -> Iterator[None]:
    """Freeze what is loaded and turn automatic collection off, for the time of many executions.

    A full collection per execution would cost more than the execution itself, and one that
    comes when it likes would run finalizers at moments that no replay repeats.
    """
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    with warnings.catch_warnings():
        # What a failing execution leaves open has been judged by then; it need not warn as well.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            yield
        finally:
            gc.collect()
            gc.unfreeze()
            if enabled:
                gc.enable()


def files_to_trace(names: Iterable[str] | None) -> Callable[[str], bool]:
    """Return a test for the files whose lines a story shows: the user's own and those named."""
    wanted = tuple(names or ())
    if not wanted:
        return is_own_code
    parts = tuple(name.replace(".", "/") for name in wanted if not name.endswith(".py"))
    files = tuple(str(Path(name).resolve()) for name in wanted if name.endswith(".py"))

    def matches(filename: str) -> bool:
        if is_own_code(filename) or filename in files:
            return True
        stem = filename.removesuffix(".py").replace("\\", "/")
        return any(f"/{part}/" in stem or stem.endswith(f"/{part}") for part in parts)

    return matches


class _Exploration:
    """One call of `explore`."""

    def __init__(
        self,
        scenario: Scenario,
        settings: Settings,
        policy: str,
        seed: int,
        save: Path | None,
        trace: tuple[str, ...],
    ) -> None:
        self._scenario = scenario
        self._settings = settings
        self._policy = policy
        self._seed = seed
        self._save = save
        self._trace = trace
        self._started = 0.0
        self._warned = False
        self._sequential_is_sound = True
        self._max_seconds = MAX_SECONDS
        self._plain: Outcome | None = None
        """What plain order did, when it ended well."""

    def run(
        self,
        max_seconds: float,
        max_executions: int | None,
        on_progress: Callable[[Progress], None] | None,
        progress: Progress,
    ) -> Finding | None:
        self._started = time.perf_counter()
        self._max_seconds = max_seconds
        # The first run of a process imports and caches; it is not like the others.
        warming = self._execute_fifo(until=self._end_of_patience())
        if _hangs(warming):
            self._settings = self._briefly()
        first = self._execute_fifo(trace=True)
        second = self._execute_fifo(trace=True)
        progress.executions = 1
        if (
            first.trace is not None
            and second.trace is not None
            and first.trace.digest() != second.trace.digest()
        ):
            return self._nondeterministic(first, second, progress)
        if first.failure is not None:
            return self._found(first, progress)
        self._plain = first
        scale = self._measured(first)
        gc.freeze()
        schedules: set[Schedule] = {first.schedule}
        cancellable = self._scenario.may_be_cancelled(first.operations)
        sweep = self._sweep(cancellable, progress) if cancellable else iter(())
        while True:
            progress.seconds = time.perf_counter() - self._started
            progress.distinct = len(schedules)
            if on_progress is not None:
                on_progress(progress)
            if progress.seconds >= max_seconds:
                return None
            if max_executions is not None and progress.executions >= max_executions:
                return None
            try:
                outcome = next(sweep, None) or self._drawn(progress.executions, scale, cancellable)
            except TimeIsUp as late:
                sys.stderr.write(
                    f"desvelo: the last execution was {late} when the time was up; it may be "
                    "one that never ends: give more seconds to see\n"
                )
                return None
            progress.executions += 1
            self._warn(outcome)
            if outcome.failure is not None:
                return self._found(outcome, progress)
            schedules.add(outcome.schedule)
            if progress.executions % FULL_COLLECTION_EVERY == 0:
                gc.collect()

    def _drawn(self, number: int, scale: Scale, cancellable: tuple[str, ...]) -> Outcome:
        """Execute under a drawn schedule; where operations may be cancelled, every other does."""
        seed = self._seed * 1_000_003 + number
        policy = make_policy(self._policy, seed, scale)
        luck = seed & 0x7FFFFFFF if number % OTHER_LUCK_EVERY == 0 else 0
        if cancellable and number % 2:
            policy = Cancelling(
                policy,
                seed,
                names=cancellable,
                most=self._scenario.most_cancels,
                polls=scale.polls,
                calls=len(cancellable),
            )
        elif self._scenario.faults and number % 4:
            policy = Faulting(
                policy,
                seed,
                most=self._scenario.most_faults,
                polls=scale.polls,
                calls=scale.arrivals,
            )
        return execute(
            self._scenario, policy, self._settings, seed=luck, until=self._end_of_patience()
        )

    def _sweep(self, names: tuple[str, ...], progress: Progress) -> Iterator[Outcome]:
        """Cancel each operation at each of its suspension points, in plain order."""

        def run(cancels: Cancels) -> Outcome:
            policy = Recorded(cancels) if cancels else Uncancelled(names)
            return execute(self._scenario, policy, self._settings, until=self._end_of_patience())

        sweep = Sweep(run, self._scenario.most_cancels)
        progress.cancelled = sweep.coverage
        yield from sweep.outcomes(run({}).lives, names)

    def _measured(self, plain: Outcome) -> Scale:
        threads = self._scenario.runtime == "threads"
        points = 0
        if plain.threads and not threads:
            # In plain order no job is interrupted: see where it could be.
            points = execute(self._scenario, Interruptible(), self._settings).points
        return scale_of(plain, self._settings, threads=threads, points=points)

    def _end_of_patience(self) -> float:
        """When an execution that was begun in time must have ended."""
        return self._started + self._max_seconds + PATIENCE

    def _briefly(self) -> Settings:
        """Return settings by which a hang shows sooner than it is proven.

        The bound stays well above what plain order needs, where that is known.
        """
        full = self._settings.max_polls
        needed = 0
        if self._plain is not None:
            needed = max(self._plain.polls, self._plain.points // POINTS_PER_POLL)
        return replace(self._settings, max_polls=min(full, full // BRIEFER + 4 * needed))

    def _execute_fifo(self, *, trace: bool = False, until: float | None = None) -> Outcome:
        try:
            outcome = execute(
                self._scenario, Fifo(), self._settings, seed=0, trace=trace, until=until
            )
        except TimeIsUp as late:
            raise TargetError(
                f"scenario {self._scenario.name!r} in plain order is {late} when the time is up; "
                "give more seconds to see whether it ever ends"
            ) from late
        gc.collect()
        return outcome

    def _warn(self, outcome: Outcome) -> None:
        if outcome.refusals and not self._warned:
            self._warned = True
            sys.stderr.write(
                "desvelo: the target caught an error of the simulated world: "
                f"{outcome.refusals[0]}\n"
            )

    # from failure to finding

    def _found(self, outcome: Outcome, progress: Progress) -> Finding:
        progress.seconds = seconds = time.perf_counter() - self._started
        assert outcome.failure is not None
        best = Minimum(outcome.operations, outcome.schedule, outcome.failure)
        proven, full = replace(best), self._settings
        if outcome.failure.kind == "hang" and self._plain is not None:
            self._settings = self._briefly()
        early = self._finding(best, outcome, progress.executions, seconds)
        self._write(early)
        one, two = self._repeat(best), self._repeat(best)
        if (
            one.failure is None
            or one.failure.identity() != best.failure.identity()
            or _differ(one, two)
        ):
            return self._nondeterministic(one, two, progress, outcome.failure)
        if _hangs(one):
            # The rest lies beyond the bound that all runs have from here on.
            best.schedule = proven.schedule = one.schedule
        sufficient = Sufficient(self._plainly(best.schedule.seed), best.operations, best.failure)
        try:
            self._sequential_is_sound = sufficient.sequential_is_sound()
            seconds_left = min(MAX_SECONDS, max(1.0, self._max_seconds))
            if outcome.failure.kind == "hang":
                seconds_left = min(seconds_left, max(LEAST_SHRINKING, self._max_seconds - seconds))
            best = Shrinker(
                self._attempt, best, sound=sufficient, max_seconds=seconds_left
            ).shrink()
        except KeyboardInterrupt:
            # The finding is worth more than the wish to be gone at once.
            pass
        if outcome.failure.kind == "hang" and not self._is_proven(best, proven, full):
            best = proven
        final = self._repeat(best)
        again = self._repeat(best)
        if final.failure is None or _differ(final, again):
            return self._nondeterministic(final, again, progress, best.failure)
        if _hangs(final):
            # It says how far it went, which is less far now.
            best.failure = final.failure
        finding = self._finding(best, final, progress.executions, seconds)
        finding.story_text = tell(
            finding, final, self._fifo_trace(best.operations, best.schedule.seed)
        )
        if self._scenario.runtime == "threads":
            THREADS.mark(finding)
        else:
            confirm(finding, best.failure, lambda kernel: self._repeat(best, kernel)).mark(finding)
        self._write(finding, replacing=early)
        return finding

    def _is_proven(self, best: Minimum, proven: Minimum, full: Settings) -> bool:
        """Tell whether a shrunk hang goes on up to the full bound as well."""
        if (best.operations, best.schedule) == (proven.operations, proven.schedule):
            return True
        full = replace(full, max_polls=MAX_POLLS)
        try:
            outcome = execute(
                self._scenario,
                Recorded(best.schedule.values()),
                full,
                seed=best.schedule.seed,
                only=best.operations,
                until=max(self._end_of_patience(), time.perf_counter() + 1.0),
            )
        except TimeIsUp:
            return False
        return _hangs(outcome)

    def _attempt(self, operations: tuple[str, ...], schedule: Schedule) -> Attempt:
        outcome = execute(
            self._scenario,
            Recorded(schedule.values()),
            self._settings,
            seed=schedule.seed,
            only=operations,
        )
        return Attempt(
            outcome.failure,
            outcome.schedule,
            outcome.kinds or self._kinds(operations, schedule),
            outcome.polls,
        )

    def _plainly(self, seed: int) -> Plainly:
        """Return what runs some operations in an order that was said, in one world's luck."""

        def run(operations: tuple[str, ...], policy: Decider) -> Failure | None:
            return execute(
                self._scenario, policy, self._settings, seed=seed, only=operations
            ).failure

        return run

    def _kinds(self, operations: tuple[str, ...], schedule: Schedule) -> list[tuple[str, str]]:
        if schedule.deviations:
            return []
        return (
            execute(
                self._scenario,
                Fifo(),
                self._settings,
                seed=schedule.seed,
                only=operations,
                trace=True,
            ).kinds
            or []
        )

    def _repeat(self, best: Minimum, kernel: Kernel | None = None) -> Outcome:
        return execute(
            self._scenario,
            Recorded(best.schedule.values()),
            replace(self._settings, kernel=kernel),
            seed=best.schedule.seed,
            only=best.operations,
            trace=True,
        )

    def _fifo_trace(self, operations: tuple[str, ...], seed: int) -> Outcome:
        return execute(
            self._scenario,
            Fifo(),
            self._settings,
            seed=seed,
            only=operations,
            trace=True,
        )

    def _finding(self, best: Minimum, outcome: Outcome, executions: int, seconds: float) -> Finding:
        failure = best.failure
        return Finding(
            kind=kind_of(failure, sound=self._sequential_is_sound),
            error=failure.error,
            site=failure.site,
            scenario=self._scenario.reference,
            operations=list(best.operations),
            schedule=best.schedule,
            decisions=dense(outcome),
            executions=executions,
            seconds=seconds,
            digest=outcome.trace.digest() if outcome.trace is not None else "",
            settings={
                "latency": self._settings.latency,
                "mode": self._settings.mode,
                "leaks": self._settings.leaks,
                "policy": self._policy,
                "seed": self._seed,
                "trace": list(self._trace),
                "granularity": self._settings.granularity,
            }
            | (
                {"max_polls": self._settings.max_polls}
                if self._settings.max_polls != MAX_POLLS
                else {}
            ),
            inputs=list(best.operations),
            source=source_hash(self._scenario.file),
            trace_rows=rows_of(outcome),
            label="any-order" if self._settings.mode == "any-order" else "",
        )

    def _nondeterministic(
        self, one: Outcome, two: Outcome, progress: Progress, failure: Failure | None = None
    ) -> Finding:
        difference = None
        if one.trace is not None and two.trace is not None:
            difference = one.trace.first_difference(two.trace)
        text = "two runs of the same schedule differ"
        if difference:
            text += f" at {difference}"
        elif failure is not None:
            text += f": one failed with {failure.summary()}, the other did not"
        error = Nondeterminism(text)
        found = Failure("nondeterminism", error, "nondeterminism")
        finding = self._finding(
            Minimum(one.operations, one.schedule, found),
            one,
            progress.executions,
            time.perf_counter() - self._started,
        )
        finding.replays = False
        finding.story_text = (
            f"{text}.\nSomething in the target is not under control: real time, real randomness, "
            "an object's address or the order of a set. Until that is gone no failure can be "
            "replayed."
        )
        self._write(finding)
        return finding

    def _write(self, finding: Finding, *, replacing: Finding | None = None) -> None:
        if self._save is None:
            return
        try:
            path = finding.save(self._save)
            finding.command = f"desvelo replay {path}"
            finding.save(path)
        except OSError as error:
            # The finding is told all the same, and what has been saved of it is kept.
            kept = replacing.path if replacing is not None else None
            finding.path = kept
            finding.command = f"desvelo replay {kept}" if kept is not None else ""
            sys.stderr.write(
                f"desvelo: the finding could not be saved in {self._save}: {error.strerror}\n"
            )
            self._save = None
            return
        if replacing is not None and replacing.path is not None and replacing.path != path:
            replacing.path.unlink(missing_ok=True)


def scale_of(
    plain: Outcome, settings: Settings, *, threads: bool = False, points: int = 0
) -> Scale:
    """Return the measures of the plain run, which the policies spread their surprises over.

    ``threads`` tells a world of threads, ``points`` how many switch points the jobs of an
    asyncio program have.
    """
    return Scale(
        decisions=max(plain.decisions, 1),
        polls=max(plain.polls, 1),
        arrivals=len(plain.operations),
        any_order=settings.mode == "any-order",
        threads=threads,
        points=points,
    )


def _hangs(outcome: Outcome) -> bool:
    return outcome.failure is not None and outcome.failure.kind == "hang"


def _differ(one: Outcome, two: Outcome) -> bool:
    return (
        one.trace is not None and two.trace is not None and one.trace.digest() != two.trace.digest()
    )


def kind_of(failure: Failure, *, sound: bool) -> str:
    """Name the kind: an invariant that breaks without any concurrency is an error, not a race."""
    return "error" if failure.kind == "race" and not sound else failure.kind


def dense(outcome: Outcome) -> list[list[Any]]:
    """Return every decision that was asked, as ``[kind, actor, value]``."""
    values = outcome.schedule.values()
    return [
        [key.kind, key.actor, values.get((key.actor, key.kind, key.ordinal), 0)]
        for key in keys_of(outcome.kinds or ())
    ]


def rows_of(outcome: Outcome, limit: int = 2000) -> list[list[Any]]:
    """Return the trace as plain lists, for the file."""
    if outcome.trace is None:
        return []
    return [
        [row.poll, row.time_ns, row.lane, row.kind, row.text, row.where, row.deviation]
        for row in outcome.trace.rows[:limit]
    ]
