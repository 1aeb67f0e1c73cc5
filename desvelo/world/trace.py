"""The trace of one execution: what happened, in order, as plain rows.

It is kept only when asked for, in a second run of an execution that failed, so that exploring
pays nothing for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that happened.

    ``lane`` is the column of the story, ``where`` a ``file.py:12`` or empty, ``deviation`` says
    what was out of the ordinary here, or is empty.
    """

    poll: int
    time_ns: int
    lane: str
    kind: str
    text: str
    where: str = ""
    deviation: str = ""

    def identity(self) -> str:
        """Return what must be the same in every replay, on every Python."""
        return f"{self.time_ns} {self.lane} {self.kind} {self.text}"


LINE_KINDS = frozenset({"line", "step"})
"""Rows taken from the target's code lines; they are not part of a trace's identity."""


class Trace:
    """The rows of one execution."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def digest(self) -> str:
        """Return a hash of all that must not differ between two runs of one schedule."""
        digest = hashlib.sha256()
        for row in self.rows:
            if row.kind not in LINE_KINDS:
                digest.update(row.identity().encode("utf-8", "replace"))
                digest.update(b"\n")
        return digest.hexdigest()

    def first_difference(self, other: Trace) -> str | None:
        """Return the first event in which two traces differ, in words, or nothing."""
        mine = [row for row in self.rows if row.kind not in LINE_KINDS]
        theirs = [row for row in other.rows if row.kind not in LINE_KINDS]
        for number, (one, two) in enumerate(zip(mine, theirs, strict=False), 1):
            if one.identity() != two.identity():
                return f"event {number}: {_say(one)} in one run, {_say(two)} in the other"
        if len(mine) == len(theirs):
            return None
        longer = mine if len(mine) > len(theirs) else theirs
        return f"event {min(len(mine), len(theirs)) + 1}: {_say(longer[min(len(mine), len(theirs))])} in one run only"


def _say(row: Row) -> str:
    seconds = row.time_ns / 1e9 - 1000
    return f"[{row.lane}] {row.text} at {seconds:.6f} s"
