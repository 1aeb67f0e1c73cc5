"""The story of a finding: who did what, in which order, and what interleaved with what.

As Lincheck prints it: the operations with their outcomes; the interleaving as a table; and one
sentence. (The third block, the whole trace, is in `desvelo.story.details`.) The story is written
from the trace of a second run of the failing schedule, compared with the plain run of the same
operations.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from desvelo.failure import failing_lines
from desvelo.schedule.decisions import PREEMPTING
from desvelo.story.cells import cell_text, deviation_text, read_before_pause
from desvelo.story.scene import (
    BACKGROUND,
    actor_of,
    between_start_and_end,
    later,
    place,
    places,
)
from desvelo.story.select import Chosen, lanes_of, released, select
from desvelo.story.sentence import (
    clash_sentence,
    gift_sentence,
    hang_sentence,
    how_it_came,
    leak_sentence,
    maker,
    raise_sentence,
    timer_place,
    wait_sentence,
)
from desvelo.story.shared import find_clash, is_usual, shared_keys, uses_until
from desvelo.story.statements import find_overlap, overlap_sentence
from desvelo.story.table import WIDTH, Cell, fits, layout
from desvelo.story.transactions import find_meeting, meeting_sentence
from desvelo.story.waits import blocked_at_end, lost_gift, waits_at_end
from desvelo.world.trace import Row
from desvelo.world.values import shorten

if TYPE_CHECKING:
    from desvelo.execution import Outcome
    from desvelo.finding.finding import Finding

MOST_COLUMNS = 4
SCREEN = 42
"""Lines that a story has: a table as long as what stands around it leaves room for."""
SHORTEST = 14
LEGEND = {
    "*": "* out of the ordinary, but possible at any time",
    ">": "> what was held back happens now",
    "!": "! the failure",
}
MANY = 50
LONGEST_CALL = 70
"""Characters of an operation's arguments; the rest of the line is for what it returned."""
_AFTERWARDS = ("check", "teardown", "loop")
_ENDLESS = {"running": "never ends", "waiting": "never starts"}
_WHO = {"check": "check()", "teardown": "teardown()", "loop": "something in the event loop"}


def tell(finding: Finding, outcome: Outcome, plain: Outcome) -> str:
    """Return the story as plain text."""
    return _Story(finding, outcome, plain).text()


class _Story:
    """The steps from two traces to a text."""

    def __init__(self, finding: Finding, outcome: Outcome, plain: Outcome) -> None:
        self._finding = finding
        self._outcome = outcome
        self._failure = outcome.failure
        late = self._failure is not None and self._failure.kind == "leak"
        every = outcome.trace.rows if outcome.trace is not None else []
        usual = plain.trace.rows if plain.trace is not None else []
        self._all = every
        self._rows = between_start_and_end(every, to_the_end=late or self._stuck())
        self._plain = between_start_and_end(usual, to_the_end=late)
        self._names = places(every)
        self._shared = shared_keys(self._rows)
        failed = self._failure.where if self._failure is not None else ""
        self._clash = find_clash(
            self._rows, self._plain, failed if failed in outcome.operations else ""
        )
        if self._clash is not None and finding.deviations and is_usual(self._clash, self._plain):
            # The plain order has it too and does not fail: it explains nothing.
            self._clash = None
        self._gift = lost_gift(self._rows)
        self._overlap = find_overlap(self._rows)
        if self._overlap is not None and finding.deviations:
            usual_overlap = find_overlap(self._plain)
            if usual_overlap is not None and usual_overlap.pattern() == self._overlap.pattern():
                self._overlap = None
        stuck = self._failure if self._deadlocked() else None
        self._blocked = blocked_at_end(stuck.details, self._rows) if stuck is not None else []
        told = {thread.actor for thread in self._blocked}
        tasks = [name for name in outcome.operations if name not in told]
        self._waits = waits_at_end(self._rows, tasks) if stuck is not None else []

    def text(self) -> str:
        summary = self._short(self._finding.summary())
        head = [shorten(summary, WIDTH), self._operations()]
        foot = [self._sentences(), self._label()]
        around = sum(len(block.splitlines()) + 1 for block in (*head, *foot) if block)
        # Three lines go to the heading of the table, its legend and what is left out.
        room = max(SCREEN - around - 3, SHORTEST)
        blocks = [*head, self._interleaving(room), *foot]
        return "\n\n".join(block for block in blocks if block)

    def _stuck(self) -> bool:
        return self._failure is not None and self._failure.kind in ("deadlock", "hang")

    def _deadlocked(self) -> bool:
        return self._failure is not None and self._failure.kind == "deadlock"

    # the operations and the failure

    def _operations(self) -> str:
        lines = []
        results = self._outcome.results
        if results:
            calls = {name: self._call(name) for name in results}
            widest = max(len(call) for call in calls.values())
            lines.append("Operations, all at the same time:" if len(results) > 1 else "Operation:")
            for name, said in results.items():
                known = _ENDLESS.get(said, said) if self._stuck() else said
                left = max(WIDTH - widest - 4, 40)
                lines.append(f"  {calls[name].ljust(widest)}  {self._short(shorten(known, left))}")
        failure = self._failure
        if failure is not None and failure.where and failure.error.__traceback__ is not None:
            site = self._short(failure.site.partition(" in ")[0])
            who = _WHO.get(failure.where, failure.where)
            lines.append(
                f"Then {who} fails at {site}:" if site != "unknown" else f"Then {who} fails:"
            )
            lines += [f"  {self._short(line)}" for line in failing_lines(failure.error)]
            if failure.kind == "error":
                lines += [f"  {self._short(line)}" for line in failure.details]
        elif failure is not None and failure.kind == "leak" and len(failure.details) > 1:
            lines.append("Left open:")
            lines += [f"  {self._short(line)}" for line in failure.details[:6]]
        elif failure is not None and failure.kind == "not-linearizable":
            lines += ["", *failure.details]
        return "\n".join(lines)

    def _call(self, name: str) -> str:
        given = self._outcome.arguments.get(name)
        return f"{name}({shorten(given, LONGEST_CALL)})" if given else name

    def _short(self, text: str) -> str:
        for long, short in self._names.items():
            text = re.sub(rf"(?<![\w/.]){re.escape(long)}(?=:\d)", short, text)
        return text

    # the table

    def _interleaving(self, room: int) -> str:
        chosen = self._chosen()
        if not chosen:
            return ""
        lanes = lanes_of(chosen, self._outcome.operations, MOST_COLUMNS)
        if not fits([_heading(lane) for lane in lanes], self._cells(chosen, lanes), width=WIDTH):
            # Side by side the texts would be cut: let each server share its client's column.
            lanes = lanes_of(chosen, self._outcome.operations, 0)
        table, used = "", {" "}
        while chosen:
            cells = self._cells(chosen, lanes)
            used = {cell.mark for cell in cells}
            table = layout([_heading(lane) for lane in lanes], cells, width=WIDTH)
            if len(table.splitlines()) <= room or len(chosen) <= 8:
                break
            fewer = self._chosen(limit=len(chosen) - 1)
            if len(fewer) >= len(chosen):
                break
            chosen = fewer
        legend = "   ".join(text for mark, text in LEGEND.items() if mark in used)
        hidden = len(self._all) - len(chosen)
        fold = (
            f"{hidden} more steps are not shown; `desvelo replay --trace` prints all."
            if hidden > 0
            else ""
        )
        return "\n".join(
            part for part in ("What happened, time goes down:", table, legend, fold) if part
        )

    def _chosen(self, limit: int | None = None) -> list[Chosen]:
        important = set(self._clash.indices()) if self._clash is not None else set()
        ends = {id(row) for row in self._ends_of_waits()}
        important |= {index for index, row in enumerate(self._rows) if id(row) in ends}
        if self._overlap is not None:
            important |= self._overlap.indices()
        if self._gift is not None:
            important |= self._gift.indices()
        failure = self._failure
        if failure is not None and failure.kind == "leak":
            made = maker(failure, self._rows)
            important |= {made} if made is not None else set()
        plumbing = failure is not None and bool(
            re.search(
                r"socket|connection|listen|reset|refused",
                f"{failure.site} {failure.summary()}",
                re.IGNORECASE,
            )
        )
        options = {} if limit is None else {"limit": limit}
        telling = uses_until(self._rows, self._clash) if self._clash is not None else ()
        return select(
            self._rows,
            self._plain,
            important=important,
            telling=telling,
            plumbing=plumbing,
            **options,
        )

    def _ends_of_waits(self) -> list[Row]:
        """Return where those wait who never go on, and where what they wait for was taken."""
        rows = [wait.row for wait in self._waits]
        rows += [wait.holder.row for wait in self._waits if wait.holder is not None]
        rows += [row for one in self._blocked for row in (one.row, one.got) if row is not None]
        return rows

    def _cells(self, chosen: Sequence[Chosen], lanes: Sequence[str]) -> list[Cell]:
        cells: list[Cell] = []
        deviations = {str(d.key): d for d in self._finding.schedule.deviations}
        waiting = {id(wait.row) for wait in self._waits} | {id(one.row) for one in self._blocked}
        homes = self._homes()
        now = chosen[0].row.time_ns
        for item in chosen:
            row = item.row
            passed = later(row.time_ns - now)
            if passed:
                cells.append(Cell("", f"… {passed} later"))
                now = row.time_ns
            known = deviations.get(row.deviation)
            if row.kind == "deviation" and known is not None:
                paused = known.key.kind in PREEMPTING and row.where
                text = deviation_text(
                    known,
                    place(row, self._names)
                    if paused
                    else timer_place(known, self._rows, self._names),
                    read_before_pause(self._rows, row) if paused else "",
                )
            else:
                text = cell_text(row, self._names, self._shared)
            mark = item.mark
            if id(row) in waiting:
                text, mark = f"{text}  ✗ waits for ever", "!"
            if item.times > 1:
                often = f"{item.times - 1} times more" if item.times <= MANY else "so on"
                text += f"  (and {often})"
            lane = homes.get(id(row), row.lane)
            if lane not in lanes:
                lane, text = actor_of(lane), f"server: {text}"
            cells.append(Cell(_heading(lane), text, mark))
        ending = self._ending(cells)
        if ending is not None:
            cells.append(ending)
        return cells

    def _homes(self) -> dict[int, str]:
        """Put what is held back into the column in which it happens in the end."""
        homes = {}
        for effect, release in released(self._rows).items():
            name = self._rows[release].deviation
            for row in self._rows:
                if row.kind == "deviation" and row.deviation == name:
                    homes[id(row)] = self._rows[effect].lane
        return homes

    def _ending(self, cells: list[Cell]) -> Cell | None:
        """Return the row of the failure, unless it can be marked on a row that is there."""
        failure = self._failure
        if failure is None or failure.kind == "deadlock":
            return None
        if failure.kind == "hang":
            return Cell("", "… and so on without end", "!")
        if failure.where in _AFTERWARDS:
            who = f"{failure.where}(): " if failure.where != "loop" else ""
            return Cell("", f"then {who}{failure.summary()}", "!")
        for index in range(len(cells) - 1, -1, -1):
            cell = cells[index]
            if cell.lane != failure.where:
                continue
            above = next((c for c in reversed(cells[:index]) if c.lane == cell.lane), None)
            if cell.text.startswith("raises ") and above is not None and "  ✗ " in above.text:
                del cells[index]  # the line above says it, with its place
            elif "  ✗ " in cell.text or cell.text.startswith("raises "):
                cells[index] = Cell(cell.lane, cell.text, "!")
                break
        return None

    # the sentences

    def _sentences(self) -> str:
        failure, names, rows = self._failure, self._names, self._rows
        operations = self._outcome.operations
        parts = [how_it_came(self._finding.schedule.deviations, rows, operations, names)]
        if failure is not None and failure.kind == "deadlock" and (self._waits or self._blocked):
            parts.append(wait_sentence(self._waits, self._blocked, failure.details, names))
        elif failure is not None and failure.kind == "hang":
            parts.append(hang_sentence(rows, operations, names))
        elif failure is not None and failure.kind == "leak":
            parts.append(leak_sentence(failure, self._all, names))
        else:
            meeting = find_meeting(rows)
            if meeting is not None:
                parts.append(meeting_sentence(meeting))
            elif self._gift is not None:
                parts.append(gift_sentence(self._gift, names))
            elif self._clash is not None:
                parts.append(clash_sentence(self._clash, names))
            elif self._overlap is not None:
                parts.append(overlap_sentence(self._overlap))
            if failure is not None:
                parts.append(raise_sentence(failure, rows, names))
        text = " ".join(part for part in parts if part)
        return "\n".join(textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False))

    def _label(self) -> str:
        if not self._finding.label:
            return ""
        return (
            "Found in any-order mode: stock asyncio runs ready steps first come, first served,\n"
            "so it cannot produce this order by itself."
        )


def _heading(lane: str) -> str:
    return "background" if lane == BACKGROUND else lane
