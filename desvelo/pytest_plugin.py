"""The pytest plugin: options, searches with machines, replay, and a summary of one screen.

It is loaded by its entry point in every pytest run where Desvelo is installed, so it imports
the engine only when a test needs it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import re
import sys
import time
import warnings
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from desvelo import pytest_leaks, pytest_phases

if TYPE_CHECKING:
    from desvelo.finding.finding import Finding
    from desvelo.machine.report import Collector

BUDGET_HELP = "search for this long in all, shared evenly over the machine tests: 30s, 10m, 2h"
REPLAY_HELP = "run saved findings again instead of the tests: a file or a folder of files"
TARGET_HELP = "the system under test, by name: vigia_reference, vigia_reference:DEFECT, or a module"
POLICY_HELP = "the policy that draws schedules: mix, fifo, delays, random_walk, sticky, pct"
SEED_HELP = "seed of every search, to repeat a whole run"
SAVE_HELP = "folder for findings (default: .desvelo/findings)"

_PROGRESS_EVERY = 5.0


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the options and the ini settings of the same meaning."""
    pluginmanager.register(pytest_leaks, "desvelo_leaks")
    pluginmanager.register(pytest_phases, "desvelo_phases")
    group = parser.getgroup("desvelo", "race conditions and resource leaks")
    group.addoption("--fuzz-budget", metavar="TIME", help=BUDGET_HELP)
    group.addoption("--replay", metavar="FILE_OR_DIR", action="append", help=REPLAY_HELP)
    group.addoption("--target", metavar="NAME", help=TARGET_HELP)
    group.addoption("--fuzz-policy", metavar="POLICY", help=POLICY_HELP)
    group.addoption("--fuzz-seed", metavar="N", help=SEED_HELP)
    group.addoption("--findings", metavar="DIR", help=SAVE_HELP)
    parser.addini("fuzz_budget", BUDGET_HELP)
    parser.addini("desvelo_target", TARGET_HELP)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Check the options before anything runs, and make our marker and our profiles known."""
    if str(config.getoption("--hypothesis-profile", None)).startswith("desvelo"):
        # Before the plugin of Hypothesis loads it.
        importlib.import_module("desvelo.machine.profiles")
    config.addinivalue_line(
        "markers", "stress(phase=NAME): a stress test, and the phase that it belongs to"
    )
    config.stash[_STATE] = _State(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Replace the tests by replays when asked to; share the budget otherwise."""
    state = config.stash[_STATE]
    if state.replays:
        first = items[0] if items else None
        config.hook.pytest_deselected(items=list(items))
        parent = first.session if first is not None else state.session
        if parent is None:
            raise pytest.UsageError(
                "--replay needs a folder of tests to start from, for example: pytest stress_tests/"
            )
        items[:] = [
            ReplayItem.from_parent(parent, name=str(path), file=path) for path in state.replays
        ]
        return
    if state.budget is not None:
        searching = [item for item in items if _machine_of(item) is not None]
        state.left = len(searching)
        share = state.budget / max(len(searching), 1)
        for item in searching:
            item.add_marker(pytest.mark.timeout(share * state.workers * 1.5 + 300))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remember the session, which replays hang under."""
    session.config.stash[_STATE].session = session


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Bury what a failing execution left open, once its failure has been shown.

    It was reported with its story. Whoever makes warnings errors would be told of it again, at
    the end of the run or, worse, in a later test that has nothing to do with it.
    """
    try:
        return (yield)
    finally:
        if item.stash.get(_TOLD, {}).get("findings"):
            # What is kept for a post-mortem keeps the failing execution.
            for name in ("last_exc", "last_type", "last_value", "last_traceback"):
                vars(sys).pop(name, None)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Search with the options of this run."""
    machine = _machine_of(item)
    if machine is None:
        return (yield)
    from desvelo.machine.options import searching_with

    with searching_with(item.config.stash[_STATE].search_options(item)):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Carry what was explored and found on the report, so that it survives xdist."""
    report = yield
    if call.when == "call":
        told = item.stash.get(_TOLD, None)
        if told is not None:
            report.desvelo = told
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the one screen: what was explored, what was found, how to replay it."""
    told = [
        report.desvelo
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "desvelo", None)
    ]
    if not told:
        return
    from desvelo.report.terminal import Explored, summary

    explored = [Explored(**one["explored"]) for one in told]
    findings = [found for one in told for path in one["findings"] for found in _loaded(path)]
    terminalreporter.section("desvelo")
    width = terminalreporter._tw.fullwidth  # noqa: SLF001 - its own summary has no other
    failed = bool(terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"))
    for line in summary(explored, findings, width, complete=not failed).splitlines():
        terminalreporter.write_line(line)


def _loaded(path: str) -> list[Finding]:
    """Read a finding back; one that is gone since must not spoil the summary."""
    from desvelo.errors import DesveloError
    from desvelo.finding.finding import Finding

    try:
        return [Finding.load(path)]
    except DesveloError as error:
        sys.stderr.write(f"desvelo: {error}\n")
        return []


# fixtures


@pytest.fixture
def world() -> Iterator[Any]:
    """A simulated world in plain FIFO order, closed after the test."""
    from desvelo.world import World

    with World() as one:
        yield one


@pytest.fixture
def target(pytestconfig: pytest.Config) -> Any:
    """The system under test that was chosen with ``--target``."""
    from desvelo.targets import current_target

    return current_target()


# replays


class ReplayItem(pytest.Item):
    """One saved finding, as a test that fails as long as the finding can be reproduced."""

    def __init__(self, *, file: Path, **options: Any) -> None:
        super().__init__(**options)
        self._file = file

    def runtest(self) -> None:
        """Run the finding again; raises `StillFails` when it fails as it did."""
        from desvelo.finding.finding import Finding

        finding = Finding.load(self._file)
        replay = finding.replay()
        if replay.failed:
            raise StillFails(f"{replay.message}\n\n{finding.story()}")
        sys.stdout.write(f"{replay.message}\n")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show the sentence and the story, not our stack."""
        from desvelo.errors import DesveloError

        if isinstance(excinfo.value, (StillFails, DesveloError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Name the file in the report."""
        return self._file, 0, f"replay of {self._file.name}"


class StillFails(AssertionError):
    """A saved finding can be reproduced: the defect is still there."""


# options


class _State:
    """The options of one run, checked."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.session: pytest.Session | None = None
        self.left = 0
        self.workers = int(getattr(config, "workerinput", {}).get("workercount", 1))
        self.budget = _budget(config)
        self.started: float | None = None
        self.policy: str | None = config.getoption("--fuzz-policy")
        self.seed = _whole_number("--fuzz-seed", config.getoption("--fuzz-seed"))
        self.save = _folder("--findings", config.getoption("--findings"))
        self.replays = _finding_files(config.getoption("--replay"))
        if self.policy is not None:
            with _as_usage_error("--fuzz-policy"):
                from desvelo.schedule.policy import make_policy

                make_policy(self.policy, 0, 1)
        target = config.getoption("--target")
        setting = "desvelo_target in the configuration"
        origin = "--target" if target else setting
        target = target or config.getini("desvelo_target")
        if target:
            with _as_usage_error(origin):
                from desvelo.targets import choose_target

                choose_target(target)

    def deadline(self) -> float | None:
        """Return the moment at which the next search must end: an even share of what is left."""
        if self.budget is None:
            return None
        now = time.perf_counter()
        if self.started is None:
            self.started = now
        remaining = self.started + self.budget - now
        share = remaining * min(self.workers, max(self.left, 1)) / max(self.left, 1)
        self.left -= self.workers
        return now + max(share, 0.05)

    def search_options(self, item: pytest.Item) -> Any:
        """Return the options of one search."""
        from desvelo.machine.options import SearchOptions
        from desvelo.targets import current_target_name

        found: list[str] = []

        def on_finding(finding: Finding, final: bool) -> None:
            found[:] = [str(finding.path)]

        def on_end(test_id: str, collector: Collector) -> None:
            item.stash[_TOLD] = {
                "explored": {
                    "name": item.name if item.name != "runTest" else item.nodeid,
                    "executions": collector.executions,
                    "distinct": len(collector.schedules),
                    "seconds": time.perf_counter() - collector.started,
                    "found": bool(found),
                },
                "findings": list(found),
            }

        seed = None if self.seed is None else self.seed ^ zlib.crc32(item.nodeid.encode())
        return SearchOptions(
            policy=self.policy,
            seed=seed,
            deadline=self.deadline(),
            save=self.save,
            target=current_target_name(),
            on_finding=on_finding,
            on_end=on_end,
            on_execution=_Progress(item.name) if self.budget is not None else None,
        )


class _Progress:
    """Says every few seconds how far a long search has come."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._next = time.perf_counter() + _PROGRESS_EVERY

    def __call__(self, collector: Collector) -> None:
        """Take note of an execution."""
        now = time.perf_counter()
        if now >= self._next and sys.__stderr__ is not None:
            self._next = now + _PROGRESS_EVERY
            sys.__stderr__.write(
                f"desvelo: {self._name}: {collector.executions} executions, "
                f"{len(collector.schedules)} schedules, {now - collector.started:.0f} s\n"
            )


_STATE: pytest.StashKey[_State] = pytest.StashKey()
_TOLD: pytest.StashKey[dict[str, Any]] = pytest.StashKey()


def parse_time(text: str, origin: str) -> float:
    """Read ``30s``, ``10m``, ``1.5h`` as seconds; raises UsageError that names where it came from.

    >>> parse_time("10m", "--fuzz-budget")
    600.0
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh])\s*", text)
    if match is None or float(match[1]) <= 0:
        raise pytest.UsageError(
            f"{origin}: {text!r} is not a time; write a number and s, m or h, as in 30s or 10m"
        )
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def _budget(config: pytest.Config) -> float | None:
    option = config.getoption("--fuzz-budget")
    if option is not None:
        return parse_time(option, "--fuzz-budget")
    setting = config.getini("fuzz_budget")
    return parse_time(str(setting), "fuzz_budget in the configuration") if setting else None


def _whole_number(origin: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise pytest.UsageError(f"{origin}: {text!r} is not a whole number") from None


def _folder(origin: str, place: str | None) -> Path:
    if place is None:
        return Path(".desvelo/findings")
    path = Path(place)
    if path.exists() and not path.is_dir():
        raise pytest.UsageError(f"{origin}: {path} is a file; it must be a folder")
    with _as_usage_error(origin):
        from desvelo.finding.files import check_folder

        check_folder(path)
    return path


def _finding_files(places: list[str] | None) -> list[Path]:
    files: list[Path] = []
    for place in places or ():
        path = Path(place)
        if path.is_dir():
            inside = sorted(path.glob("*.json"))
            if not inside:
                raise pytest.UsageError(f"--replay: there is no finding (*.json) in {path}")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise pytest.UsageError(f"--replay: there is no file or folder {path}")
    with _as_usage_error("--replay"):
        if files:
            from desvelo.finding.finding import Finding

            for file in files:
                Finding.load(file)
    return files


def _machine_of(item: pytest.Item) -> Any:
    """Return the concurrent machine behind a test, when it is one."""
    function = getattr(item, "function", None) or getattr(item, "obj", None)
    machine = getattr(function, "_hypothesis_state_machine_class", None)
    return machine if machine is not None and hasattr(machine, "world_options") else None


@contextlib.contextmanager
def _as_usage_error(origin: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        from desvelo.errors import DesveloError

        if not isinstance(error, DesveloError):
            raise
        said = " ".join(str(error).split())
        raise pytest.UsageError(f"{origin}: {said}") from error
