"""Telling which thresholds hold, where each is from, and what it means."""

from __future__ import annotations

from collections.abc import Iterable

from desvelo.measure.plan import PHASES
from desvelo.measure.thresholds.catalogue import MEASURED, METRICS
from desvelo.measure.thresholds.reading import CONFIDENCE, EVERY, Limit, Thresholds

HEADINGS = ("phase", "metric", "limit", "source", "meaning")


def explain(thresholds: Thresholds) -> str:
    """Return a table of all thresholds of a profile.

    >>> from desvelo.measure.thresholds import read_thresholds
    >>> told = explain(read_thresholds(None, "ci")).splitlines()
    >>> " ".join(told[2].split()[:6])
    'baseline success_rate at least 95 %'
    """
    rows = [
        (phase, limit.metric, f"{METRICS[limit.metric].bound} {limit.text}", *_told(limit))
        for phase in PHASES
        for limit in thresholds.of(phase).values()
        if limit.metric in MEASURED[phase] or limit.metric in thresholds.phases.get(phase, {})
    ]
    lines = [f"thresholds of the profile {thresholds.profile}", *_table([HEADINGS, *rows])]
    past = [
        (limit.metric, f"at most {limit.text} worse", limit.source)
        for limit in thresholds.regression.values()
        if limit.metric != CONFIDENCE
    ]
    sure = thresholds.regression[CONFIDENCE]
    rule = f"each metric that is not named; a change counts when it is sure by {sure.text}"
    lines += [
        "",
        "against the run's own past, by metric",
        *_table([("metric", "limit", "source"), *past]),
        f"{EVERY}: {rule} ({sure.source})",
    ]
    return "\n".join(lines)


def _told(limit: Limit) -> tuple[str, str]:
    return limit.source, METRICS[limit.metric].meaning


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    cells = list(rows)
    wide = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(cell.ljust(size) for cell, size in zip(row, wide, strict=True)).rstrip()
        for row in cells
    ]
