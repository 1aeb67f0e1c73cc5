"""A run: the phases in their order, the gate behind the baseline, and an end on Ctrl-C.

Each phase runs in a thread of its own, so that the main thread hears signals whatever a phase
does; it is asked to end, and given a moment to hand in what it has.
"""

from __future__ import annotations

import importlib
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from types import FrameType
from typing import Any, Self

from desvelo.errors import DesveloError
from desvelo.measure.context import Context, Interruption, Progress, Silent
from desvelo.measure.environment import machine, revision, versions
from desvelo.measure.findings import FindingsOfRun
from desvelo.measure.plan import Settings
from desvelo.measure.result import PhaseResult, Run, Status
from desvelo.measure.scratch import scratch_folder
from desvelo.measure.thresholds import Thresholds, judge

STAGES = (
    ("baseline",),
    ("load",),
    ("endurance",),
    ("memory", "io"),
    ("database",),
    ("webhook",),
    ("against",),
)
"""The order of a run. What stands together runs side by side."""
GRACE = 10.0
"""Seconds that a phase has to end once the run was interrupted."""

Phase = Callable[[Context], PhaseResult]


def phase_named(name: str) -> Phase:
    """Return the function of a phase; what it needs is imported only now."""
    found: Phase = importlib.import_module(f"desvelo.measure.phases.{name}").run
    return found


@dataclass(slots=True)
class Conductor:
    """Runs the phases of one run."""

    target: Any
    settings: Settings
    thresholds: Thresholds
    progress: Progress = field(default_factory=Silent)
    interruption: Interruption = field(default_factory=Interruption)
    on_result: Callable[[PhaseResult], None] = lambda result: None
    """Told of each phase that has ended."""

    def conduct(self, command: str = "") -> Run:
        """Run all phases and return what they measured; interrupted or not, it is whole."""
        run = new_run(self.settings.target, self.settings.profile, command)
        findings = FindingsOfRun()
        begun = time.perf_counter()
        with _Signals() as signals, scratch_folder() as folder:
            for stage in STAGES:
                names = [name for name in stage if name in self.settings.all_phases]
                if names:
                    run.phases += self._stage(names, run, folder, signals)
        run.seconds = time.perf_counter() - begun
        run.findings = findings.new()
        run.conclude(interrupted=self.interruption.is_set())
        return run

    def _stage(
        self, names: Sequence[str], run: Run, folder: Path, signals: _Signals
    ) -> list[PhaseResult]:
        reason = self._not_run_because(run)
        if reason:
            results = [PhaseResult(name, Status.SKIPPED, reason, _now()) for name in names]
        else:
            results = self._side_by_side(
                {name: self._phase(name, run) for name in names}, folder, signals
            )
        for result in results:
            self.on_result(result)
        return results

    def _not_run_because(self, run: Run) -> str:
        if self.interruption.is_set():
            return "the run was interrupted before"
        baseline = run.phase("baseline")
        if self.settings.full_system and baseline is not None and baseline.status is Status.FAILED:
            return "the baseline failed"
        return ""

    def _phase(self, name: str, run: Run) -> Phase:
        """Return a phase; what it needs is imported in its thread, and may be missing."""

        def begin(context: Context) -> PhaseResult:
            if name != "against":
                return phase_named(name)(context)
            from desvelo.measure.phases.against import against
            from desvelo.measure.regression import limits_of

            limits = limits_of(self.thresholds)
            return against(self.settings.against, limits, run.comparisons)(context)

        return begin

    def _side_by_side(
        self, phases: dict[str, Phase], folder: Path, signals: _Signals
    ) -> list[PhaseResult]:
        running = [
            _Running(name, phase, self._context(folder / name)) for name, phase in phases.items()
        ]
        threads = [one.thread for one in running]
        give_up = math.inf
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.05)
            if signals.count and not self.interruption.is_set():
                self.interruption.set()
            if self.interruption.is_set() and give_up == math.inf:
                give_up = time.monotonic() + GRACE
            if signals.count > 1 or time.monotonic() > give_up:
                break
        for one in running:
            # What an abandoned phase holds open is left to the end of the process.
            shutil.rmtree(one.context.folder, ignore_errors=True)
        results = [one.result() for one in running]
        for result in results:
            judge(result, self.thresholds, live=bool(self.settings.url))
        return results

    def _context(self, folder: Path) -> Context:
        folder.mkdir(parents=True)
        return Context(self.target, self.settings, folder, self.progress, self.interruption)


class _Running:
    """One phase in its thread, begun at once."""

    def __init__(self, name: str, phase: Phase, context: Context) -> None:
        self.name, self.context, self._phase = name, context, phase
        self._begun, self._started = time.perf_counter(), _now()
        self._result: PhaseResult | None = None
        self.thread = threading.Thread(target=self._run, name=f"desvelo-{name}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            result = self._phase(self.context)
        except BaseException as error:  # a target may call sys.exit
            if self.context.interruption.is_set():
                return
            result = PhaseResult(self.name)
            own = isinstance(error, DesveloError)
            result.fail(_one_line(str(error) if own else f"{type(error).__name__}: {error}"))
        _complete(result, self._started, time.perf_counter() - self._begun)
        self._result = result

    def result(self) -> PhaseResult:
        """Return what the phase handed in, or that it was interrupted."""
        if self._result is not None:
            return self._result
        seconds = time.perf_counter() - self._begun
        why = f"interrupted after {seconds:.1f} s"
        if self.thread.is_alive():
            why += f"; it did not end within {GRACE:.0f} s"
        return PhaseResult(self.name, Status.INTERRUPTED, why, self._started, seconds)


class _Signals:
    """Counts Ctrl-C and SIGTERM instead of dying of them; only the main thread can."""

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for one in (signal.SIGINT, signal.SIGTERM):
                self._before[one] = signal.signal(one, self._heard)
        return self

    def __exit__(self, *exception: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


def _complete(result: PhaseResult, started: str, seconds: float) -> None:
    result.started = result.started or started
    result.seconds = result.seconds or seconds
    for name, metric in list(result.metrics.items()):
        if not math.isfinite(metric.value):
            del result.metrics[name]
            result.notes.append(f"{name} came out as {metric.value} and was left out")
    if result.status is not Status.PASSED:
        return
    if result.problems:
        more = f" and {len(result.problems) - 1} more" if len(result.problems) > 1 else ""
        result.fail(f"{result.problems[0]}{more}")
    elif not result.metrics:
        result.fail("it measured nothing")


def new_run(target: str, profile: str, command: str = "") -> Run:
    """Return a run of here and now that has no phases yet; its id sorts by time."""
    now = _utc()
    return Run(
        id=f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03}-{token_hex(1)}",
        started=now.isoformat(timespec="milliseconds"),
        target=target,
        profile=profile,
        revision=revision(Path.cwd()),
        machine=machine(),
        versions=versions(),
        command=command,
    )


def _utc() -> datetime:
    return datetime.now(UTC)


def _now() -> str:
    return _utc().isoformat(timespec="seconds")


def _one_line(text: str) -> str:
    return " ".join(text.split()) or "no message"
