"""A table with one column per actor; time goes down and exactly one cell of a row is filled."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 118
NARROWEST = 24


@dataclass(frozen=True)
class Cell:
    """One row of the table: whose column, what to write there, and a mark before it."""

    lane: str
    text: str
    mark: str = " "


def layout(lanes: Sequence[str], cells: Sequence[Cell], *, width: int = WIDTH) -> str:
    """Draw the table as plain text, at most ``width`` columns wide.

    >>> print(layout(["a", "b"], [Cell("a", "x ➜ 0"), Cell("b", "x = 1"), Cell("a", "x = 1", "*")], width=30))
      | a           | b           |
      | ----------- | ----------- |
      | x ➜ 0       |             |
      |             | x = 1       |
    * | x = 1       |             |
    """
    count = max(len(lanes), 1)
    column = max((width - 3 - 3 * count) // count, NARROWEST if width >= count * NARROWEST else 8)
    column = min(column, max([len(c.text) for c in cells] + [len(lane) for lane in lanes] + [11]))
    lines = [_line(" ", [lane[:column] for lane in lanes], column), _line(" ", ["-" * column for _ in lanes], column)]
    for cell in cells:
        index = lanes.index(cell.lane)
        wrapped = textwrap.wrap(cell.text, column, subsequent_indent="  ", break_on_hyphens=False) or [""]
        for number, part in enumerate(wrapped):
            row = ["" for _ in lanes]
            row[index] = part
            lines.append(_line(cell.mark if number == 0 else " ", row, column))
    return "\n".join(lines)


def _line(mark: str, texts: Sequence[str], column: int) -> str:
    return f"{mark} | " + " | ".join(text.ljust(column) for text in texts) + " |"
