"""What a machine leaves behind when an example ends, and who collects it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from desvelo.errors import DesveloError
from desvelo.execution import lives_of, strikes_of
from desvelo.failure import Failure, failure_of
from desvelo.machine import bridge
from desvelo.schedule.decisions import Schedule

if TYPE_CHECKING:
    from desvelo.machine.concurrent import ConcurrentMachine
    from desvelo.machine.plan import Places
    from desvelo.machine.program import Program
    from desvelo.schedule.cancelling import Coverage, Life, Strike
    from desvelo.world import Trace


class BudgetSpent(BaseException):
    """Ends a search when its time is over; passes through Hypothesis like Ctrl-C."""


@dataclass
class MachineReport:
    """One ended example of a machine."""

    failure: Failure | None
    schedule: Schedule
    program: Program
    operations: list[str]
    """All actors that steps brought in, in order: operations, faults and cancellations."""
    drawn: list[str]
    """Those of them whose deviations were drawn."""
    calls: list[str]
    """The operations alone."""
    places: Places
    choices: tuple[bridge.Choice, ...]
    kinds: list[tuple[str, str]] | None
    trace: Trace | None
    results: dict[str, str]
    printed: list[str]
    decisions: int
    polls: int
    lives: dict[str, Life]
    """How long each operation could be cancelled, where the schedule has a say on that."""
    strikes: list[Strike]
    checking: str = ""
    """The invariant that failed, when it is one that is printed."""
    control: bool = False
    """Whether Hypothesis itself ended the example: it says nothing about the target."""

    @classmethod
    def of(cls, machine: ConcurrentMachine, error: BaseException | None) -> MachineReport:
        """Gather what is known at the end of an example."""
        control = error is not None and (
            bridge.is_control(error)
            or not isinstance(error, bridge.failures())
            or bridge.is_time_out(error)
            or isinstance(error, DesveloError)
        )
        journal, world = machine.journal, machine.world
        failure = journal.failure
        if error is None or control:
            failure = None
        elif failure is None or failure.error is not error:
            failure = failure_of(error, "")
        traced = world.trace is not None
        return cls(
            failure=failure,
            schedule=world.recorder.schedule(journal.seed),
            program=journal.program,
            operations=list(journal.actors),
            drawn=list(journal.drawn),
            calls=[one.name for one in world.operations],
            places=journal.places,
            choices=bridge.choices_so_far() if bridge.in_example() else (),
            kinds=world.recorder.kinds,
            trace=world.trace,
            results={one.name: one.outcome() for one in world.operations} if traced else {},
            printed=list(journal.printed),
            decisions=world.recorder.asked,
            polls=world.selector.polls,
            lives=lives_of(world),
            strikes=strikes_of(world),
            checking=journal.checking if failure is not None else "",
            control=control,
        )


@dataclass
class Collector:
    """Counts examples and keeps the last failure of one search."""

    executions: int = 0
    calls: int = 0
    """Operations that were started in examples that Hypothesis drew."""
    failed: MachineReport | None = None
    deadline: float | None = None
    started: float = field(default_factory=time.perf_counter)
    first_failure_at: tuple[int, float] | None = None
    schedules: set[Any] = field(default_factory=set)
    swept: dict[str, Coverage] = field(default_factory=dict)
    """The operations that were cancelled at each of their suspension points in turn."""
    alone: Counter[str] = field(default_factory=Counter)
    """How often one that is still to be cancelled so had no other beside it."""
    leaks: set[Any] = field(default_factory=set)
    """Those that came again when their program did."""
    interrupted: BaseException | None = None
    """What ended the search from outside: the time limit of a single test."""
    on_execution: Callable[[Collector], None] | None = None
    on_failure: Callable[[MachineReport], None] | None = None

    def ended(self, report: MachineReport) -> None:
        """Take note of an example; raises `BudgetSpent` when the time is over."""
        if not report.control:
            self.count(report.schedule)
            self.calls += len(report.calls)
        if report.failure is not None:
            self.found(report)
        elif not self.in_time():
            raise BudgetSpent

    def in_time(self) -> bool:
        """Whether there is time for another execution."""
        return self.deadline is None or time.perf_counter() <= self.deadline

    def count(self, schedule: Schedule) -> None:
        """Count one execution."""
        self.executions += 1
        self.schedules.add(hash(schedule))
        if self.on_execution is not None:
            self.on_execution(self)

    def found(self, report: MachineReport) -> None:
        """Keep a failure."""
        first = self.failed is None
        if not first and not _same_failure(report, self.failed):
            # One search makes one failure small: the first.
            return
        self.failed = report
        if self.first_failure_at is None:
            self.first_failure_at = (self.executions, time.perf_counter() - self.started)
        if first and self.on_failure is not None:
            self.on_failure(report)


def _same_failure(one: MachineReport, two: MachineReport | None) -> bool:
    return (
        two is not None
        and one.failure is not None
        and two.failure is not None
        and one.failure.identity() == two.failure.identity()
    )


_collector = Collector()


def collector() -> Collector:
    """Return the collector of the search that runs now."""
    return _collector


def collect_with(new: Collector) -> Collector:
    """Set the collector and return the one before."""
    global _collector
    before, _collector = _collector, new
    return before
