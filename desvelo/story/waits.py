"""Who holds which lock, and who waits for it where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from desvelo.story.scene import actor_of
from desvelo.world.trace import Access, Row


@dataclass(frozen=True)
class Hold:
    """Something that an actor has got and not given back."""

    actor: str
    access: Access
    row: Row


@dataclass(frozen=True)
class Wait:
    """Where an actor waits at the end, for what, and who holds that."""

    actor: str
    row: Row
    access: Access | None
    holder: Hold | None


@dataclass(frozen=True)
class Blocked:
    """A thread that waits at the end, in the words of who keeps the locks."""

    actor: str
    where: str
    """``file.py:12``, or empty when it is not known."""
    what: str
    holder: str
    """The thread that has what it waits for, or empty."""
    since: str
    """Where the holder got it."""
    row: Row | None
    """Its statement, when there is a row of it."""
    got: Row | None
    """The statement with which the holder got it."""


_STANDS = re.compile(
    r"(?P<actor>.+?) waits at (?:an unknown line|(?P<where>.+?:\d+) in \S+) for (?P<what>.+)"
)
_HELD = re.compile(r"(?P<what>.+?), held by (?P<holder>.+?)(?: since (?P<since>\S.*:\d+))?")


def blocked_at_end(details: Sequence[str], rows: Sequence[Row]) -> list[Blocked]:
    """Return the threads that a deadlock's details name, each with its row in the trace.

    What a thread waits for is not guessed from its statement: the same words may mean another
    lock in every thread, and waiting for a notification gives the lock back.

    >>> waits = "a waits at s.py:8 in eat for the lock made at s.py:4, held by b since s.py:7"
    >>> blocked = blocked_at_end([waits], [])[0]
    >>> blocked.what, blocked.holder, blocked.since
    ('the lock made at s.py:4', 'b', 's.py:7')
    """
    found: list[Blocked] = []
    taken: list[Row] = []
    for line in details:
        stands = _STANDS.fullmatch(line)
        if stands is None:
            continue
        what, holder, since = stands["what"], "", ""
        held = _HELD.fullmatch(what)
        if held is not None:
            what, holder, since = held["what"], held["holder"], held["since"] or ""
        where = stands["where"] or ""
        row = _statement_at(rows, stands["actor"], where, taken)
        if row is not None:
            taken.append(row)
        got = _statement_at(rows, holder, since, []) if since else None
        found.append(Blocked(stands["actor"], where, what, holder, since, row, got))
    return found


def _statement_at(rows: Sequence[Row], actor: str, where: str, taken: Sequence[Row]) -> Row | None:
    """Return the last row of a thread at a line, the rows of other threads left out."""
    there = [
        row
        for row in reversed(rows)
        if row.facts is not None
        and row.where == where
        and row.facts.kind != "exit"
        and not any(row is other for other in taken)
    ]
    # The thread of a pool works in the name of whoever asked for the job.
    own = [row for row in there if row.lane in (actor, actor.partition(">")[0])]
    others = [row for row in there if row.facts is not None and row.facts.suspended]
    return next(iter(own), None) or (next(iter(others), None) if ">" in actor else None)


def holds_at_end(rows: Sequence[Row]) -> list[Hold]:
    """Return what is still held after the last row: entered and not left, acquired and kept."""
    held: list[Hold] = []
    for index, row in enumerate(rows):
        facts = row.facts
        if facts is None:
            continue
        if facts.kind == "with" and facts.entered:
            held += [Hold(actor_of(row.lane), a, row) for a in _primitives(rows, index)]
        elif facts.kind == "exit":
            for hold in reversed(held):
                same = hold.row.facts is not None and hold.row.facts.frame == facts.frame
                if same and hold.row.where == row.where:
                    held.remove(hold)
                    break
        elif ".acquire()" in row.text and _went_on(rows, index):
            held += [Hold(actor_of(row.lane), a, row) for a in _primitives(rows, index)]
        elif ".release()" in row.text:
            keys = {key for access in facts.accesses for key in access.keys}
            for hold in reversed(held):
                if keys.intersection(hold.access.keys):
                    held.remove(hold)
                    break
    return held


def waits_at_end(rows: Sequence[Row], operations: Sequence[str]) -> list[Wait]:
    """Return where each operation that never ended waits, and for whom."""
    ended = {row.lane for row in rows if row.kind == "end-of-operation"}
    held = holds_at_end(rows)
    waits = []
    for name in operations:
        if name in ended:
            continue
        last = next(
            (
                index
                for index in range(len(rows) - 1, -1, -1)
                if rows[index].lane == name and _awaits(rows[index])
            ),
            None,
        )
        if last is None:
            continue
        access = next(iter(_primitives(rows, last)), None)
        holder = None
        if access is not None:
            keys = set(access.keys)
            holder = next((hold for hold in held if keys.intersection(hold.access.keys)), None)
        waits.append(Wait(name, rows[last], access, holder))
    return waits


@dataclass(frozen=True)
class Gift:
    """Somebody was cancelled while it waited for something that had just been given to it."""

    actor: str
    cancelled: Row
    giver: str
    given: Row
    access: Access
    positions: tuple[int, int]

    def indices(self) -> set[int]:
        """Return the two rows that it consists of."""
        return set(self.positions)


def lost_gift(rows: Sequence[Row]) -> Gift | None:
    """Find a waiter that was cancelled after its future, lock or queue was already served."""
    for index, row in enumerate(rows):
        facts = row.facts
        if facts is None or not facts.raised.startswith("CancelledError") or not facts.awaits:
            continue
        keys = {key for access in _primitives(rows, index) for key in access.keys}
        for earlier in range(index - 1, -1, -1):
            other = rows[earlier]
            if other.facts is None:
                continue
            if other.facts.frame == facts.frame:
                break
            for access in other.facts.writes():
                if access.primitive and keys.intersection(access.keys):
                    giver = actor_of(other.lane)
                    return Gift(actor_of(row.lane), row, giver, other, access, (index, earlier))
    return None


def _awaits(row: Row) -> bool:
    facts = row.facts
    if facts is None or not facts.suspended:
        return False
    return facts.awaits or any(access.primitive for access in facts.accesses)


def _primitives(rows: Sequence[Row], index: int) -> list[Access]:
    """Return the locks and the like that a statement names; its rest looks at its beginning."""
    row = rows[index]
    assert row.facts is not None
    if row.facts.resumed:
        for earlier in reversed(rows[:index]):
            facts = earlier.facts
            if facts is not None and facts.frame == row.facts.frame and not facts.resumed:
                row = earlier
                break
    assert row.facts is not None
    found: dict[str, Access] = {}
    for access in row.facts.accesses:
        if access.primitive:
            found.setdefault(access.path, access)
    return list(found.values())


def _went_on(rows: Sequence[Row], index: int) -> bool:
    facts = rows[index].facts
    assert facts is not None
    return any(
        row.facts is not None and row.facts.frame == facts.frame for row in rows[index + 1 :]
    )
