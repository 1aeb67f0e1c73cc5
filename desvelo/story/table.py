"""A table with one column per actor; time goes down and exactly one cell of a row is filled."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from desvelo.world.values import shorten

WIDTH = 118
NARROWEST = 20
EMPTIEST = 11
LINES_PER_CELL = 2


@dataclass(frozen=True)
class Cell:
    """One row of the table: whose column, what to write there, and a mark before it.

    A cell without a lane is a remark across the whole table, such as the passing of time.
    """

    lane: str
    text: str
    mark: str = " "


def layout(lanes: Sequence[str], cells: Sequence[Cell], *, width: int = WIDTH) -> str:
    """Draw the table as plain text, at most ``width`` columns wide.

    >>> rows = [Cell("a", "x ➜ 0"), Cell("", "… 20 ms later"), Cell("a", "x = 1", "*")]
    >>> print(layout(["a", "b"], rows, width=34))
      | a           | b           |
      | ----------- | ----------- |
      | x ➜ 0       |             |
      |   … 20 ms later           |
    * | x = 1       |             |
    """
    columns = _columns(lanes, cells, width)
    total = sum(columns) + 3 * (len(columns) - 1)
    lines = [
        _line(
            " ", [shorten(lane, size) for lane, size in zip(lanes, columns, strict=True)], columns
        ),
        _line(" ", ["-" * size for size in columns], columns),
    ]
    for cell in cells:
        if not cell.lane:
            lines.append(f"{cell.mark} | {shorten('  ' + cell.text, total).ljust(total)} |")
            continue
        index = lanes.index(cell.lane)
        for number, part in enumerate(wrapped(cell.text, columns[index])):
            texts = [""] * len(lanes)
            texts[index] = part
            lines.append(_line(cell.mark if number == 0 else " ", texts, columns))
    return "\n".join(lines)


def fits(lanes: Sequence[str], cells: Sequence[Cell], *, width: int = WIDTH) -> bool:
    """Tell whether no text has to be cut.

    >>> (
    ...     fits(["a", "b"], [Cell("a", "x" * 40)], width=80),
    ...     fits(["a"], [Cell("a", "x" * 99)], width=40),
    ... )
    (True, False)
    """
    columns = _columns(lanes, cells, width)
    return not any(
        "…" in part
        for cell in cells
        if cell.lane and "…" not in cell.text
        for part in wrapped(cell.text, columns[lanes.index(cell.lane)])
    )


def wrapped(text: str, size: int) -> list[str]:
    """Break a text into at most two lines, cutting it in the middle when it needs more.

    What came of a line of code goes to the second line.

    >>> wrapped("s.py:7  if code in self._rows:  ➜ no", 20)
    ['s.py:7  if…lf._rows:', '  ➜ no']
    """
    if len(text) <= size:
        return [text]
    for sign in ("  ➜ ", "  ✗ "):
        source, found, outcome = text.partition(sign)
        if found:
            return [shorten(source, size), shorten(f"{sign}{outcome}", size)]
    lines = textwrap.wrap(text, size, subsequent_indent="  ", break_on_hyphens=False)
    if len(lines) <= LINES_PER_CELL:
        return lines
    room = LINES_PER_CELL * size - 3
    while room > size:
        lines = textwrap.wrap(
            shorten(text, room), size, subsequent_indent="  ", break_on_hyphens=False
        )
        if len(lines) <= LINES_PER_CELL:
            break
        room -= 1
    return lines[:LINES_PER_CELL]


def _columns(lanes: Sequence[str], cells: Sequence[Cell], width: int) -> list[int]:
    """Give each column what it needs; when that is too much, the widest give way first."""
    need = {lane: max(len(lane), EMPTIEST) for lane in lanes}
    for cell in cells:
        if cell.lane:
            need[cell.lane] = max(need[cell.lane], len(cell.text))
    count = max(len(lanes), 1)
    room = max(
        width - 3 - 3 * count, count * NARROWEST if width >= count * NARROWEST else count * 8
    )
    sizes = [need[lane] for lane in lanes]
    while sum(sizes) > room and max(sizes) > EMPTIEST:
        widest = max(sizes)
        sizes[len(sizes) - 1 - sizes[::-1].index(widest)] -= 1
    return sizes


def _line(mark: str, texts: Sequence[str], columns: Sequence[int]) -> str:
    cells = " | ".join(text.ljust(size) for text, size in zip(texts, columns, strict=True))
    return f"{mark} | {cells} |"
