"""Taking the steps of a recorded program again, under another schedule, without drawing."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

from desvelo.machine import bridge
from desvelo.machine.options import options
from desvelo.machine.plan import Rerun, rerunning
from desvelo.machine.report import MachineReport, collector
from desvelo.schedule.decisions import Decider, Schedule
from desvelo.schedule.policy import Recorded, Scale, make_policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from desvelo.machine.concurrent import ConcurrentMachine
    from desvelo.machine.program import Program
    from desvelo.world.kernel import Kernel


def run_again(
    machine: type[ConcurrentMachine],
    program: Program,
    decider: Decider,
    seed: int,
    *,
    trace: bool = False,
    kernel: Kernel | None = None,
) -> MachineReport:
    """Run a program on a fresh machine and report how it ended; never raises a target's error."""
    with rerunning(Rerun(decider, seed, trace, kernel)):
        fresh = machine()
        # What it raises has been judged when the example ended.
        with contextlib.suppress(*bridge.failures()):
            try:
                program.run_on(fresh, *rules_of(fresh))
            finally:
                fresh.teardown()
    gc.collect(0)
    assert fresh.journal.report is not None
    return fresh.journal.report


def run_schedule(
    machine: type[ConcurrentMachine],
    program: Program,
    schedule: Schedule,
    *,
    trace: bool = False,
    kernel: Kernel | None = None,
) -> MachineReport:
    """Run a program under a written-down schedule."""
    return run_again(
        machine, program, Recorded(schedule.values()), schedule.seed, trace=trace, kernel=kernel
    )


def rules_of(
    machine: ConcurrentMachine,
) -> tuple[dict[str, Callable[..., object]], Callable[[str], bool]]:
    """Return the functions of a machine's rules by name, and a test for their preconditions."""
    state = machine.setup_state()
    every = {one.function.__name__: one for one in (*state.rules, *state.initializers)}

    def enabled(name: str) -> bool:
        return all(condition(machine) for condition in every[name].preconditions)

    return {name: one.function for name, one in every.items()}, enabled


def more_schedules(machine: type[ConcurrentMachine], report: MachineReport) -> MachineReport | None:
    """Run the program of a clean example under further schedules; return the first that fails.

    The schedules are a function of the example's own seed, so that Hypothesis meets the same
    failure whenever it runs the example again.
    """
    if not report.program.repeatable or not report.operations:
        return None
    scale = Scale(
        decisions=max(report.decisions, 1),
        polls=max(report.polls, 1),
        arrivals=len(report.operations),
        threads=machine.runtime == "threads",
    )
    for number in range(options().batch):
        if not collector().in_time():
            break
        seed = report.schedule.seed * 31 + number + 1
        decider = make_policy(options().policy or "mix", seed, scale)
        again = run_again(machine, report.program, decider, report.schedule.seed)
        if again.failure is not None:
            again.program, again.places, again.choices = (
                report.program,
                report.places,
                report.choices,
            )
            return again
        collector().count(again.schedule)
    return None
