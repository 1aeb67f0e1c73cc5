"""The third block of a story: every step of an execution, a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from desvelo.story.cells import outcome_text
from desvelo.story.scene import BACKGROUND, between_start_and_end, places
from desvelo.world.clock import Clock

if TYPE_CHECKING:
    from desvelo.execution import Outcome

MOST_LINES = 5_000


def every_step(outcome: Outcome) -> str:
    """Return the whole trace from the first operation on: time, whose step, where, what."""
    if outcome.trace is None:
        return ""
    rows = between_start_and_end(outcome.trace.rows, to_the_end=True)
    names = places(rows)
    lanes = {row.lane: "background" if row.lane == BACKGROUND else row.lane for row in rows}
    wide = max((len(lane) for lane in lanes.values()), default=0)
    lines = [f"All {len(rows)} steps, from the first operation on (virtual time in seconds):"]
    for row in rows[:MOST_LINES]:
        seconds = (row.time_ns - Clock.START_NS) / 1e9
        text = row.text
        if row.facts is not None:
            file, _, line = row.where.rpartition(":")
            depth = "" if row.facts.kind != "exit" else "leaves "
            goes_on = "… " if row.facts.resumed else ""
            every = {key for access in row.facts.accesses for key in access.keys}
            text = (
                f"{names.get(file, file)}:{line}  {depth}{goes_on}{text}{outcome_text(row, every)}"
            )
        elif row.kind == "deviation":
            text = f"* {text}"
        lines.append(f"{seconds:10.6f}  {lanes[row.lane].ljust(wide)}  {text}")
    if len(rows) > MOST_LINES:
        lines.append(f"… and {len(rows) - MOST_LINES} more")
    return "\n".join(lines)
