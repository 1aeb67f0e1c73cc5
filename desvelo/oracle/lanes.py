"""A history as a small drawing: a lane for each call, its client before it, time to the right."""

from __future__ import annotations

from collections.abc import Sequence

from desvelo.oracle.invocation import Invocation
from desvelo.world.values import shorten

WIDTH = 96
MOST_LANES = 14
_WIDEST_CLIENT = 20


def draw(history: Sequence[Invocation], culprit: Invocation | None = None) -> list[str]:
    """Return the lines of the drawing, in order of begin; the culprit's ends in a mark.

    Where there are too many, the calls that ended first are left out.

    >>> write = Invocation("anna", "write", {"value": 3}, 0, 2)
    >>> read = Invocation("ben", "read", {}, 1, 3, result=0)
    >>> print(*draw([write, read, Invocation("carla", "read", {}, 4)], read), sep=chr(10))
    anna   ├─┤     write(value=3) ➜ None
    ben     ├─┤    read() ➜ 0   ✗
    carla      ├╌  read() under way
    """
    shown = _shown(history, culprit)
    columns = _columns(shown)
    client = min(max((len(call.client) for call in shown), default=0), _WIDEST_CLIENT)
    wide = max((end for _, end in columns), default=0) + 1
    room = WIDTH - client - wide - 4
    lines = []
    for call, (begin, end) in zip(shown, columns, strict=True):
        bar = _bar(call, begin, end).ljust(wide)
        mark = "   ✗" if call is culprit else ""
        text = shorten(call.describe(), room - len(mark))
        lines.append(f"{shorten(call.client, client).ljust(client)}  {bar}  {text}{mark}".rstrip())
    left_out = len(history) - len(shown)
    return [f"(after {left_out} more that ended before)", *lines] if left_out > 0 else lines


def _shown(history: Sequence[Invocation], culprit: Invocation | None) -> list[Invocation]:
    """Keep the calls that ended last, and the culprit, in order of begin."""
    by_end = sorted(
        range(len(history)),
        key=lambda index: (history[index] is culprit, _end(history[index]), index),
    )
    kept = by_end[-MOST_LANES:]
    return [
        history[index] for index in sorted(kept, key=lambda index: (history[index].begin, index))
    ]


def _columns(shown: Sequence[Invocation]) -> list[tuple[int, int]]:
    """Give each begin and each end a column of its own; at one point all begins come first."""
    events = sorted(
        [(call.begin, 0, index) for index, call in enumerate(shown)]
        + [(_end(call), 1, index) for index, call in enumerate(shown)]
    )
    ended = sum(call.end is not None for call in shown)
    last = len(shown) + ended
    place = {(kind, index): min(column, last) for column, (_, kind, index) in enumerate(events)}
    return [(place[0, index], place[1, index]) for index in range(len(shown))]


def _bar(call: Invocation, begin: int, end: int) -> str:
    if call.end is None:
        return f"{' ' * begin}├{'╌' * (end - begin)}"
    close = "┤" if call.error is None else "╳"
    return f"{' ' * begin}├{'─' * (end - begin - 1)}{close}"


def _end(call: Invocation) -> float:
    return float("inf") if call.end is None else call.end
