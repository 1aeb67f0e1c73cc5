"""Taking the steps of a recorded program again, under another schedule, without drawing."""

from __future__ import annotations

import contextlib
import gc
import itertools
from typing import TYPE_CHECKING

from desvelo.machine import bridge
from desvelo.machine.options import options
from desvelo.machine.plan import Rerun, rerunning
from desvelo.machine.report import MachineReport, collector
from desvelo.schedule.cancelling import Cancelling, Cancels, Sweep, Uncancelled
from desvelo.schedule.decisions import Decider, Schedule
from desvelo.schedule.policy import Recorded, Scale, make_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from desvelo.machine.concurrent import ConcurrentMachine
    from desvelo.machine.program import Program
    from desvelo.world.kernel import Kernel

PATIENCE = 10
"""Programs after which an operation is cancelled at each point although it is alone."""

MOST_MOMENTS = 60
"""Moments at which one operation is cancelled in turn; programs of machines are many."""


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


def is_warm_up(machine: type[ConcurrentMachine], report: MachineReport) -> bool:
    """Tell whether what leaked was made for the whole process, by its first execution.

    A module keeps it, and the next execution finds it there.
    """
    failure = report.failure
    if failure is None or failure.kind != "leak" or not report.program.repeatable:
        return False
    known = collector().leaks
    if failure.identity() not in known:
        again = run_schedule(machine, report.program, report.schedule)
        if again.failure is None:
            return True
        known.add(failure.identity())
    return False


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
    for again in itertools.chain(_cancelled(machine, report), _drawn(machine, report)):
        if again.failure is not None and not is_warm_up(machine, again):
            again.program, again.places, again.choices = (
                report.program,
                report.places,
                report.choices,
            )
            return again
        collector().count(again.schedule)
        if not collector().in_time():
            break
    return None


def _drawn(machine: type[ConcurrentMachine], report: MachineReport) -> Iterator[MachineReport]:
    """Run it under drawn schedules; in the last of them operations may be cancelled."""
    scale = Scale(
        decisions=max(report.decisions, 1),
        polls=max(report.polls, 1),
        arrivals=len(report.operations),
        threads=machine.runtime == "threads",
    )
    for number in range(options().batch):
        seed = report.schedule.seed * 31 + number + 1
        decider = make_policy(options().policy or "mix", seed, scale)
        if number and number == options().batch - 1 and _may_cancel(machine):
            decider = Cancelling(
                decider,
                seed,
                names=None,
                most=machine.most_cancels,
                polls=scale.polls,
                calls=len(report.calls),
            )
        yield run_again(machine, report.program, decider, report.schedule.seed)


def _cancelled(machine: type[ConcurrentMachine], report: MachineReport) -> Iterator[MachineReport]:
    """Cancel an operation of each kind at each of its suspension points, once in a search.

    It is the last of its kind that has others beside it, if that is soon to be had.
    """
    swept, alone = collector().swept, collector().alone
    kinds = [kind_of(name) for name in report.calls]
    new = [kind for kind in dict.fromkeys(kinds) if kind not in swept]
    if not new or not _may_cancel(machine):
        return
    program, seed = report.program, report.schedule.seed
    plain = run_again(machine, program, Uncancelled(None), seed)
    yield plain

    def run(cancels: Cancels) -> MachineReport:
        return run_again(machine, program, Recorded(cancels), seed)

    for kind in new:
        name = _last_in_company(plain, kind)
        if name is None:
            alone[kind] += 1
            if alone[kind] < PATIENCE or kind not in map(kind_of, plain.lives):
                continue
            name = next(name for name in plain.lives if kind_of(name) == kind)
        sweep = Sweep(run, machine.most_cancels, MOST_MOMENTS)
        yield from sweep.outcomes(plain.lives, [name])
        # Only now: an example that fails in it must do so again.
        swept[kind] = sweep.coverage


def _last_in_company(plain: MachineReport, kind: str) -> str | None:
    """Return the last operation of a kind that was under way together with another one."""
    lives = plain.lives
    for name in reversed(lives):
        others = (life for other, life in lives.items() if other != name)
        if kind_of(name) == kind and any(lives[name].meets(other) for other in others):
            return name
    return None


def kind_of(name: str) -> str:
    """Return which operation it is a call of.

    >>> kind_of("look_up-12")
    'look_up'
    """
    return name.rpartition("-")[0]


def _may_cancel(machine: type[ConcurrentMachine]) -> bool:
    return machine.cancellable and machine.runtime != "threads"
