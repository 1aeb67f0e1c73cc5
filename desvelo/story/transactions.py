"""What operations did in a database: transactions are where they meet outside the memory.

A database's rows are not variables, so the statements of the program do not show who read what
before whom wrote it. Their transactions do: each is one job of the pool that runs statements.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from desvelo.story.scene import BACKGROUND, actor_of
from desvelo.story.statements import STATEMENTS
from desvelo.world.trace import LINE_KINDS, Row

_OF_A_JOB = STATEMENTS | LINE_KINDS | {"setting"}
_STATEMENT = re.compile(r"\.execute(many|script)?\(")
_RAN = re.compile(
    r"^(?P<name>.+?) \((?P<place>[^()]*:\d+)\) (?P<outcome>returns|raises) ?(?P<value>.*)$"
)


@dataclass(frozen=True)
class Transaction:
    """One job of an operation that ran statements of a database."""

    index: int
    actor: str
    name: str
    outcome: str


@dataclass(frozen=True)
class Meeting:
    """Two transactions of one operation with one of another between them."""

    first: Transaction
    between: Transaction
    second: Transaction


def transactions(rows: Sequence[Row]) -> list[Transaction]:
    """Return the transactions of all operations, in order."""
    found = []
    for index, row in enumerate(rows):
        if row.kind != "run" or row.lane == BACKGROUND or not _ran_statements(rows, index):
            continue
        match = _RAN.match(row.text)
        if match is None:
            continue
        value = match["value"]
        outcome = f"raises {value}" if match["outcome"] == "raises" else value
        found.append(Transaction(index, actor_of(row.lane), match["name"], outcome))
    return found


def transaction_text(row: Row) -> str:
    """Write a transaction into a cell: its name and what came of it.

    >>> transaction_text(Row(0, 0, "a", "run", "Store.find (store.py:12) returns None"))
    'transaction Store.find  ➜ None'
    """
    match = _RAN.match(row.text)
    if match is None:
        return row.text
    sign = "✗" if match["outcome"] == "raises" else "➜"
    return f"transaction {match['name']}  {sign} {match['value']}"


def find_meeting(rows: Sequence[Row]) -> Meeting | None:
    """Return where one operation's transaction fell between two of another's, if anywhere.

    The closest to a read and a write of the same thing is the one whose transaction between is
    also what the other did first or next.
    """
    done = transactions(rows)
    best: tuple[int, Meeting] | None = None
    for position, first in enumerate(done):
        after = [one for one in done[position + 1 :] if one.actor == first.actor]
        if not after:
            continue
        second = after[0]
        others = [one for one in done if first.index < one.index < second.index]
        for between in others:
            alike = (between.name == second.name) * 2 + (between.name == first.name)
            if best is None or alike > best[0]:
                best = (alike, Meeting(first, between, second))
    return best[1] if best is not None else None


def meeting_sentence(meeting: Meeting) -> str:
    """Say which transaction fell between which, and that they are of one kind when they are."""
    first, between, second = meeting.first, meeting.between, meeting.second
    where = (
        f"Between `{first.name}` and `{second.name}` of `{first.actor}`"
        if first.name != second.name
        else f"Between two transactions `{first.name}` of `{first.actor}`"
    )
    said = f"{where}, `{between.actor}` ran `{between.name}`"
    if between.name == second.name != first.name:
        return f"{said}: `{second.actor}` went by what it had read before that."
    return f"{said}."


def folded(rows: Sequence[Row]) -> set[int]:
    """Return the statements that the row of their transaction sums up."""
    return {index for one in transactions(rows) for index in _statements_of(rows, one.index)}


def _ran_statements(rows: Sequence[Row], index: int) -> bool:
    """Tell whether the lines directly above a job, which it ran, have a statement among them."""
    return bool(_statements_of(rows, index)) or any(
        _STATEMENT.search(rows[above].text) for above in _directly_above(rows, index)
    )


def _statements_of(rows: Sequence[Row], index: int) -> list[int]:
    return [above for above in _directly_above(rows, index) if rows[above].kind in STATEMENTS]


def _directly_above(rows: Sequence[Row], index: int) -> list[int]:
    """Return the rows of a job: those of its lane above the row that sums it up."""
    lane = rows[index].lane
    found = []
    for above in range(index - 1, -1, -1):
        row = rows[above]
        if row.lane != lane or row.kind not in _OF_A_JOB:
            break
        found.append(above)
    return found
