"""What a machine leaves behind when an example ends, and who collects it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from desvelo.errors import DesveloError
from desvelo.failure import Failure, failure_of
from desvelo.machine import bridge
from desvelo.schedule.decisions import Schedule

if TYPE_CHECKING:
    from desvelo.machine.concurrent import ConcurrentMachine
    from desvelo.machine.plan import Places
    from desvelo.machine.program import Program
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
    calls: list[str]
    """The operations alone."""
    places: Places
    choices: tuple[bridge.Choice, ...]
    kinds: list[tuple[str, str]] | None
    trace: Trace | None
    results: dict[str, str]
    printed: list[str]
    decisions: int
    control: bool = False
    """Whether Hypothesis itself ended the example: it says nothing about the target."""

    @classmethod
    def of(cls, machine: ConcurrentMachine, error: BaseException | None) -> MachineReport:
        """Gather what is known at the end of an example."""
        control = error is not None and (
            bridge.is_control(error)
            or not isinstance(error, Exception)
            or isinstance(error, DesveloError)
        )
        failure = machine.failure
        if error is None or control:
            failure = None
        elif failure is None or failure.error is not error:
            failure = failure_of(error, "")
        recorder = machine.world.recorder
        seed = getattr(machine, "seed", 0)
        return cls(
            failure,
            recorder.schedule(seed),
            machine.program,
            list(machine.operation_names),
            [one.name for one in machine.world.operations],
            machine.places,
            bridge.choices_so_far() if bridge.in_example() else (),
            recorder.kinds,
            machine.world.trace,
            {one.name: one.outcome() for one in machine.world.operations}
            if machine.world.trace is not None
            else {},
            list(machine.printed_steps()),
            recorder.asked,
            control,
        )


@dataclass
class Collector:
    """Counts examples and keeps the last failure of one search."""

    executions: int = 0
    failed: MachineReport | None = None
    deadline: float | None = None
    started: float = field(default_factory=time.perf_counter)
    first_failure_at: tuple[int, float] | None = None
    schedules: set[Any] = field(default_factory=set)
    on_execution: Callable[[Collector], None] | None = None
    on_failure: Callable[[MachineReport], None] | None = None

    def ended(self, report: MachineReport) -> None:
        """Take note of an example; raises `BudgetSpent` when the time is over."""
        if not report.control:
            self.count(report.schedule)
        if report.failure is not None:
            self.found(report)
        elif self.deadline is not None and time.perf_counter() > self.deadline:
            raise BudgetSpent

    def count(self, schedule: Schedule) -> None:
        """Count one execution."""
        self.executions += 1
        self.schedules.add(hash(schedule))
        if self.on_execution is not None:
            self.on_execution(self)

    def found(self, report: MachineReport) -> None:
        """Keep a failure."""
        first = self.failed is None
        self.failed = report
        if self.first_failure_at is None:
            self.first_failure_at = (self.executions, time.perf_counter() - self.started)
        if first and self.on_failure is not None:
            self.on_failure(report)


_collector = Collector()


def collector() -> Collector:
    """Return the collector of the search that runs now."""
    return _collector


def collect_with(new: Collector) -> Collector:
    """Set the collector and return the one before."""
    global _collector
    before, _collector = _collector, new
    return before
