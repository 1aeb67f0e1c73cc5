"""What a run measured, on one screen of a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path

from desvelo.measure.result import PhaseResult, Run, Status, with_unit

COLUMNS = {
    "success": "success_rate",
    "throughput": "throughput",
    "slowest": "response_time",
    "p99": "latency_p99",
    "memory": "memory",
}
MOST = 5
"""Lines of one kind that are printed; of the rest there is the number."""
_MOST_LINES = 4
"""Of one sentence."""


def screen(run: Run, folder: Path | None = None, width: int = 100) -> str:
    """Return the screen: a row for each phase, what is wrong, and the verdict.

    >>> run = Run("r1", "2026-01-01T00:00:00+00:00", "vigia_reference", "quick", seconds=1.5)
    >>> run.phases.append(PhaseResult("webhook", Status.SKIPPED, "no server", seconds=0.1))
    >>> print(screen(run))
    vigia_reference, profile quick: run r1
    phase     result          time success throughput   slowest       p99    memory
    webhook   skipped     100.0 ms
      not run: webhook: no server
    PASSED in 1.50 s
    """
    revision = f", revision {run.revision}" if run.revision else ""
    lines = [f"{run.target}, profile {run.profile}{revision}: run {run.id}", _HEAD]
    lines += [_row(phase) for phase in run.phases]
    lines += _skipped(run.phases)
    lines += _listed([told for phase in run.phases for told in _why(phase)])
    checks = [(phase.phase, check) for phase in run.phases for check in phase.checks]
    broken = [f"{phase}: {check} [{check.source}]" for phase, check in checks if not check.passed]
    if checks:
        lines.append(f"thresholds: {len(checks) - len(broken)} of {len(checks)} hold")
        lines += _listed([f"  broken: {one}" for one in broken])
    lines += _listed(
        [f"  worse: {one.sentence}" for one in run.comparisons if one.verdict == "worse"]
    )
    for number, found in enumerate(run.findings[:MOST], 1):
        lines += [f"finding {number}: {found.title}", f"  {found.replay or found.file}"]
    if folder is not None:
        lines.append(f"report: {folder}")
    verdict = run.status.upper()
    reason = f": {run.reason}" if run.reason else ""
    lines.append(f"{verdict} in {with_unit(run.seconds, 's')}{reason}")
    # The verdict is one line, for whoever looks for it with a program.
    return "\n".join(
        _fitting(line, width if line is not lines[-1] else 10 * width) for line in lines
    )


_HEAD = (
    f"{'phase':<10}{'result':<12}{'time':>8}"
    f"{'success':>8}{'throughput':>11}{'slowest':>10}{'p99':>10}{'memory':>10}"
)


def _row(phase: PhaseResult) -> str:
    cells = [str(phase.metrics.get(name, "")) for name in COLUMNS.values()]
    widths = (8, 11, 10, 10, 10)
    numbers = "".join(cell.rjust(size) for cell, size in zip(cells, widths, strict=True))
    result = phase.status.upper() if phase.status is Status.FAILED else str(phase.status)
    time = with_unit(phase.seconds, "s") if phase.seconds else ""
    return f"{phase.phase:<10}{result:<12}{time:>8}{numbers}".rstrip()


def _skipped(phases: Iterable[PhaseResult]) -> Iterable[str]:
    names: dict[str, list[str]] = {}
    for phase in phases:
        if phase.status is Status.SKIPPED:
            names.setdefault(phase.reason, []).append(phase.phase)
    return [f"  not run: {', '.join(some)}: {reason}" for reason, some in names.items()]


def _why(phase: PhaseResult) -> Iterable[str]:
    if phase.status is Status.FAILED:
        yield f"  {phase.phase} failed: {phase.reason}"
    if phase.status is Status.INTERRUPTED:
        yield f"  {phase.phase}: {phase.reason}"
    if phase.knee is not None and phase.knee < len(phase.steps):
        step = phase.steps[phase.knee]
        users = "1 user" if step.users == 1 else f"{step.users} users"
        load = users if step.users else f"{step.offered:,.0f} arrivals/s"
        yield f"  {phase.phase}: the knee is at {load}, {step.throughput:,.0f} answers a second"
    told = [problem for problem in phase.problems if problem != phase.reason]
    yield from (f"  {phase.phase}: {problem}" for problem in told[:MOST])
    kinds = sorted(phase.errors.items(), key=lambda one: (-one[1], one[0]))
    if kinds:
        yield f"  {phase.phase}: errors: " + ", ".join(f"{n:,} {kind}" for kind, n in kinds[:MOST])
    yield from (
        f"  {phase.phase}: {test.name} failed {test.failures} of {test.runs} times"
        for test in [test for test in phase.tests if test.failures][:MOST]
    )


def _listed(lines: list[str]) -> list[str]:
    most = 2 * MOST
    rest = [f"  and {len(lines) - most} more lines in the report"] if len(lines) > most else []
    return lines[:most] + rest


def _fitting(line: str, width: int) -> str:
    # What a server or a test said may hold anything, also what would steer the terminal.
    plain = "".join(letter if letter.isprintable() else " " for letter in line)
    if len(plain) <= width:
        return plain
    indent = " " * (len(plain) - len(plain.lstrip()) + 2)
    # A sentence ends with what matters most, so it goes on in the next line.
    return "\n".join(
        textwrap.wrap(
            plain,
            width,
            subsequent_indent=indent,
            max_lines=_MOST_LINES,
            placeholder="…",
            break_on_hyphens=False,
        )
    )
