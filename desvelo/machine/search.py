"""Searching with a machine: find a failing example, shrink it, tell it, save it, raise it.

Hypothesis generates programs under drawn policies until one fails. The failing schedule is
then written as FIFO plus deviations, thinned out with the program fixed, and put into the
choice sequence at the steps that it concerns; from there Hypothesis shrinks program, payloads
and deviations together. A last pass looks for fewer deviations from below.
"""

from __future__ import annotations

import unittest
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase
from hypothesis import settings as Settings  # noqa: N812 - the class under the name of its role
from hypothesis.errors import Flaky, Unsatisfiable
from hypothesis.stateful import run_state_machine_as_test

from desvelo.errors import UsageError
from desvelo.failure import Failure, Nondeterminism
from desvelo.finding.confirmation import THREADS, confirm
from desvelo.finding.finding import Finding
from desvelo.machine import bridge
from desvelo.machine.draw import draw_again, replay_choices, without_logs
from desvelo.machine.options import SearchOptions, options
from desvelo.machine.plan import splice
from desvelo.machine.profiles import machine_settings
from desvelo.machine.report import BudgetSpent, Collector, MachineReport, collect_with
from desvelo.machine.rerun import run_schedule
from desvelo.machine.smaller import Best, Smaller
from desvelo.machine.tell import finding_of, outcome_of, with_story
from desvelo.schedule.decisions import Schedule
from desvelo.world.boundary import Boundary

if TYPE_CHECKING:
    from desvelo.execution import Outcome
    from desvelo.machine.concurrent import ConcurrentMachine
    from desvelo.world.kernel import Kernel


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
    from desvelo.exploration import young_garbage_only

    __tracebackhide__ = True
    settings = _without_deadline(settings)
    refuse_empty_strategies(machine)
    with Boundary(), young_garbage_only():
        if options().replaying is not None:
            replay_choices(machine, settings, options().replaying or ())
            return
        search = _Search(machine, settings, test_id, options())
        search.run()


def _without_deadline(settings: Settings) -> Settings:
    """Time is virtual here; what is real of it depends on what else the machine does."""
    slow = {HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example}
    suppressed = [*settings.suppress_health_check, *slow]
    return Settings(settings, deadline=None, suppress_health_check=suppressed)


def refuse_empty_strategies(machine: type[ConcurrentMachine]) -> None:
    """Raise `UsageError` for a rule with a strategy that yields nothing."""
    state = machine.setup_state()
    for one in (*state.rules, *state.initializers):
        for name, strategy in one.arguments_strategies.items():
            if strategy.is_empty:
                raise UsageError(
                    f"{machine.__name__}.{one.function.__name__}: the strategy of {name!r} yields "
                    "nothing, so the step can never be taken"
                )


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
            if self._collector.executions and not self._collector.calls:
                raise UsageError(
                    f"{self._machine.__name__}: no operation was started in "
                    f"{self._collector.executions} executions, so nothing was tested; see whether "
                    "its strategies can yield a value and its preconditions can hold"
                )
        except BudgetSpent as spent:
            # A time limit ended the test while the failure was made small: it is saved.
            raise (spent.__cause__ or spent) from None
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
                if self._collector.interrupted is not None:
                    raise self._collector.interrupted from None
                return self._collector.failed
            except Unsatisfiable:
                raise UsageError(
                    f"{self._machine.__name__}: not one example could be made: a strategy yields "
                    "nothing, or what a rule assumes never holds"
                ) from None
            except Flaky as error:
                return self._flaky(error)
            except bridge.failures():
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

    def _shrunk(self, failed: MachineReport) -> Best:
        assert failed.failure is not None
        smaller = Smaller(self._machine, self._settings, failed)
        traces = [self._again(failed) for _ in range(2)]
        if not _agree(smaller, traces):
            self._raise_nondeterminism(failed, traces)
        if Phase.shrink not in self._settings.phases:
            choices = splice(failed.choices, failed.places, failed.drawn, failed.schedule)
            return Best(failed, tuple(choices))
        return smaller.shrink()

    def _again(
        self, report: MachineReport, *, plain: bool = False, kernel: Kernel | None = None
    ) -> MachineReport | None:
        """Run an example with a trace: its recorded program, or by its choices if it drew on."""
        schedule = Schedule() if plain else report.schedule
        if report.program.repeatable:
            return run_schedule(self._machine, report.program, schedule, trace=True, kernel=kernel)
        choices: Sequence[bridge.Choice] = report.choices
        if plain or report.schedule.deviations:
            choices = splice(report.choices, report.places, report.drawn, schedule)
        return draw_again(self._machine, self._settings, choices, trace=True, kernel=kernel)

    # reporting

    def _raise(self, best: Best) -> None:
        """Raise the failure as Hypothesis prints it, with the story added."""
        __tracebackhide__ = True
        finding = self._final_finding(best)
        self._confirm(finding, best.report)
        self._write(finding, final=True)
        note = f"\n{finding.story()}\n\n{self._how_to_repeat(finding)}"
        before = collect_with(Collector())
        try:
            replay_choices(self._machine, self._settings, best.choices)
        except bridge.failures() as error:
            error.add_note(note)
            raise
        finally:
            collect_with(before)
        # A rule that starts operations by itself draws nothing for them: the recorded program
        # fails under its schedule all the same.
        failure = finding.error
        failure.add_note("\n".join(["Failing steps:", *finding.inputs]))
        failure.add_note(note)
        raise failure

    def _final_finding(self, best: Best) -> Finding:
        traced = self._again(best.report)
        if traced is None or traced.failure is None:
            traced = best.report
        plain = self._again(best.report, plain=True)
        finding = self._finding(traced, best.choices)
        return finding if plain is None else with_story(finding, traced, plain)

    def _confirm(self, finding: Finding, report: MachineReport) -> None:
        """Replay the finding on kernel sockets, and mark it with what came of that."""
        assert report.failure is not None
        if self._machine.runtime == "threads":
            THREADS.mark(finding)
            return

        def run(kernel: Kernel) -> Outcome | None:
            again = self._again(report, kernel=kernel)
            return None if again is None else outcome_of(again)

        confirm(finding, report.failure, run).mark(finding)

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

    def _raise_nondeterminism(
        self, failed: MachineReport, again: Sequence[MachineReport | None]
    ) -> None:
        __tracebackhide__ = True
        traces = [report.trace for report in again if report is not None and report.trace]
        difference = traces[0].first_difference(traces[1]) if len(traces) == 2 else None
        text = "two runs of the same program and schedule differ"
        if difference:
            text += f" at {difference}"
        elif failed.failure is not None:
            text += f": one failed with {failed.failure.summary()}, another did not"
        error = Nondeterminism(text)
        failed.failure = Failure("nondeterminism", error, "nondeterminism")
        finding = self._finding(failed, failed.choices)
        finding.replays = False
        finding.story_text = (
            f"{text}.\nSomething in the target is not under control: real time, real randomness, "
            "an object's address or the order of a set."
        )
        self._write(finding, final=True)
        raise error


def _agree(smaller: Smaller, runs: Sequence[MachineReport | None]) -> bool:
    """Tell whether two traced runs fail as they should, event by event the same."""
    one, two = runs
    return (
        one is not None
        and two is not None
        and smaller.fails(one)
        and one.trace is not None
        and two.trace is not None
        and one.trace.digest() == two.trace.digest()
    )
