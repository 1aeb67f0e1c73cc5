"""The trace of one execution: what happened, in order, as plain rows.

It is kept only when asked for, in a second run of an execution that failed, so that exploring
pays nothing for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Access:
    """One value that a statement read or wrote.

    ``keys`` name the places (an attribute of one object, the contents of one list), the same
    for everybody who reaches them under whatever name; ``lasting`` tells places that outlive
    the function from its local variables.
    """

    keys: tuple[str, ...]
    path: str
    value: str
    write: bool = False
    lasting: bool = False
    primitive: bool = False
    """Whether it is a lock, event, queue or future of asyncio."""
    opaque: bool = False
    """Whether it is an object whose inside cannot be shown."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about one executed statement besides its text."""

    frame: int
    """The number of the call that it ran in."""
    function: str
    kind: str
    """As `desvelo.world.statements.Statement.kind` says, or ``exit`` at the end of a ``with``."""
    accesses: tuple[Access, ...] = ()
    test: str = ""
    """``yes`` or ``no``, for the test of an ``if`` or ``while``."""
    condition: str = ""
    target: str = ""
    """What a ``with`` or ``await`` asks for."""
    raised: str = ""
    returned: str = ""
    awaits: bool = False
    suspended: bool = False
    """Whether it let others run before it was done."""
    entered: bool = False
    """Whether a ``with`` got as far as its body."""
    resumed: bool = False
    """Whether this is the rest of a statement, after it had let others run."""

    def writes(self) -> tuple[Access, ...]:
        """Return what it wrote."""
        return tuple(access for access in self.accesses if access.write)

    def reads(self) -> tuple[Access, ...]:
        """Return what it read."""
        return tuple(access for access in self.accesses if not access.write)


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that happened.

    ``lane`` is the column of the story, ``where`` a ``file.py:12`` or empty, ``deviation``
    names what was out of the ordinary here, or is empty. Rows of code carry ``facts``.
    """

    poll: int
    time_ns: int
    lane: str
    kind: str
    text: str
    where: str = ""
    deviation: str = ""
    facts: Facts | None = field(default=None, compare=False)

    def identity(self) -> str:
        """Return what must be the same in every replay."""
        return f"{self.time_ns} {self.lane} {self.kind} {self.text}"


LINE_KINDS = frozenset({"line", "step", "loop-error"})
"""Rows taken from the target's statements; they are not part of a trace's identity."""


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
        shorter = min(len(mine), len(theirs))
        longer = mine if len(mine) > len(theirs) else theirs
        return f"event {shorter + 1}: {_say(longer[shorter])} in one run only"


def _say(row: Row) -> str:
    seconds = row.time_ns / 1e9 - 1000
    return f"[{row.lane}] {row.text} at {seconds:.6f} s"
