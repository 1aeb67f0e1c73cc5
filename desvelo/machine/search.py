"""Searching with a machine: find a failing example, shrink it, tell it, save it, raise it.

Hypothesis generates programs under drawn policies until one fails. The failing schedule is
then written as FIFO plus deviations, thinned out with the program fixed, and put into the
choice sequence at the steps that it concerns; from there Hypothesis shrinks program, payloads
and deviations together. A last pass looks for fewer deviations from below.
"""

from __future__ import annotations

import logging
import time
import unittest
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import Phase, Verbosity
from hypothesis import settings as Settings  # noqa: N812 - the class under the name of its role
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from desvelo.failure import Failure, Nondeterminism
from desvelo.finding.finding import Finding
from desvelo.finding.shrink import Attempt, Minimum, Shrinker
from desvelo.machine import bridge
from desvelo.machine.options import SearchOptions, options
from desvelo.machine.plan import splice
from desvelo.machine.profiles import machine_settings
from desvelo.machine.program import Program
from desvelo.machine.reduce import fewest_steps, splice_cut, without
from desvelo.machine.report import BudgetSpent, Collector, MachineReport, collect_with
from desvelo.machine.rerun import run_schedule
from desvelo.machine.tell import finding_of, with_story
from desvelo.schedule.decisions import Schedule
from desvelo.world.boundary import Boundary

if TYPE_CHECKING:
    from desvelo.machine.concurrent import ConcurrentMachine

SHRINK_SECONDS = 8.0
"""Real seconds that Hypothesis may spend on making a failing example small."""


def make_test_case(machine: type[ConcurrentMachine]) -> Any:
    """Return the ``TestCase`` of a machine: what pytest and unittest collect."""

    class MachineTestCase(unittest.TestCase):
        settings = machine_settings()

        def runTest(self) -> None:  # noqa: N802 - unittest's name
            __tracebackhide__ = True
            run_machine(machine, self.settings, test_id=self.id())

        runTest.is_hypothesis_test = True  # type: ignore[attr-defined]
        runTest._hypothesis_state_machine_class = machine  # type: ignore[attr-defined]  # noqa: SLF001

    MachineTestCase.__name__ = f"{machine.__name__}.TestCase"
    MachineTestCase.__qualname__ = f"{machine.__qualname__}.TestCase"
    MachineTestCase.__module__ = machine.__module__
    return MachineTestCase


def run_machine(machine: type[ConcurrentMachine], settings: Settings, *, test_id: str = "") -> None:
    """Search with a machine; raises the failure, with its story as a note, when one is found."""
    from desvelo.explore import young_garbage_only

    __tracebackhide__ = True
    with Boundary(), young_garbage_only():
        if options().replaying is not None:
            replay_choices(machine, settings, options().replaying or ())
            return
        search = _Search(machine, settings, test_id, options())
        search.run()


def replay_choices(
    machine: type[ConcurrentMachine], settings: Settings, choices: Sequence[bridge.Choice]
) -> None:
    """Run exactly one example, given by its choices; raises its failure."""
    __tracebackhide__ = True
    only = Settings(
        settings,
        database=bridge.OneExample(choices, shrunk=True),
        phases=[Phase.reuse],
        print_blob=False,
        report_multiple_bugs=False,
        derandomize=False,
    )
    run_state_machine_as_test(machine, settings=only)


def draw_again(
    machine: type[ConcurrentMachine], settings: Settings, choices: Sequence[bridge.Choice]
) -> MachineReport | None:
    """Run the example of some choices and return its report, or nothing when they make none."""
    seen: list[MachineReport] = []

    def watch(report: MachineReport) -> None:
        if not report.control:
            seen.append(report)

    before = collect_with(_Watching(watch))
    try:
        replay_choices(machine, settings, choices)
    except Exception:
        pass
    finally:
        collect_with(before)
    return seen[-1] if seen else None


@dataclass
class _Best:
    """The smallest failing example so far, as a report of its last run."""

    report: MachineReport
    choices: tuple[bridge.Choice, ...]


class _Search:
    """One search with one machine."""

    def __init__(
        self,
        machine: type[ConcurrentMachine],
        settings: Settings,
        test_id: str,
        chosen: SearchOptions,
    ) -> None:
        self._machine = machine
        self._settings = settings
        self._test_id = test_id
        self._options = chosen
        self._collector = Collector(deadline=chosen.deadline, on_execution=chosen.on_execution)
        self._saved: Finding | None = None

    def run(self) -> None:
        """Search, and raise what was found."""
        __tracebackhide__ = True
        self._collector.on_failure = self._save_at_first_sight
        before = collect_with(self._collector)
        try:
            with without_logs():
                failed = self._generate()
                best = None if failed is None else self._shrunk(failed)
            if best is not None:
                self._raise(best)
        finally:
            collect_with(before)
            if self._options.on_end is not None:
                self._options.on_end(self._test_id, self._collector)

    # finding

    def _generate(self) -> MachineReport | None:
        """Let Hypothesis look for a failing example; return it, or nothing."""
        phases = [
            phase for phase in self._settings.phases if phase not in (Phase.shrink, Phase.explain)
        ]
        quiet = Settings(
            self._settings,
            phases=phases,
            report_multiple_bugs=False,
            print_blob=False,
            **self._overrides(),
        )
        with ExitStack() as stack:
            stack.enter_context(bridge.seeded(self._machine, self._options.seed))
            try:
                run_state_machine_as_test(self._machine, settings=quiet)
            except BudgetSpent:
                return None
            except Flaky as error:
                return self._flaky(error)
            except Exception:
                if self._collector.failed is None:
                    raise
                return self._collector.failed
        return None

    def _overrides(self) -> dict[str, Any]:
        """Return the settings that the options of this run decide."""
        chosen: dict[str, Any] = {}
        if self._collector.deadline is not None:
            chosen["max_examples"] = 1_000_000
        if self._options.seed is not None:
            # A run that is to be repeated must not depend on what earlier runs have left.
            chosen["database"] = None
        return chosen

    def _flaky(self, error: Flaky) -> MachineReport:
        failed = self._collector.failed
        if failed is None:
            raise error
        return failed

    def _save_at_first_sight(self, report: MachineReport) -> None:
        """Write the failure down before anything else is tried with it."""
        self._saved = self._finding(report, report.choices)
        self._write(self._saved)

    # shrinking

    def _shrunk(self, failed: MachineReport) -> _Best:
        assert failed.failure is not None
        traces = [
            run_schedule(self._machine, failed.program, failed.schedule, trace=True)
            for _ in range(2)
        ]
        if not self._same(failed, traces):
            self._raise_nondeterminism(failed, traces)
        best = self._thin_out(failed)
        best = self._shrink_together(best)
        return self._fewest_deviations(best)

    def _same(self, failed: MachineReport, again: Sequence[MachineReport]) -> bool:
        one, two = again
        return (
            one.failure is not None
            and failed.failure is not None
            and one.failure.identity() == failed.failure.identity()
            and one.trace is not None
            and two.trace is not None
            and one.trace.digest() == two.trace.digest()
        )

    def _shrinker(self, report: MachineReport, **bounds: Any) -> Shrinker:
        """Shrink the schedule of a fixed program."""
        assert report.failure is not None
        start = Minimum(("program",), report.schedule, report.failure)

        def attempt(operations: tuple[str, ...], schedule: Any) -> Attempt:
            again = run_schedule(
                self._machine, report.program, schedule, trace=not schedule.deviations
            )
            return Attempt(again.failure, again.schedule, again.kinds or ())

        return Shrinker(attempt, start, **bounds)

    def _thin_out(self, failed: MachineReport) -> _Best:
        """Drop steps and deviations that do not matter, before Hypothesis looks at payloads."""
        failed = self._with_fewest_steps(failed)
        minimum = self._shrinker(failed, max_runs=400, max_seconds=5.0).shrink()
        return _Best(
            failed,
            tuple(splice(failed.choices, failed.places, failed.operations, minimum.schedule)),
        )

    def _with_fewest_steps(self, failed: MachineReport) -> MachineReport:
        """Return the failure of fewer steps, with the choices that draw just those."""
        assert failed.failure is not None
        identity = failed.failure.identity()
        if not failed.program.repeatable:
            return failed

        def fails(program: Program, schedule: Schedule) -> bool:
            failure = run_schedule(self._machine, program, schedule).failure
            return failure is not None and failure.identity() == identity

        kept = fewest_steps(failed.program, failed.schedule, fails)
        if len(kept) == len(failed.program.steps):
            return failed
        _, schedule = without(failed.program, failed.schedule, kept)
        choices = splice_cut(failed, kept, schedule)
        drawn = draw_again(self._machine, self._settings, choices)
        if drawn is None or drawn.failure is None or drawn.failure.identity() != identity:
            return failed
        return drawn

    def _shrink_together(self, best: _Best) -> _Best:
        """Let Hypothesis shrink program, payloads and deviations in one choice sequence."""
        assert best.report.failure is not None
        identity = best.report.failure.identity()
        until = time.perf_counter() + SHRINK_SECONDS
        smallest: list[MachineReport] = []
        last: list[MachineReport] = []

        def watch(report: MachineReport) -> None:
            if report.failure is not None and report.failure.identity() == identity:
                last[:] = [report]
                if not smallest or _size(report) < _size(smallest[0]):
                    smallest[:] = [report]
            if time.perf_counter() > until:
                raise BudgetSpent

        inner = _Watching(watch)
        before = collect_with(inner)
        settings = Settings(
            self._settings,
            database=bridge.OneExample(best.choices, shrunk=False),
            phases=[Phase.reuse, Phase.shrink],
            print_blob=False,
            report_multiple_bugs=False,
            verbosity=Verbosity.quiet,
        )
        try:
            with bridge.seeded(self._machine, 0):
                run_state_machine_as_test(self._machine, settings=settings)
        except BudgetSpent:
            pass
        except Exception:
            # Hypothesis runs its smallest example once more at the end.
            smallest = last
        finally:
            collect_with(before)
        if not smallest:
            return best
        return _Best(smallest[0], smallest[0].choices)

    def _fewest_deviations(self, best: _Best) -> _Best:
        """Search from below for fewer or milder deviations of the small program."""
        report = best.report
        if report.failure is None or not report.program.repeatable:
            return best
        minimum = self._shrinker(report, max_runs=800, max_seconds=8.0).shrink()
        if minimum.schedule == report.schedule:
            return best
        choices = tuple(splice(report.choices, report.places, report.operations, minimum.schedule))
        again = run_schedule(self._machine, report.program, minimum.schedule)
        again.program, again.places, again.choices = report.program, report.places, choices
        return _Best(again, choices) if again.failure is not None else best

    # reporting

    def _raise(self, best: _Best) -> None:
        """Raise the failure as Hypothesis prints it, with the story added."""
        __tracebackhide__ = True
        finding = self._final_finding(best)
        try:
            replay_choices(self._machine, self._settings, best.choices)
        except Exception as error:
            self._write(finding, final=True)
            error.add_note(f"\n{finding.story()}\n\n{self._how_to_repeat(finding)}")
            raise
        raise Nondeterminism(
            f"{finding.summary()}: the shrunk example does not fail when Hypothesis runs it again"
        )

    def _final_finding(self, best: _Best) -> Finding:
        traced = run_schedule(self._machine, best.report.program, best.report.schedule, trace=True)
        plain = run_schedule(
            self._machine, best.report.program, type(best.report.schedule)(), trace=True
        )
        if traced.failure is None:
            traced.failure = best.report.failure
        return with_story(self._finding(traced, best.choices), traced, plain)

    def _finding(self, report: MachineReport, choices: Sequence[bridge.Choice]) -> Finding:
        return finding_of(
            self._machine, report, choices, self._collector, self._options, self._test_id
        )

    def _write(self, finding: Finding, *, final: bool = False) -> None:
        folder = self._options.save
        if folder is None:
            return
        path = finding.save(Path(folder))
        finding.command = f"desvelo replay {path}"
        finding.save(path)
        if (
            final
            and self._saved is not None
            and self._saved.path is not None
            and self._saved.path != path
        ):
            self._saved.path.unlink(missing_ok=True)
        if self._options.on_finding is not None:
            self._options.on_finding(finding, final)

    def _how_to_repeat(self, finding: Finding) -> str:
        if finding.path is None:
            return "Set a folder for findings to keep this one and replay it."
        return f"Saved as {finding.path}; run it again with: {finding.command}"

    def _raise_nondeterminism(self, failed: MachineReport, again: Sequence[MachineReport]) -> None:
        one, two = again
        difference = (
            one.trace.first_difference(two.trace)
            if one.trace is not None and two.trace is not None
            else None
        )
        text = "two runs of the same program and schedule differ"
        if difference:
            text += f" at {difference}"
        elif failed.failure is not None:
            text += f": one failed with {failed.failure.summary()}, another did not"
        error = Nondeterminism(text)
        failed.failure = Failure("nondeterminism", error, "nondeterminism")
        finding = self._finding(failed, failed.choices)
        finding.replays = False
        finding.story_text = text
        self._write(finding, final=True)
        raise error


@contextmanager
def without_logs() -> Iterator[None]:
    """Keep the target's log quiet while it runs thousands of times; the last run is heard."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


class _Watching(Collector):
    """Sees every example of a shrink, and counts none of them."""

    def __init__(self, watch: Callable[[MachineReport], None]) -> None:
        super().__init__()
        self._watch = watch

    def ended(self, report: MachineReport) -> None:
        """Hand the example over."""
        self._watch(report)

    def count(self, schedule: Any) -> None:
        """Count nothing."""


def _size(report: MachineReport) -> tuple[int, int, int]:
    return (len(report.program.steps), len(report.schedule), len(report.choices))
