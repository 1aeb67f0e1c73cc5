"""From a trace to the few rows that matter: pure steps, each from rows to rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from desvelo.world.trace import Row

ALWAYS = frozenset({"begin", "end-of-operation", "deviation", "release", "cancel", "fault", "reset", "refused",
                    "loop-error"})
TRAFFIC = frozenset({"send", "deliver", "run"})
QUIET = frozenset({"job", "connect", "accept", "end", "time"})
MANY = 44
"""Rows that a story shows at most; beyond that the least telling go first."""


def own_lanes(rows: Sequence[Row]) -> list[Row]:
    """Leave out what belongs to no operation, except faults and the passing of much time."""
    return [row for row in rows if row.lane != "world" or row.kind in ALWAYS or _long_time(row)]


def _long_time(row: Row) -> bool:
    return row.kind == "time"


def without_echo(rows: Sequence[Row]) -> list[Row]:
    """Show a message once: its arrival, unless it never arrives."""
    arrived = Counter(row.text.partition(" ")[2] for row in rows if row.kind == "deliver")
    kept = []
    for row in rows:
        if row.kind == "send":
            message = row.text.partition(" ")[2]
            if arrived[message] > 0:
                arrived[message] -= 1
                continue
        kept.append(row)
    return kept


def merge_time(rows: Sequence[Row]) -> list[Row]:
    """Keep only the last of several steps of time, and none below a millisecond."""
    kept: list[Row] = []
    shown_at = rows[0].time_ns if rows else 0
    for row in rows:
        if row.kind == "time":
            if row.time_ns - shown_at < 1_000_000:
                continue
            shown_at = row.time_ns
            if kept and kept[-1].kind == "time":
                kept[-1] = row
                continue
        kept.append(row)
    return kept


def telling_lines(rows: Sequence[Row], plain: Sequence[Row]) -> list[Row]:
    """Of the lines of code keep those around a switch and those with another value than in FIFO.

    A line tells something when the lane changes before or after it, or when its text, which
    carries the values it changed, does not occur in the plain run of the same lane.
    """
    known = {(row.lane, row.where, row.text) for row in plain if row.kind == "line"}
    visible = [row for row in rows if row.kind == "line" or row.kind in ALWAYS or row.kind in TRAFFIC]
    keep: set[int] = set()
    for index, row in enumerate(visible):
        if row.kind != "line":
            continue
        before = visible[index - 1] if index else None
        after = visible[index + 1] if index + 1 < len(visible) else None
        switched = (before is not None and before.lane != row.lane) or (after is not None and after.lane != row.lane)
        if switched or (row.lane, row.where, row.text) not in known:
            keep.add(id(row))
    return [row for row in rows if row.kind != "line" or id(row) in keep]


def at_most(rows: Sequence[Row], limit: int = MANY) -> list[Row]:
    """Drop the least telling rows until the story fits on a screen, and say how many."""
    kept = list(rows)
    for droppable in (_is_quiet, _is_plain_line, _is_traffic):
        if len(kept) <= limit:
            return kept
        surplus = len(kept) - limit
        candidates = [row for row in kept if droppable(row) and not row.deviation]
        if droppable is _is_quiet or len(candidates) <= surplus:
            gone = {id(row) for row in candidates}
        else:
            middle = sorted(range(len(candidates)), key=lambda i: -min(i, len(candidates) - i))
            gone = {id(candidates[i]) for i in middle[:surplus]}
        kept = [row for row in kept if id(row) not in gone]
    return kept


def _is_quiet(row: Row) -> bool:
    return row.kind in QUIET


def _is_plain_line(row: Row) -> bool:
    return row.kind == "line" and "➜" not in row.text


def _is_traffic(row: Row) -> bool:
    return row.kind in TRAFFIC or row.kind == "line"


def fold_repeats(rows: Sequence[Row]) -> list[Row]:
    """Write a row that repeats directly below itself once, with a count."""
    folded: list[tuple[Row, int]] = []
    for row in rows:
        if folded and _same(folded[-1][0], row):
            folded[-1] = (folded[-1][0], folded[-1][1] + 1)
        else:
            folded.append((row, 1))
    return [replace(row, text=f"{row.text}  ({count} times)") if count > 1 else row for row, count in folded]


def _same(one: Row, two: Row) -> bool:
    return (one.lane, one.kind, one.text, one.where) == (two.lane, two.kind, two.text, two.where)


def select(rows: Sequence[Row], plain: Sequence[Row]) -> list[Row]:
    """Apply all steps in their order."""
    rows = own_lanes(rows)
    rows = telling_lines(rows, plain)
    rows = without_echo(rows)
    rows = merge_time(rows)
    rows = fold_repeats(rows)
    return at_most(rows)
