"""Making the failing example of a machine small: its steps, its payloads and its deviations.

Steps and deviations are thinned out with the recorded program, which runs many times faster
than drawing. Hypothesis then shrinks program, payloads and deviations together, in one choice
sequence. Steps that only let time pass are traded for a deviation where one is enough: "these two
calls, one deviation" says more than a program that waits for the right moment.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import Phase, Verbosity
from hypothesis import settings as Settings  # noqa: N812 - the class under the name of its role
from hypothesis.stateful import run_state_machine_as_test

from desvelo.finding.shrink import Attempt, Minimum, Shrinker, values_of
from desvelo.machine import bridge
from desvelo.machine.choose import WAITING
from desvelo.machine.draw import Watching, draw_again
from desvelo.machine.plan import splice
from desvelo.machine.reduce import (
    closed,
    fewest_steps,
    neighbours_swapped,
    splice_cut,
    without,
)
from desvelo.machine.report import BudgetSpent, MachineReport, collect_with
from desvelo.machine.rerun import run_again, run_schedule
from desvelo.schedule.cancelling import Uncancelled
from desvelo.schedule.decisions import Decider, Deviation, Schedule, keys_of
from desvelo.schedule.policy import Recorded, Scale, make_policy

if TYPE_CHECKING:
    from desvelo.machine.concurrent import ConcurrentMachine
    from desvelo.machine.program import Program

SHRINK_EXAMPLES = 600
"""Examples that Hypothesis may try to make a failing one small.

All bounds here are on runs, not on time: one seed gives one finding on every machine.
"""

PATIENCE = 150
"""Examples without anything smaller after which it gives up."""

LUCK_RUNS = 1200
LUCK_TRIES = 40
"""Runs, in all and for each step, of drawing another schedule for a program with a step less."""

TRADE_RUNS = 400
"""Runs for trading steps for deviations, in all."""


@dataclass(frozen=True)
class Best:
    """The smallest failing example so far: the report of a run, and the choices that draw it."""

    report: MachineReport
    choices: tuple[bridge.Choice, ...]


class Smaller:
    """Makes one failure small; what survives is its identity: kind, type and site."""

    def __init__(
        self, machine: type[ConcurrentMachine], settings: Settings, failed: MachineReport
    ) -> None:
        assert failed.failure is not None
        self._machine = machine
        self._settings = settings
        self._failed = failed
        self._identity = failed.failure.identity()

    def shrink(self) -> Best:
        """Return the smallest example that was found."""
        failed = self._failed
        best = self._thin_out(
            Best(
                failed, tuple(splice(failed.choices, failed.places, failed.drawn, failed.schedule))
            )
        )
        best = self._by_luck(best)
        best = self._shrink_together(best)
        best = self._thin_out(best)
        swapped = self._in_another_order(best)
        return best if swapped is best else self._thin_out(swapped)

    def fails(self, report: MachineReport | None) -> bool:
        """Tell whether a report shows this failure."""
        return (
            report is not None
            and report.failure is not None
            and report.failure.identity() == self._identity
        )

    def _confirmed(self, choices: Sequence[bridge.Choice]) -> Best | None:
        """Draw an example from its choices, and return it when it is this failure."""
        drawn = draw_again(self._machine, self._settings, choices)
        if drawn is None or not self.fails(drawn):
            return None
        return Best(drawn, drawn.choices)

    def _runs(self, program: Program, schedule: Schedule) -> bool:
        return self.fails(run_schedule(self._machine, program, schedule))

    # with the recorded program

    def _thin_out(self, best: Best) -> Best:
        """Drop steps and deviations that do not matter, payloads as they are."""
        if not best.report.program.repeatable:
            return self._confirmed(best.choices) or best
        best = self._fewest_steps(best)
        best = self._fewest_deviations(best)
        traded = self._without_waiting(best)
        return best if traded is best else self._fewest_deviations(traded)

    def _fewest_steps(self, best: Best) -> Best:
        report = best.report
        kept = fewest_steps(report.program, report.schedule, self._runs)
        if len(kept) == len(report.program.steps):
            return best
        _, schedule = without(report.program, report.schedule, kept)
        return self._confirmed(splice_cut(report, kept, schedule)) or best

    def _fewest_deviations(self, best: Best, *, max_runs: int = 500) -> Best:
        """Search from below for fewer or milder deviations of a fixed program."""
        report = best.report
        minimum = self._shrinker(report, max_runs=max_runs).shrink()
        if minimum.schedule == report.schedule and best.choices == report.choices:
            return best
        choices = splice(report.choices, report.places, report.drawn, minimum.schedule)
        return self._confirmed(choices) or best

    def _shrinker(self, report: MachineReport, **bounds: Any) -> Shrinker:
        assert report.failure is not None
        start = Minimum(("program",), report.schedule, report.failure)

        def attempt(operations: tuple[str, ...], schedule: Schedule) -> Attempt:
            again = run_schedule(
                self._machine, report.program, schedule, trace=not schedule.deviations
            )
            return Attempt(again.failure, again.schedule, again.kinds or (), again.polls)

        return Shrinker(attempt, start, **bounds)

    def _without_waiting(self, best: Best) -> Best:
        """Drop steps that one more deviation can stand for: those that wait, then any other."""
        budget = [TRADE_RUNS]
        traded = True
        while traded:
            traded = False
            steps = best.report.program.steps
            waiting = [index for index, step in enumerate(steps) if step.rule in WAITING]
            others = [
                index
                for index, step in enumerate(steps)
                if step.rule not in WAITING and not step.initial
            ]
            pieces = [waiting] if len(waiting) > 1 else []
            for piece in (*pieces, *([index] for index in (*waiting, *others))):
                smaller = self._trade(best, piece, budget)
                if smaller is not None:
                    best, traded = self._fewest_steps(smaller), True
                    break
        return best

    def _by_luck(self, best: Best) -> Best:
        """Drop steps that the schedule needs, not the failure: without them draw another one."""
        budget = LUCK_RUNS
        index = len(best.report.program.steps) - 1
        while index > 0 and budget > 0 and best.report.program.repeatable:
            report = best.report
            kept = [other for other in range(len(report.program.steps)) if other != index]
            step = report.program.steps[index]
            index -= 1
            if step.initial or not closed(report.program, kept):
                continue
            program, schedule = without(report.program, report.schedule, kept)
            calls = sum(len(one.actors) for one in program.steps)
            if not calls:
                continue
            scale = Scale(
                decisions=max(report.decisions, 1),
                polls=report.polls,
                arrivals=calls,
                threads=self._machine.runtime == "threads",
            )
            drawn = (make_policy("mix", seed, scale) for seed in range(LUCK_TRIES))
            for policy in itertools.chain(self._cancelled_elsewhere(program, schedule), drawn):
                budget -= 1
                again = run_again(self._machine, program, policy, schedule.seed)
                if not self.fails(again):
                    continue
                smaller = self._confirmed(splice_cut(report, kept, again.schedule))
                if smaller is not None:
                    best = self._fewest_deviations(smaller, max_runs=150)
                    index = min(index, len(best.report.program.steps) - 1)
                    break
        return best

    def _cancelled_elsewhere(self, program: Program, schedule: Schedule) -> Iterator[Decider]:
        """Try other moments for the cancellation: with a step less, those around it shift."""
        cancels = [one.key for one in schedule.deviations if one.key.kind == "cancel"]
        if len(cancels) != 1:
            return
        values = schedule.values()
        others = {key: value for key, value in values.items() if key[1] != "cancel"}
        name = cancels[0].actor
        lives = run_again(self._machine, program, Uncancelled({name}, others), schedule.seed).lives
        if name in lives:
            for value in lives[name].moments():
                yield Recorded({**others, (name, "cancel", 0): value})

    def _in_another_order(self, best: Best) -> Best:
        """Swap neighbouring steps where that spares a deviation: the later call written later."""
        found = True
        while found and best.report.schedule.deviations:
            found = False
            for order in neighbours_swapped(best.report.program):
                smaller = self._with_fewer_deviations(best, order)
                if smaller is not None:
                    best, found = smaller, True
                    break
        return best

    def _with_fewer_deviations(self, best: Best, order: Sequence[int]) -> Best | None:
        report = best.report
        program, schedule = without(report.program, report.schedule, order)
        deviations = schedule.deviations
        fewer = [(), *([*deviations[:i], *deviations[i + 1 :]] for i in range(len(deviations)))]
        for candidate in fewer:
            less = Schedule(candidate, schedule.seed)
            if self._runs(program, less):
                return self._confirmed(splice_cut(report, order, less))
        return None

    def _trade(self, best: Best, piece: Sequence[int], budget: list[int]) -> Best | None:
        report = best.report
        kept = [index for index in range(len(report.program.steps)) if index not in piece]
        if budget[0] <= 0 or not closed(report.program, kept):
            return None
        program, schedule = without(report.program, report.schedule, kept)
        if not any(step.actors for step in program.steps):
            return None
        found = self._one_more(program, schedule, budget)
        return None if found is None else self._confirmed(splice_cut(report, kept, found))

    def _one_more(self, program: Program, schedule: Schedule, budget: list[int]) -> Schedule | None:
        """Return a schedule with at most one deviation more under which a program fails."""
        plain = run_schedule(self._machine, program, schedule, trace=True)
        if self.fails(plain):
            return schedule
        taken = {one.key for one in schedule.deviations}
        keys = [key for key in keys_of(plain.kinds or ()) if key not in taken]
        keys.sort(key=lambda key: key.kind != "arrive")
        values = {kind: [*values_of(kind, plain.polls + 2)] for kind in {k.kind for k in keys}}
        for value in sorted({one for several in values.values() for one in several}):
            for key in keys:
                if value not in values[key.kind]:
                    continue
                budget[0] -= 1
                if budget[0] < 0:
                    return None
                more = Schedule([*schedule.deviations, Deviation(key, value)], schedule.seed)
                if self._runs(program, more):
                    return more
        return None

    # with Hypothesis

    def _shrink_together(self, best: Best) -> Best:
        """Let Hypothesis shrink program, payloads and deviations in one choice sequence."""
        tried = last = 0
        smallest: MachineReport | None = None

        def watch(report: MachineReport) -> None:
            nonlocal smallest, last, tried
            tried += 1
            if self.fails(report) and (smallest is None or size_of(report) < size_of(smallest)):
                smallest, last = report, tried
            if tried > SHRINK_EXAMPLES or tried - last > PATIENCE:
                raise BudgetSpent

        settings = Settings(
            self._settings,
            database=bridge.OneExample(best.choices, shrunk=False),
            phases=[Phase.reuse, Phase.shrink],
            print_blob=False,
            # Otherwise Hypothesis may slip from this failure to a smaller one of another kind.
            report_multiple_bugs=True,
            derandomize=False,
            verbosity=Verbosity.quiet,
        )
        before = collect_with(Watching(watch))
        try:
            # The failures were watched one by one; what is raised at the end is one of them.
            with (
                bridge.seeded(self._machine, 0),
                contextlib.suppress(BudgetSpent, *bridge.failures()),
            ):
                run_state_machine_as_test(self._machine, settings=settings)
        finally:
            collect_with(before)
        if smallest is None or size_of(smallest) >= size_of(best.report):
            return best
        return Best(smallest, smallest.choices)


def size_of(report: MachineReport) -> tuple[int, int, int, tuple[float, ...]]:
    """Return what is compared: steps, deviations, choices, and how large those are."""
    weights = tuple(_weight(choice) for choice in report.choices)
    return (len(report.program.steps), len(report.schedule), len(weights), weights)


def _weight(choice: bridge.Choice) -> float:
    if isinstance(choice, (str, bytes)):
        return len(choice)
    return abs(choice) if choice == choice else float("inf")  # noqa: PLR0124 - not a number
