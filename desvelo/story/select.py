"""From a trace to the few rows that matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from desvelo.story.scene import BACKGROUND, SERVER, actor_of
from desvelo.story.shared import shared_keys
from desvelo.story.statements import accesses, is_housekeeping, words
from desvelo.story.transactions import folded, transactions
from desvelo.world.trace import LINE_KINDS, Row

MOST = 24
"""Rows of a story at most, so that it fits on one screen with what stands around the table."""
ENOUGH = 6
"""With fewer rows than this, lines that only say where everybody was are shown as well."""

_EVENTS = frozenset({"cancel", "fault", "reset", "refused"})
_PLUMBING = frozenset({"connect", "accept", "end"})
_AT_A_SERVER = frozenset({"statement", "waits"})
_EFFECTS = frozenset(
    {"begin", "deliver", "accept", "end", "run", "connect", *_AT_A_SERVER, *LINE_KINDS}
)
_ENDS_OF_TRANSACTIONS = ("COMMIT", "ROLLBACK", "commit", "rollback")
REPEATS = 3


@dataclass(frozen=True)
class Chosen:
    """A row of the story, what stands before it, and how often it came."""

    row: Row
    mark: str = " "
    times: int = 1


def select(
    rows: Sequence[Row],
    plain: Sequence[Row],
    *,
    important: Collection[int] = (),
    telling: Collection[int] = (),
    plumbing: bool = False,
    limit: int = MOST,
) -> list[Chosen]:
    """Return the rows of the story, the least telling left out first.

    ``important`` rows stay whatever happens, and ``telling`` ones come next. ``plumbing`` keeps
    connects, accepts and ends of streams, for failures that are about those.
    """
    effects = released(rows)
    ranks = _ranks(rows, plain, set(important), effects, plumbing=plumbing)
    ranks.update({index: min(ranks.get(index, 1), 1) for index in telling})
    spare = _repeated(rows, ranks)
    kept: set[int] = set()
    # The ranks go from what must be told to what only sets the scene.
    for rank in range(7):
        more = [i for i, own in ranks.items() if own == rank and i not in spare]
        if rank == 0:
            kept.update(more)
        elif rank < 5 or len(kept) < ENOUGH:
            kept.update(_from_both_ends(more, limit - len(kept)))
    return [
        Chosen(rows[index], _mark(rows[index], index, effects), _times(spare, index))
        for index in sorted(kept)
    ]


def released(rows: Sequence[Row]) -> dict[int, int]:
    """Return which row shows what was held back happening: its index to that of the release."""
    effects: dict[int, int] = {}
    for index, row in enumerate(rows):
        if row.kind != "release":
            continue
        actor = actor_of(row.lane)
        for later in range(index + 1, len(rows)):
            other = rows[later]
            if other.kind in _EFFECTS and actor_of(other.lane) == actor and later not in effects:
                effects[later] = index
                break
    return effects


def _mark(row: Row, index: int, effects: dict[int, int]) -> str:
    if row.kind == "deviation" or (row.kind == "cancel" and row.deviation):
        return "*"
    return ">" if index in effects else " "


def _ranks(
    rows: Sequence[Row],
    plain: Sequence[Row],
    important: set[int],
    effects: dict[int, int],
    *,
    plumbing: bool,
) -> dict[int, int]:
    summed_up = folded(rows)
    at_a_server = any(
        row.kind in _AT_A_SERVER and index not in summed_up for index, row in enumerate(rows)
    )
    shared = shared_keys(rows)
    usual = {(row.lane, row.where, _values(row)) for row in plain}
    continued = _continued(rows)
    telling = _telling(rows)
    ended: set[str] = set()
    ranks: dict[int, int] = {}
    for index, row in enumerate(rows):
        if row.kind == "end-of-operation":
            ended.add(row.lane)
        if index in important or index in effects or row.kind == "deviation":
            ranks[index] = 0
        elif row.kind in _EVENTS:
            if actor_of(row.lane) not in ended:
                ranks[index] = 0 if row.lane != BACKGROUND else 1
        elif row.kind == "begin":
            ranks[index] = 1
        elif row.kind == "end-of-operation":
            ranks[index] = 0 if " raises " in row.text or "cancelled" in row.text else 2
        elif row.kind in _AT_A_SERVER:
            ranks[index] = _rank_of_statement(row, telling)
        elif row.kind in LINE_KINDS:
            rank = _rank_of_line(rows, index, shared, usual)
            if rank is not None and (rank == 0 or index not in continued):
                ranks[index] = rank
        elif (
            (row.kind == "deliver" and not at_a_server)
            or (row.kind == "run" and not _was_traced(rows, index))
            or (row.kind in _PLUMBING and plumbing)
        ):
            ranks[index] = 4
    # Operations meet in the database as they meet in variables.
    done = [one.index for one in transactions(rows)]
    if done:
        # What they did to the driver's and the pool's own variables tells nothing beside that.
        plain_lines = (
            i for i, rank in ranks.items() if rank in (2, 3) and rows[i].kind in LINE_KINDS
        )
        ranks.update(dict.fromkeys(list(plain_lines), 6))
    ranks.update({index: 1 for index in done if index not in effects})
    for index in summed_up - important - set(effects):
        ranks.pop(index, None)
    return ranks


def _telling(rows: Sequence[Row]) -> set[str]:
    """Return the statements that count: on what several use and one writes, or done again."""
    done = accesses(rows)
    written = {one.name for one in done if one.writes}
    users = {(one.name, one.actor) for one in done}
    shared = {name for name in written if sum(1 for used, _ in users if used == name) > 1}
    times = Counter(one.text for one in done if one.writes)
    return {one.text for one in done if one.name in shared or times[one.text] > 1}


def _rank_of_statement(row: Row, telling: set[str]) -> int:
    if is_housekeeping(row):
        return 6
    text = words(row)
    return 1 if text in telling or text.startswith(_ENDS_OF_TRANSACTIONS) else 2


def _was_traced(rows: Sequence[Row], index: int) -> bool:
    """Tell whether the lines of a job stand directly above the row that sums it up."""
    return (
        index > 0
        and rows[index - 1].kind in LINE_KINDS
        and rows[index - 1].lane == rows[index].lane
    )


def _rank_of_line(
    rows: Sequence[Row], index: int, shared: set[str], usual: Collection[tuple[str, str, str]]
) -> int | None:
    row = rows[index]
    facts = row.facts
    if facts is None or facts.kind == "exit":
        return None
    touched = [a for a in facts.accesses if shared.intersection(a.keys)]
    if facts.raised:
        return 0
    if any(not access.opaque and not access.primitive for access in touched):
        return 2
    if row.lane == BACKGROUND:
        return None
    if touched:
        return 3
    if (row.lane, row.where, _values(row)) not in usual:
        return 5
    return 6


def _continued(rows: Sequence[Row]) -> set[int]:
    """Return the beginnings of statements whose outcome is a row of its own further down."""
    last: dict[int, int] = {}
    found = set()
    for index, row in enumerate(rows):
        if row.facts is None:
            continue
        before = last.get(row.facts.frame)
        if row.facts.resumed and before is not None and rows[before].where == row.where:
            found.add(before)
        last[row.facts.frame] = index
    return found


def _values(row: Row) -> str:
    facts = row.facts
    if facts is None:
        return row.text
    values = ", ".join(f"{a.path}={a.value}" for a in facts.accesses)
    return f"{row.text} {facts.test} {facts.raised} {values}"


def _repeated(rows: Sequence[Row], ranks: dict[int, int]) -> dict[int, int]:
    """Fold what comes again and again: keep the first few, count the rest on the last of them."""
    seen: Counter[tuple[str, str, str]] = Counter()
    last: dict[tuple[str, str, str], int] = {}
    spare: dict[int, int] = {}
    for index, row in enumerate(rows):
        if index not in ranks or row.kind not in LINE_KINDS:
            continue
        key = (row.lane, row.where, row.kind)
        seen[key] += 1
        if seen[key] < REPEATS:
            last[key] = index
        elif ranks[index] > 0:
            spare[index] = last[key]
    return spare


def _times(spare: dict[int, int], index: int) -> int:
    return 1 + sum(1 for kept in spare.values() if kept == index)


def _from_both_ends(indices: Sequence[int], room: int) -> list[int]:
    """Take as many as there is room for, the middle left out first."""
    if room <= 0:
        return []
    if len(indices) <= room:
        return list(indices)
    head = (room + 1) // 2
    return [*indices[:head], *indices[len(indices) - (room - head) :]]


def lanes_of(chosen: Sequence[Chosen], operations: Sequence[str], most: int) -> list[str]:
    """Return the columns: each operation and its server side, merged when there are too many."""
    present = {item.row.lane for item in chosen}
    lanes = []
    for name in operations:
        lanes += [lane for lane in (name, f"{SERVER}{name}") if lane in present]
    lanes += dict.fromkeys(item.row.lane for item in chosen if item.row.lane not in lanes)
    if len(lanes) > most:
        lanes = list(dict.fromkeys(actor_of(lane) for lane in lanes))
    return lanes
