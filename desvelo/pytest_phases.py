"""The phases of ``desvelo run`` as tests: options, the fixture ``run_phase``, and the report.

Registered by `desvelo.pytest_plugin`; like it, this imports the engine only when it is needed.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from desvelo.measure.findings import FindingsOfRun
    from desvelo.measure.result import PhaseResult, Run

PHASE_HELP = (
    "run what is marked stress(phase=NAME) only, and the phase itself on real processes and "
    "sockets; full-system is all of them"
)
PROFILE_HELP = "the profile whose numbers a phase has: quick (default), ci, nightly"
THRESHOLDS_HELP = "a thresholds.toml for the phases"
REPORT_HELP = "folder for the reports of this run: JSON, JUnit XML, Markdown, HTML"

_FIXTURE = "run_phase"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("desvelo", "race conditions and resource leaks")
    group.addoption("--phase", metavar="NAME", help=PHASE_HELP)
    group.addoption("--stress-profile", metavar="NAME", default="quick", help=PROFILE_HELP)
    group.addoption("--thresholds", metavar="FILE", help=THRESHOLDS_HELP)
    group.addoption("--stress-report", metavar="DIR", help=REPORT_HELP)


def pytest_configure(config: pytest.Config) -> None:
    """Check the options before anything runs."""
    config.stash[_OPTIONS] = _Options(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the other phases; without ``--phase`` those tests that run one."""
    options = config.stash[_OPTIONS]
    left_out = [item for item in items if not options.selects(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if options.selects(item)]
    for item in items:
        if _runs_a_phase(item):
            # A phase has its own bounds, and a nightly one takes long.
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture
def run_phase(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Return a function that runs a phase with the numbers of the profile, on the real thing.

    It returns the phase's result: ``status``, ``reason``, ``metrics``, ``checks``. After a failed
    baseline the other phases of ``--phase=full-system`` are skipped.
    """
    options = request.config.stash[_OPTIONS]

    def run(name: str) -> PhaseResult:
        from desvelo.measure.result import Status

        if options.phase == "full-system" and options.baseline_failed:
            pytest.skip("the baseline failed")
        done = options.conduct(name)
        result = done.phases[0]
        request.node.stash[_RUN] = json.dumps(done.as_json())
        if name == "baseline":
            options.baseline_failed = result.status is Status.FAILED
        if done.status is Status.INTERRUPTED:
            raise KeyboardInterrupt
        return result

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Carry the phase and what it measured on the report, so that it survives xdist."""
    report = yield
    if call.when == "call" and (phase := _phase_of(item)):
        report.desvelo_phase = phase
        report.desvelo_run = item.stash.get(_RUN, None)
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what the phases measured, and write the reports."""
    options = config.stash[_OPTIONS]
    reports = [
        report
        for some in terminalreporter.stats.values()
        for report in some
        if getattr(report, "desvelo_phase", None)
    ]
    measured = any(report.desvelo_run for report in reports)
    if not reports or not (measured or options.report):
        return
    from desvelo.errors import DesveloError
    from desvelo.report.folder import write_reports
    from desvelo.report.screen import screen

    run = options.whole(reports)
    folder = options.report
    terminalreporter.section("desvelo phases")
    if folder is not None:
        try:
            write_reports(run, folder)
        except DesveloError as error:
            terminalreporter.write_line(f"desvelo: {error}")
            folder = None
    for line in screen(run, folder, terminalreporter._tw.fullwidth).splitlines():  # noqa: SLF001 - as in pytest_plugin
        terminalreporter.write_line(line)


class _Options:
    """The options of this run, checked; and how far it is."""

    def __init__(self, config: pytest.Config) -> None:
        self.phase: str | None = config.getoption("--phase")
        self.profile: str = config.getoption("--stress-profile")
        file = config.getoption("--thresholds")
        self.thresholds = Path(file) if file else None
        report = config.getoption("--stress-report")
        self.report = Path(report) if report else None
        self.baseline_failed = False
        self.findings: FindingsOfRun | None = None
        if self.phase or self.report or self.thresholds:
            self._check(config)

    def _check(self, config: pytest.Config) -> None:
        from desvelo.errors import DesveloError
        from desvelo.measure.findings import FindingsOfRun
        from desvelo.measure.plan import Wishes, plan
        from desvelo.measure.thresholds import read_thresholds
        from desvelo.report.folder import check_report_folder

        try:
            plan(Wishes(phases=(self.phase,) if self.phase else (), profile=self.profile))
            read_thresholds(self.thresholds, self.profile)
            if self.report is not None:
                check_report_folder(self.report)
        except DesveloError as error:
            raise pytest.UsageError(str(error)) from error
        self.findings = FindingsOfRun(Path(config.getoption("--findings") or ".desvelo/findings"))

    def selects(self, item: pytest.Item) -> bool:
        """Return whether a test is part of this run."""
        if self.phase is None:
            return not _runs_a_phase(item)
        phase = _phase_of(item)
        return bool(phase) if self.phase == "full-system" else phase == self.phase

    def conduct(self, phase: str) -> Run:
        """Run one phase."""
        from desvelo.measure.full_system import Conductor
        from desvelo.measure.plan import Wishes, plan
        from desvelo.measure.thresholds import read_thresholds
        from desvelo.targets import current_target, current_target_name

        target = current_target()
        name = current_target_name() or ""
        settings = plan(Wishes(phases=(phase,), profile=self.profile, target=name))
        return Conductor(target, settings, read_thresholds(self.thresholds, self.profile)).conduct()

    def whole(self, reports: Iterable[Any]) -> Run:
        """Return one run of all that was measured, and of the tests of each phase beside it."""
        from desvelo.measure.full_system import new_run
        from desvelo.measure.result import PhaseResult, Run, TestRecord
        from desvelo.targets import configured_target, current_target_name

        target = current_target_name() or configured_target(Path.cwd())
        run = new_run(target, self.profile, shlex.join(sys.argv))
        phases: dict[str, PhaseResult] = {}
        for report in reports:
            if report.desvelo_run:
                result = Run.from_json(json.loads(report.desvelo_run)).phases[0]
                before = phases.get(result.phase)
                result.tests += before.tests if before is not None else []
                phases[result.phase] = result
                continue
            phase = phases.setdefault(
                report.desvelo_phase, PhaseResult(report.desvelo_phase, started=run.started)
            )
            message = report.longreprtext.strip().rpartition("\n")[2] if report.failed else ""
            failures = int(report.failed)
            phase.tests.append(TestRecord(report.nodeid, 1, failures, report.duration, message))
        for phase in phases.values():
            phase.seconds = phase.seconds or sum(test.seconds for test in phase.tests)
            failed = [test for test in phase.tests if test.failures and "::" in test.name]
            if failed:
                phase.fail(f"{failed[0].name} failed: {failed[0].message}")
        run.phases = list(phases.values())
        run.findings = self.findings.new() if self.findings is not None else []
        run.conclude()
        run.seconds = sum(phase.seconds for phase in run.phases)
        return run


def _phase_of(item: pytest.Item) -> str:
    marker = item.get_closest_marker("stress")
    return str(marker.kwargs.get("phase", "")) if marker is not None else ""


def _runs_a_phase(item: pytest.Item) -> bool:
    return _FIXTURE in getattr(item, "fixturenames", ())


_OPTIONS: pytest.StashKey[_Options] = pytest.StashKey()
_RUN: pytest.StashKey[str] = pytest.StashKey()
