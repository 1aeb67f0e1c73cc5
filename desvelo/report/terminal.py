"""The one screen that ends a run: what was explored, what was found, how to see it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from desvelo.finding.finding import Finding
from desvelo.world.values import shorten

STORIES = 2
"""Stories that are printed in full; of the rest there is one line, and the file."""
MOST_TESTS = 15


@dataclass(frozen=True)
class Explored:
    """How far one test or scenario was explored."""

    name: str
    executions: int
    distinct: int
    """Schedules that differ from each other."""
    seconds: float
    found: bool = False

    @property
    def rate(self) -> float:
        """Executions per second of real time."""
        return self.executions / self.seconds if self.seconds > 0 else 0.0


def summary(
    explored: Sequence[Explored],
    findings: Sequence[Finding],
    width: int = 100,
    *,
    complete: bool = True,
) -> str:
    """Return the summary as text: a table of what was explored, then each finding.

    >>> print(summary([Explored("test_webhook", 1200, 830, 2.5)], []))
    explored        executions  schedules   per second
    test_webhook         1,200        830          480
    nothing found
    """
    parts = []
    if explored:
        parts.append(_table(explored, width))
    if not findings:
        parts.append("nothing found" if complete else "not every test came to its end")
        return "\n".join(parts)
    for number, finding in enumerate(findings, 1):
        parts.append("")
        parts.append(shorten(f"{number}. {finding.summary()}", width))
        if number <= STORIES and finding.story():
            # The first line of a story is the summary, which stands above it already.
            parts += [f"   {line}".rstrip() for line in finding.story().splitlines()[1:]]
            parts.append("")
        elif finding.told_confirmation():
            parts.append(shorten(f"   {finding.told_confirmation()}", width))
        if finding.path is not None:
            parts.append(f"   saved:  {finding.path}")
        if finding.replays:
            parts.append(f"   replay: {replay_command(finding)}")
    return "\n".join(parts)


def replay_command(finding: Finding) -> str:
    """Return the command that shows a finding again.

    >>> from desvelo.schedule.decisions import Schedule
    >>> finding = Finding("race", AssertionError(), "", "s.py", [], Schedule(), [], 1, 0.0)
    >>> finding.command = "desvelo replay .desvelo/findings/race-1.json"
    >>> replay_command(finding)
    'desvelo replay .desvelo/findings/race-1.json'
    """
    if finding.command:
        return finding.command
    if finding.path is None:
        return "none: the finding was not saved"
    return f"desvelo replay {shlex.quote(str(finding.path))}"


def _table(explored: Sequence[Explored], width: int) -> str:
    shown = list(explored)
    if len(shown) > MOST_TESTS:
        # What was found comes first, then what took longest.
        shown = sorted(shown, key=lambda one: (not one.found, -one.seconds))[:MOST_TESTS]
    names = [_short_name(one.name) for one in shown]
    room = max(min(max(map(len, names)) + 2, width - 36), 14)
    lines = [f"{'explored'.ljust(room)}{'executions':>12}{'schedules':>11}{'per second':>13}"]
    for one, short in zip(shown, names, strict=True):
        name = shorten(short, room - 1).ljust(room)
        mark = "  found" if one.found else ""
        lines.append(f"{name}{one.executions:>12,}{one.distinct:>11,}{one.rate:>13,.0f}{mark}")
    rest = len(explored) - len(shown)
    if rest:
        others = sum(one.executions for one in explored) - sum(one.executions for one in shown)
        lines.append(f"and {rest} more tests with {others:,} executions")
    return "\n".join(lines)


def _short_name(name: str) -> str:
    """Leave out of a test's name what tells it from no other.

    >>> _short_name("stress_tests/test_patient_registry.py::TestSqliteRegistry::runTest")
    'test_patient_registry.py::TestSqliteRegistry'
    """
    return name.removesuffix("::runTest").rpartition("/")[2]
