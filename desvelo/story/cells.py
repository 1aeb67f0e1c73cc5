"""What is written into a cell of the table for one row of the trace."""

from __future__ import annotations

import re
from collections.abc import Sequence

from desvelo.schedule.decisions import ORDERS, SPLITS, THREAD_KINDS, Deviation
from desvelo.story.scene import place
from desvelo.story.transactions import transaction_text
from desvelo.world.trace import Row
from desvelo.world.values import shorten

_HELD = {
    "arrive": "its start",
    "deliver": "a message to it",
    "connect": "its connection",
    "accept": "the acceptance of its connection",
    "writable": "room to write",
    "job": "its job in the executor",
    "answer": "the result of its job",
    "ready": "its next step",
    "wake": "the end of its wait",
    "spawn": "the start of its thread",
    "call": "its call into the event loop",
    "strike": "its fault",
}


def cell_text(row: Row, names: dict[str, str], shared: set[str]) -> str:
    """Return the text of a row: for code its place, its source, and what it read or wrote."""
    if row.kind == "begin":
        return "starts"
    if row.kind == "end-of-operation":
        return row.text.removeprefix(f"{row.lane} ")
    if row.kind == "cancel":
        return cancellation_text(row, names)
    if row.kind == "run":
        return transaction_text(row)
    if row.facts is None:
        return re.sub(r" \(\d+ bytes\)$", "", row.text)
    return f"{place(row, names)}  {row.text}{outcome_text(row, shared)}"


def cancellation_text(row: Row, names: dict[str, str]) -> str:
    """Say where an operation was cancelled, and whether its wait was just over.

    >>> row = Row(7, 0, "two", "cancel", "two is cancelled at `await it`", "shop/a.py:9")
    >>> cancellation_text(row, {"shop/a.py": "a.py"})
    'is cancelled from outside at a.py:9 (`await it`)'
    """
    said = re.sub(r"^.*? is cancelled ?", "", row.text)
    if not row.where:
        return f"is cancelled from outside {said}".rstrip()
    source, _, served = said.removeprefix("at ").rpartition("`")
    return f"is cancelled from outside at {place(row, names)} ({shorten(source, 60)}`){served}"


def outcome_text(row: Row, shared: set[str]) -> str:
    """Say what came of a statement, where that is known and tells something."""
    facts = row.facts
    assert facts is not None
    if facts.raised:
        return f"  ✗ {facts.raised}"
    parts = []
    if facts.test:
        parts.append(facts.test)
    if facts.returned:
        parts.append(f"returns {shorten(facts.returned, 36)}")
    written_first = sorted(facts.writes(), key=lambda a: not row.text.startswith(f"{a.path} ="))
    for access in written_first:
        if access.value:
            value = shorten(access.value, 36)
            if row.text.startswith(f"{access.path} ="):
                parts.append(value)
            else:
                parts.append(f"{access.path} {'is now' if access.primitive else '='} {value}")
    written = {access.path for access in facts.writes()}
    assigned = bool(written) and not facts.test
    for access in facts.reads():
        if assigned or access.path in written or not access.value or access.primitive:
            continue
        if shared.intersection(access.keys):
            parts.append(f"{access.path} is {shorten(access.value, 36)}")
    if facts.resumed and not parts and facts.entered:
        parts.append("gets it")
    return f"  ➜ {', '.join(parts)}" if parts else ""


def deviation_text(deviation: Deviation, set_at: str = "", read: str = "") -> str:
    """Say in a cell what is out of the ordinary; of a timer, where it was set.

    ``read`` is what a thread that is paused in the middle of a line had read there.

    >>> from desvelo.schedule.decisions import Key
    >>> deviation_text(Deviation(Key("first", "arrive", 0), 20))
    'its start is held back'
    """
    kind, value = deviation.key.kind, deviation.value
    if kind == "split":
        how = SPLITS[min(value, len(SPLITS) - 1)]
        return f"its message is cut {how}" if value < len(SPLITS) - 1 else f"its message is {how}"
    if kind == "fault":
        return "a fault strikes it"
    if kind == "timer":
        return f"its timer{f' ({set_at})' if set_at else ''} fires before other work"
    if kind in ("pause", "preempt"):
        if read:
            return f"{set_at}  is paused inside this line, after reading {read}"
        return f"{set_at}  is paused before this line" if set_at else "is paused"
    what = _HELD.get(kind, kind)
    if kind in THREAD_KINDS:
        return f"{what} is held back"
    return (
        f"{what} comes last of what happens at once" if value < ORDERS else f"{what} is held back"
    )


def read_before_pause(rows: Sequence[Row], row: Row) -> str:
    """Return what a thread had read in the line in the middle of which it was paused."""
    index = next(i for i, one in enumerate(rows) if one is row)
    for above in reversed(rows[:index]):
        if above.lane != row.lane or above.facts is None:
            continue
        if not above.facts.suspended or above.where != row.where:
            return ""
        read = [a for a in above.facts.reads() if a.value and a.lasting and not a.primitive]
        return ", ".join(f"{a.path} as {shorten(a.value, 36)}" for a in read)
    return ""
