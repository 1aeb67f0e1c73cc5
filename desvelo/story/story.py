"""The story of a finding: who did what, in which order, and what interleaved with what.

Three blocks, as Lincheck prints them: the operations with their outcomes; the interleaving as
a table; one sentence. The story is written from the trace of a second run of the failing
schedule, compared with the plain run of the same operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from desvelo.failure import describe_traceback
from desvelo.schedule.decisions import Deviation
from desvelo.story.select import select
from desvelo.story.table import WIDTH, Cell, layout
from desvelo.world.trace import Row

if TYPE_CHECKING:
    from desvelo.execution import Outcome
    from desvelo.finding.finding import Finding

MOST_COLUMNS = 4
LEGEND = {"*": "* a deviation from plain FIFO order takes effect here", ">": "> what was held back happens now",
          "!": "! the failure"}


def tell(finding: Finding, outcome: Outcome, plain: Outcome) -> str:
    """Return the story as plain text."""
    rows = list(outcome.trace.rows) if outcome.trace is not None else []
    usual = list(plain.trace.rows) if plain.trace is not None else []
    blocks = [finding.summary(), _operations(outcome), _interleaving(rows, usual, outcome),
              sentence(finding.schedule.deviations, rows, outcome.operations)]
    if finding.label:
        blocks.append("Found in any-order mode: stock asyncio runs ready steps first come, first served, so it cannot "
                      "produce this order by itself.")
    return "\n\n".join(block for block in blocks if block)


def _operations(outcome: Outcome) -> str:
    if not outcome.results:
        return ""
    widest = max(len(name) for name in outcome.results)
    lines = ["Operations, all concurrent:"]
    lines += [f"  {name.ljust(widest)}  {said}" for name, said in outcome.results.items()]
    failure = outcome.failure
    if failure is not None and failure.where:
        place = f"{failure.where}()" if failure.where in ("check", "teardown") else failure.where
        lines.append(f"Then {place}:" if failure.where in ("check", "teardown") else f"Failure in {place}:")
        lines += [f"  {line}" for line in describe_traceback(failure.error).splitlines()]
        lines += [f"  {line}" for line in failure.details]
    return "\n".join(lines)


def _interleaving(rows: Sequence[Row], plain: Sequence[Row], outcome: Outcome) -> str:
    chosen = select(rows, plain)
    if not chosen:
        return ""
    lanes = lanes_of(chosen, outcome.operations)
    cells = [_cell(row, lanes) for row in chosen]
    failure = outcome.failure
    if failure is not None and failure.where in lanes:
        cells.append(Cell(failure.where, failure.summary(), "!"))
    table = layout(lanes, cells, width=WIDTH)
    used = {cell.mark for cell in cells}
    legend = "\n".join(text for mark, text in LEGEND.items() if mark in used)
    hidden = len(rows) - len(chosen)
    fold = f"{hidden} steps like those of the plain order are folded away." if hidden > 0 else ""
    return "\n".join(part for part in ("Interleaving, time goes down:", table, legend, fold) if part)


def lanes_of(rows: Sequence[Row], operations: Sequence[str]) -> list[str]:
    """Return the columns: each operation, then its server side, while there is room."""
    present = {row.lane for row in rows}
    lanes = []
    for name in operations:
        lanes += [lane for lane in (name, f"server for {name}") if lane in present]
    others = [row.lane for row in rows if row.lane not in lanes]
    lanes += list(dict.fromkeys(others))
    if len(lanes) > MOST_COLUMNS:
        lanes = list(dict.fromkeys(_merged(lane) for lane in lanes))
    return lanes


def _merged(lane: str) -> str:
    return lane.removeprefix("server for ")


def _cell(row: Row, lanes: Sequence[str]) -> Cell:
    lane, text = row.lane, row.text
    if lane not in lanes:
        lane, text = _merged(lane), f"server: {text}"
    if row.where:
        text = f"{row.where}  {text}"
    if row.kind == "deviation":
        return Cell(lane, text.removeprefix(f"{row.lane}: "), "*")
    if row.kind == "release":
        return Cell(lane, text, ">")
    return Cell(lane, text)


def sentence(deviations: Sequence[Deviation], rows: Sequence[Row], operations: Sequence[str]) -> str:
    """Say what interleaved with what: what ran while the first deviation held something back."""
    if not deviations:
        if len(operations) > 1:
            return (f"{_list(operations)} interleave like this in plain order already: no deviation is needed, they "
                    "only have to run at the same time.")
        return f"{_list(operations)} alone is enough, in plain order."
    parts = []
    for deviation in deviations[:3]:
        ran = _between(str(deviation.key), deviation.key.actor, rows)
        parts.append(f"While {_held(deviation)}, {ran}." if ran else f"{_capital(deviation.describe())}.")
    if len(deviations) > 3:  # noqa: PLR2004
        parts.append(f"{len(deviations) - 3} more deviations are listed in the finding.")
    return " ".join(parts)


def _held(deviation: Deviation) -> str:
    subject, _, what = deviation.describe().partition(": ")
    thing = what.split(" is held back")[0].split(" comes after")[0]
    if " is held back" in what or " comes after" in what:
        return f"{subject} had {thing} held back"
    return f"{subject}'s {what.removeprefix('its ')}"


def _between(key: str, actor: str, rows: Sequence[Row]) -> str:
    start = next((i for i, row in enumerate(rows) if row.kind == "deviation" and row.deviation == key), None)
    end = next((i for i, row in enumerate(rows) if row.kind == "release" and row.deviation == key), None)
    if start is None or end is None:
        return ""
    said: dict[str, list[Row]] = {}
    for row in rows[start:end]:
        if row.lane not in ("world", actor) and row.kind in ("line", "run", "deliver", "begin", "end-of-operation"):
            said.setdefault(row.lane, []).append(row)
    return " and ".join(f"{lane} {_span(steps)}" for lane, steps in list(said.items())[:2])


def _span(steps: Sequence[Row]) -> str:
    lines = [row for row in steps if row.where]
    if len(lines) > 1 and lines[0].where != lines[-1].where:
        return f"ran from {lines[0].where} to {lines[-1].where}"
    if lines:
        return f"ran {lines[0].where}"
    return steps[-1].text


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
