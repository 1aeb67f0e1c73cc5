"""Which values several actors share, and how their uses of one of them got mixed up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from desvelo.story.scene import actor_of
from desvelo.world.trace import Access, Row


@dataclass(frozen=True)
class Use:
    """One use of a shared value: which row, by whom, and what was seen or written."""

    index: int
    actor: str
    row: Row
    access: Access


@dataclass(frozen=True)
class Clash:
    """Two actors whose uses of one value lie within each other.

    ``shape`` is ``overwritten`` (the second wrote by what it had read before the first wrote)
    or ``outdated`` (the second went on by what it had read before the first wrote).
    """

    shape: str
    first_read: Use | None
    second_read: Use
    first_write: Use
    second_write: Use | None
    goes_on: Row | None = None
    key: str = ""
    """The place that they use."""

    def indices(self) -> set[int]:
        """Return the rows that the clash consists of."""
        uses = (self.first_read, self.second_read, self.first_write, self.second_write)
        return {use.index for use in uses if use is not None}

    def pattern(self) -> tuple[str, ...]:
        """Name it without its actors, to see whether the plain order has the same."""
        parts = [self.shape, self.second_read.row.where, self.first_write.row.where]
        return (*parts, self.second_write.row.where if self.second_write else "")


def shared_keys(rows: Sequence[Row]) -> set[str]:
    """Return the places that several actors reached and at least one of them wrote."""
    actors: dict[str, set[str]] = defaultdict(set)
    written: set[str] = set()
    lasting: set[str] = set()
    for row in rows:
        if row.facts is None:
            continue
        for access in row.facts.accesses:
            for key in access.keys:
                actors[key].add(actor_of(row.lane))
                if access.write or access.opaque:
                    written.add(key)
                if access.lasting:
                    lasting.add(key)
    return {key for key in written & lasting if len(actors[key]) > 1}


def uses_of(rows: Sequence[Row], key: str) -> list[Use]:
    """Return who used a place, in order; locks and the like are left to `waits`."""
    return [
        Use(index, actor_of(row.lane), row, access)
        for index, row in enumerate(rows)
        if row.facts is not None
        for access in row.facts.accesses
        if key in access.keys and not access.opaque and not access.primitive
    ]


def find_clash(rows: Sequence[Row], plain: Sequence[Row], failed: str = "") -> Clash | None:
    """Return the most telling clash, one that the plain order does not have if possible.

    ``failed`` names the operation that raised, when one did: its own reads matter most.
    """
    usual = {clash.pattern() for clash in _clashes(plain)}
    found = _clashes(rows)
    found.sort(key=lambda clash: _rank(clash, usual, failed))
    return found[0] if found else None


def is_usual(clash: Clash, plain: Sequence[Row]) -> bool:
    """Tell whether the plain order has the same clash, so that it cannot be the cause."""
    return clash.pattern() in {other.pattern() for other in _clashes(plain)}


def uses_until(rows: Sequence[Row], clash: Clash) -> list[int]:
    """Return the rows that use the place of a clash, by whomever, until it is over.

    Without them the value in the story would jump.
    """
    last = max(clash.indices())
    return [use.index for use in uses_of(rows, clash.key) if use.index <= last]


def _rank(clash: Clash, usual: set[tuple[str, ...]], failed: str) -> tuple[bool, bool, bool, int]:
    whose = failed in ("", clash.second_read.actor)
    test = clash.second_read.row.facts is not None and bool(clash.second_read.row.facts.test)
    return (
        clash.pattern() in usual,
        not whose,
        clash.shape != "overwritten",
        # Among equals the shortest way from the reading to the writing, tests before the rest.
        clash.first_write.index - clash.second_read.index - 1000 * test,
    )


def _clashes(rows: Sequence[Row]) -> list[Clash]:
    found = []
    for key in sorted(shared_keys(rows)):
        uses = uses_of(rows, key)
        for position, write in enumerate(uses):
            if write.access.write:
                found += [replace(one, key=key) for one in _around(rows, uses, position)]
    return found


def _around(rows: Sequence[Row], uses: list[Use], position: int) -> list[Clash]:
    """Return the clashes with one write: who had read before it and went by that afterwards."""
    first = uses[position]
    found = []
    others = dict.fromkeys(use.actor for use in uses if use.actor != first.actor)
    for actor in others:
        earlier = [use for use in uses[:position] if use.actor == actor and not use.access.write]
        if not earlier:
            continue
        read = earlier[-1]
        mine = [use for use in uses[:position] if use.actor == first.actor]
        own_read = next(
            (u for u in reversed(mine) if not u.access.write and u.index != first.index), None
        )
        after = [use for use in uses[position + 1 :] if use.actor == actor]
        second = next((use for use in after if use.access.write), None)
        fresh = next((use for use in after if not use.access.write), None)
        wrote_itself = any(
            use.actor == actor and use.access.write
            for use in uses
            if read.index <= use.index < first.index
        )
        if wrote_itself:
            continue
        if second is not None and (fresh is None or fresh.index >= second.index):
            found.append(Clash("overwritten", own_read, read, first, second))
        elif second is None and fresh is None:
            goes_on = _goes_on(rows, read, first)
            if goes_on is not None:
                found.append(Clash("outdated", own_read, read, first, None, goes_on))
    return found


def _goes_on(rows: Sequence[Row], read: Use, write: Use) -> Row | None:
    """Return the first statement with which the reader's own call goes on after the write."""
    assert read.row.facts is not None
    for row in rows[write.index + 1 :]:
        if row.facts is not None and row.facts.frame == read.row.facts.frame:
            return row if row.facts.kind != "exit" else None
    return None
