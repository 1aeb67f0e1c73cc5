"""The database phase: threads that repeat the target's operations, then its invariants.

The target does the work; which operations there are and what has to hold afterwards is its own.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Protocol

from desvelo.measure.context import Context, Interruption
from desvelo.measure.load.histogram import latency_of
from desvelo.measure.phases.traffic import write_latency
from desvelo.measure.result import LoadStep, Metric, PhaseResult, Status
from desvelo.servers import ServerUnavailable, postgres

SQLITE, POSTGRESQL = "sqlite", "postgresql"
PATIENCE = 60.0
"""Seconds in which some operation has to end; when none does, they wait for each other."""


class DatabaseWork(Protocol):
    """What a target's ``database_work(backend, where)`` returns."""

    operations: Mapping[str, Callable[[int, int], object]]
    """Called by (number of the thread, number of the iteration), in this order; may raise."""

    def problems(self) -> list[str]:
        """Return a sentence for each invariant that is broken once all threads have ended."""
        ...

    def conflicts(self) -> int:
        """Return how often a transaction was refused because of others."""
        ...

    def retries(self) -> int:
        """Return how often one was begun anew after that."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


def run(context: Context) -> PhaseResult:
    """Run W threads x I iterations x the operations on each backend.

    See docs/phases/database.md.
    """
    result = PhaseResult("database")
    numbers = context.settings.database
    tallies = []
    for backend in numbers.backends:
        if context.interruption.is_set():
            break
        where = _where(context, backend, result)
        if where is not None:
            tallies.append(_run_on(context, backend, where, result))
    _write(result, tallies, context.interruption)
    return result


def _where(context: Context, backend: str, result: PhaseResult) -> str | None:
    if backend == SQLITE:
        return str(context.folder / "stress.db")
    try:
        server = postgres()
    except ServerUnavailable as error:
        result.notes.append(f"{backend} was left out: {error}")
        return None
    server.reset()
    return str(server.dsn)


@dataclass
class _Tally:
    """What became of the operations on one backend."""

    backend: str
    threads: int
    seconds: float = 0.0
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    conflicts: int = 0
    retries: int = 0
    stuck: tuple[str, ...] = ()
    """Operations that did not end."""

    @property
    def every_time(self) -> list[float]:
        return [one for times in self.times.values() for one in times]

    def step(self) -> LoadStep:
        """Return this as one level of load; failed operations are counted and timed too."""
        times, failed = self.every_time, self.errors.total()
        done = (len(times) - failed) / self.seconds if self.seconds else 0.0
        return LoadStep(self.threads, 0, self.seconds, len(times), failed, done, latency_of(times))


def _run_on(context: Context, backend: str, where: str, result: PhaseResult) -> _Tally:
    numbers = context.settings.database
    work: DatabaseWork = context.offered("database_work")(backend, where)
    bar = context.progress.start(f"database: {backend}", numbers.threads * numbers.iterations)
    crowd = _Crowd(work, numbers.threads, numbers.iterations, context.interruption, bar.advance)
    try:
        tally = crowd.run(backend)
    finally:
        bar.finish()
    tally.conflicts, tally.retries = work.conflicts(), work.retries()
    if tally.stuck:
        # Whoever holds a lock for ever might hold up these as well.
        stuck = ", ".join(f"{count} in {name}" for name, count in Counter(tally.stuck).items())
        result.problems.append(
            f"{backend}: nothing ended any more for {PATIENCE:g} s, with threads that hang: {stuck}"
        )
    else:
        try:
            result.problems += [f"{backend}: {sentence}" for sentence in work.problems()]
        finally:
            work.close()
    result.notes.append(
        f"{backend}: {len(tally.every_time):,} operations by {numbers.threads} threads in "
        f"{tally.seconds:.2f} s ({tally.step().throughput:,.0f}/s), {tally.conflicts:,} conflicts"
    )
    return tally


class _Crowd:
    """Threads that all begin at once."""

    def __init__(
        self,
        work: DatabaseWork,
        threads: int,
        iterations: int,
        interruption: Interruption,
        told: Callable[[], object],
    ) -> None:
        self._work = work
        self._iterations = iterations
        self._interruption = interruption
        self._told = told
        self._begin = threading.Barrier(threads + 1)
        self._guard = threading.Lock()
        self._doing: dict[int, str] = {}
        """The operation that each thread is in."""
        self._ended = 0
        # Daemons, for one that waits for ever must not keep the process from ending.
        self._threads = [
            threading.Thread(
                target=self._repeat, args=(number,), name=f"database-{number}", daemon=True
            )
            for number in range(threads)
        ]

    def run(self, backend: str) -> _Tally:
        self._tally = _Tally(backend, len(self._threads))
        for thread in self._threads:
            thread.start()
        self._begin.wait()
        begun = perf_counter()
        self._wait()
        with self._guard:
            self._tally.seconds = perf_counter() - begun
            self._tally.stuck = tuple(self._doing.values())
            return replace(self._tally, times=dict(self._tally.times))

    def _wait(self) -> None:
        """Wait for all threads, or until nothing ends any more."""
        ended, since = -1, perf_counter()
        while any(thread.is_alive() for thread in self._threads):
            for thread in self._threads:
                thread.join(0.01)
            if self._ended != ended:
                ended, since = self._ended, perf_counter()
            elif perf_counter() - since > PATIENCE:
                return

    def _repeat(self, number: int) -> None:
        self._begin.wait()
        for iteration in range(self._iterations):
            if self._interruption.is_set():
                break
            for name, operation in self._work.operations.items():
                self._doing[number] = name
                begun, error = perf_counter(), ""
                try:
                    operation(number, iteration)
                except Exception as failure:
                    error = f"{name}: {type(failure).__name__}"
                taken = perf_counter() - begun
                with self._guard:
                    self._ended += 1
                    self._tally.times[name].append(taken)
                    if error:
                        self._tally.errors[error] += 1
            self._told()
        self._doing.pop(number, None)


def _write(result: PhaseResult, tallies: list[_Tally], interruption: Interruption) -> None:
    times = [one for tally in tallies for one in tally.every_time]
    if not times:
        result.fail("no operation was run, so nothing was shown")
        return
    failed = sum(tally.errors.total() for tally in tallies)
    seconds = sum(tally.seconds for tally in tallies)
    result.steps = [tally.step() for tally in tallies]
    write_latency(result, latency_of(times))
    result.metrics |= {
        "operations": Metric(len(times), ""),
        "success_rate": Metric(1 - failed / len(times), "share", "higher"),
        "error_rate": Metric(failed / len(times), "share", "lower"),
        "response_time": Metric(max(times), "s", "lower"),
        "throughput": Metric((len(times) - failed) / seconds, "1/s", "higher"),
        "conflicts": Metric(sum(tally.conflicts for tally in tallies), "", "lower"),
        "retries": Metric(sum(tally.retries for tally in tallies), "", "lower"),
    }
    for tally, step in zip(tallies, result.steps, strict=True):
        result.metrics[f"throughput_{tally.backend}"] = Metric(step.throughput, "1/s", "higher")
        for name, measured in tally.times.items():
            p99 = latency_of(measured).at(99)
            result.metrics[f"{tally.backend}_{name}_p99"] = Metric(p99, "s", "lower")
        for kind, count in tally.errors.items():
            result.errors[f"{tally.backend} {kind}"] = count
    if interruption.is_set():
        result.status = Status.INTERRUPTED
        result.reason = f"interrupted after {len(times):,} operations"
