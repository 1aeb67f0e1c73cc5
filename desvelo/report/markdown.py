"""A run as Markdown, for the summary page of a CI system."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from desvelo.measure.result import PhaseResult, Run, Status, with_unit
from desvelo.report.screen import COLUMNS

MARKS = {
    Status.PASSED: "✅ passed",
    Status.FAILED: "❌ failed",
    Status.SKIPPED: "⏭️ skipped",
    Status.INTERRUPTED: "⏹️ interrupted",
}
MOST = 20
"""Rows of one kind that are shown: a summary page takes 1 MiB in all."""


def markdown(run: Run) -> str:
    """Return the summary.

    >>> run = Run("r1", "2026-01-01T00:00:00+00:00", "vigia_reference", "quick", seconds=2.0)
    >>> print(markdown(run).splitlines()[0])
    ## ✅ passed: `vigia_reference`, profile quick
    """
    lines = [f"## {MARKS[run.status]}: {_code(run.target)}, profile {run.profile}", ""]
    if run.reason:
        lines += [f"**{_text(run.reason)}**", ""]
    revision = f", revision {_code(run.revision)}" if run.revision else ""
    lines += [f"Run {_code(run.id)}, {with_unit(run.seconds, 's')}{revision}.", ""]
    lines += _table(("phase", "result", "time", *COLUMNS), map(_row, run.phases))
    lines += _section("Why", (_why(one) for one in run.phases if one.status is not Status.PASSED))
    broken = [(one.phase, check) for one in run.phases for check in one.checks if not check.passed]
    if broken:
        lines += ["### Thresholds that are broken", ""]
        lines += _table(
            ("phase", "threshold", "from"),
            ((phase, _text(str(check)), _code(check.source)) for phase, check in broken[:MOST]),
        )
    problems = [f"{one.phase}: {_text(said)}" for one in run.phases for said in one.problems]
    lines += _section("Problems", problems)
    worse = [_text(one.sentence) for one in run.comparisons if one.verdict == "worse"]
    lines += _section("Worse than before", worse)
    for found in run.findings[:MOST]:
        lines += [f"### {_text(found.title)}", "", f"Again: {_code(found.replay)}", ""]
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", found.story)), default=0))
        lines += [f"{fence}text", found.story, fence, ""]
    # What was read of a process or a socket may hold halves of characters.
    return "\n".join(lines).encode(errors="replace").decode()


def _row(phase: PhaseResult) -> tuple[str, ...]:
    numbers = (str(phase.metrics.get(name, "")) for name in COLUMNS.values())
    return (phase.phase, MARKS[phase.status], with_unit(phase.seconds, "s"), *numbers)


def _why(phase: PhaseResult) -> str:
    return f"{phase.phase}: {_text(phase.reason)}"


def _section(title: str, items: Iterable[str]) -> list[str]:
    listed = list(items)
    if not listed:
        return []
    rest = [f"- and {len(listed) - MOST} more"] if len(listed) > MOST else []
    return [f"### {title}", "", *(f"- {item}" for item in listed[:MOST]), *rest, ""]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(cells)} |" for cells in lines), ""]


def _text(text: str) -> str:
    """Write what anybody may have said so that it is shown and does nothing."""
    line = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]<>#|~@!])", r"\\\1", line).replace("\\<", "&lt;")


def _code(text: str) -> str:
    line = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return f"`{line}`" if line else ""
