"""The table of a story as SVG: the same columns, rows and words as the plain text.

It is drawn from the text, whose columns stand where its dashes are, so that the stories of old
findings can be drawn too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

CHARACTER = 7.25
"""Width of one character at the size of the text, in units of the drawing."""
LINE = 19
PADDING = 10
MARGIN = 26
"""Room for the marks left of the first column."""
_MARKS = {"*": ("deviation", "#b26a00"), ">": ("release", "#1a66b8"), "!": ("failure", "#c0262d")}
_RULE = re.compile(r"^ *\|(?: -+ \|)+$")


@dataclass(frozen=True, slots=True)
class _Row:
    mark: str
    column: int
    """-1 for a remark across the whole table."""
    text: str


def svg(story: str) -> str:
    r"""Return the drawing, or an empty text for a story that has no table.

    It has no script, no style and no link. Colours follow the text around it; a page may choose
    others through the classes ``lane``, ``deviation``, ``release`` and ``failure``.

    >>> table = "  | a   | b   |\n  | --- | --- |\n* | x=1 |     |"
    >>> drawing = svg(table)
    >>> drawing.startswith("<svg ") and drawing.count("<text") == 4
    True
    >>> svg("nothing happened")
    ''
    """
    lines = story.splitlines()
    rule = next((index for index, line in enumerate(lines) if _RULE.match(line)), 0)
    if rule == 0:
        return ""
    bounds = [match.span() for match in re.finditer("-+", lines[rule])]
    lanes = [lines[rule - 1][start:end].strip() for start, end in bounds]
    return _drawn(lanes, [end - start for start, end in bounds], list(_rows(lines, rule, bounds)))


def _rows(lines: Sequence[str], rule: int, bounds: Sequence[tuple[int, int]]) -> Iterator[_Row]:
    first = lines[rule].index("|")
    for line in lines[rule + 1 :]:
        if line[first : first + 1] != "|":
            return
        mark = line[:first].strip()[-1:]
        filled = [i for i, (start, end) in enumerate(bounds) if line[start:end].strip()]
        edges = [line[end : end + 3] for _, end in bounds[:-1]]
        if len(filled) == 1 and all(edge == " | " for edge in edges):
            start, end = bounds[filled[0]]
            yield _Row(mark, filled[0], line[start:end].rstrip())
        else:
            yield _Row(mark, -1, line[bounds[0][0] : bounds[-1][1]].strip())


def _drawn(lanes: Sequence[str], sizes: Sequence[int], rows: Sequence[_Row]) -> str:
    widths = [size * CHARACTER + 2 * PADDING for size in sizes]
    left = [MARGIN + sum(widths[:index]) for index in range(len(widths))]
    width, top = MARGIN + sum(widths) + 1, LINE + PADDING
    height = top + len(rows) * LINE + PADDING
    said = escape(_legal(f"Story with {len(lanes)} actors, time goes down: {', '.join(lanes)}"))
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
            f'width="{width:.0f}" height="{height}" role="img" aria-label="{said}" '
            "font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" "
            'font-size="12" fill="currentColor" xml:space="preserve">'
        )
    ]
    for lane, x, wide in zip(lanes, left, widths, strict=True):
        parts += [
            (
                f'<rect class="lane" x="{x:.1f}" y="0.5" width="{wide:.1f}" '
                f'height="{height - 1}" fill="none" stroke="currentColor" stroke-opacity="0.25"/>'
            ),
            _text(x + PADDING, LINE - 3, lane, 'font-weight="bold"'),
        ]
    y, above = float(top), None
    for row in rows:
        # The second line of a text is indented, and belongs to the mark of the first.
        goes_on = above is not None and row.text.startswith("  ") and row.column == above.column
        tone = above.mark if above is not None and goes_on else row.mark
        parts += _row(row, tone, y, left, widths)
        y, above = y + LINE, _Row(tone, row.column, row.text)
    return "".join([*parts, "</svg>"])


def _row(
    row: _Row, tone: str, y: float, left: Sequence[float], widths: Sequence[float]
) -> Iterator[str]:
    name, colour = _MARKS.get(tone, ("step", "currentColor"))
    across = row.column < 0
    x = left[0] if across else left[row.column]
    if tone:
        wide = sum(widths) if across else widths[row.column]
        yield (
            f'<rect class="{name}" x="{x + 1:.1f}" y="{y}" width="{wide - 2:.1f}" '
            f'height="{LINE}" fill="{colour}" fill-opacity="0.14"/>'
        )
        if row.mark:
            yield _text(8, y + LINE - 5.5, row.mark, f'class="{name}" fill="{colour}"')
    indent = len(row.text) - len(row.text.lstrip())
    style = 'font-style="italic"' if across and not row.mark else ""
    yield _text(x + PADDING + indent * CHARACTER, y + LINE - 5.5, row.text.strip(), style)


def _text(x: float, y: float, said: str, style: str = "") -> str:
    legal = _legal(said)
    fitted = f'textLength="{len(legal) * CHARACTER:.1f}"' if len(legal) > 1 else ""
    attributes = " ".join(one for one in (f'x="{x:.1f}" y="{y:.1f}"', fitted, style) if one)
    return f"<text {attributes}>{escape(legal)}</text>"


def _legal(said: str) -> str:
    # One sign that XML cannot hold would make the whole drawing unreadable.
    return re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", said)
