"""What the statements of operations did to the same table or key of a server or a file.

Its rows are not variables of the program, so who read what before whom wrote it is taken from
the statements themselves, as far as a statement's first words tell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from desvelo.story.scene import BACKGROUND, actor_of
from desvelo.world.trace import Row
from desvelo.world.values import shorten

STATEMENTS = frozenset({"statement", "waits"})
_NAME = r"""["'`\[]?(?P<name>[\w.$]+)"""
_READS = re.compile(rf"\s*(?:SELECT|WITH)\b.*?\bFROM\s+{_NAME}", re.IGNORECASE)
_WRITES = re.compile(
    rf"\s*(?:UPDATE(?:\s+ONLY)?|(?:INSERT|REPLACE)(?:\s+OR\s+\w+)?\s+INTO|DELETE\s+FROM)\s+{_NAME}",
    re.IGNORECASE,
)
_KEYS = re.compile(r"(?P<verb>[A-Z]+) (?P<name>\S+)(?: .*)? -> ")
_KEY_READS = re.compile(
    r"GET|EXISTS|HGET|HGETALL|HEXISTS|STRLEN|LLEN|LRANGE|LINDEX|SCARD|SISMEMBER|SMEMBERS|ZCARD|"
    r"ZRANGE|ZSCORE|TTL"
)
_KEY_WRITES = re.compile(
    r"SET|SETEX|SETNX|PSETEX|GETSET|DEL|UNLINK|INCR|INCRBY|DECR|DECRBY|APPEND|EXPIRE|HSET|HDEL|"
    r"HINCRBY|LPUSH|RPUSH|LPOP|RPOP|LSET|SADD|SREM|ZADD|ZREM"
)
_HOUSEKEEPING = re.compile(
    r"(?:HELLO|CLIENT|AUTH|SELECT \d+ ->|SELECT pg_advisory_unlock_all|SET \w+ (?:TO|=)|SHOW\b|"
    r"RESET\b|DISCARD\b|PING\b)"
)
_BEGINS = re.compile(r"(?:BEGIN|START TRANSACTION)\b", re.IGNORECASE)
_COMMITS = re.compile(r"(?:COMMIT|END)\b", re.IGNORECASE)
_UNDOES = re.compile(r"ROLLBACK(?!\s+TO)\b|closes the connection", re.IGNORECASE)
_OUTCOME = re.compile(r"\s+(?:➜|✗|->|waits for)\s.*$", re.DOTALL)


@dataclass(frozen=True)
class Access:
    """One statement of an operation that read or wrote a table or a key."""

    index: int
    actor: str
    name: str
    text: str
    writes: bool


@dataclass(frozen=True)
class Overlap:
    """Two operations that had both read the same before either wrote it."""

    reads: tuple[Access, Access]
    writes: tuple[Access, Access]
    committed: bool
    """Whether both had read before either wrote, not only before either had committed."""

    def indices(self) -> set[int]:
        """Return the rows that it consists of."""
        return {one.index for one in (*self.reads, *self.writes)}

    def pattern(self) -> tuple[str, ...]:
        """Name it without its actors, to see whether the plain order has the same."""
        return tuple(sorted(one.text for one in (*self.reads, *self.writes)))


def words(row: Row) -> str:
    """Return the statement of a row, without who carried it out and what came of it.

    >>> words(Row(0, 0, "a", "statement", "sqlite: UPDATE acc SET n = ?  ➜ 1 row"))
    'UPDATE acc SET n = ?'
    """
    return _OUTCOME.sub("", row.text.removeprefix("sqlite: "))


def is_housekeeping(row: Row) -> bool:
    """Tell what a driver does for itself from what the program asked for."""
    return _HOUSEKEEPING.match(row.text.removeprefix("sqlite: ")) is not None


def accesses(rows: Sequence[Row]) -> list[Access]:
    """Return what the operations' statements read and wrote, in order."""
    found = []
    for index, row in enumerate(rows):
        if row.kind != "statement" or row.lane == BACKGROUND or "✗" in row.text:
            continue
        text = words(row)
        key = _KEYS.match(row.text)
        read, write = _READS.match(text), _WRITES.match(text)
        writes_key = key is not None and _KEY_WRITES.fullmatch(key["verb"]) is not None
        if key is not None and (writes_key or _KEY_READS.fullmatch(key["verb"])):
            name, writes = key["name"], writes_key
        elif write is not None or read is not None:
            match = write or read
            assert match is not None
            name, writes = match["name"].lower(), write is not None
        else:
            continue
        found.append(Access(index, actor_of(row.lane), name, text, writes))
    return found


def find_overlap(rows: Sequence[Row]) -> Overlap | None:
    """Return where two operations read the same before either wrote it, if anywhere.

    A write inside a transaction counts from its commit on, and not at all when it is undone.
    """
    done = accesses(rows)
    best: tuple[bool, int, Overlap] | None = None
    for first in done:
        since = _takes_effect(rows, first) if first.writes else None
        if since is None:
            continue
        own = _read_before(done, first)
        for second in done:
            if not second.writes or second.actor == first.actor or second.name != first.name:
                continue
            other = _read_before(done, second)
            effect = _takes_effect(rows, second)
            if own is None or other is None or effect is None or first.index > second.index:
                continue
            if max(own.index, other.index) > min(since, effect):
                continue
            before = max(own.index, other.index) < first.index
            overlap = Overlap((own, other), (first, second), before)
            rank = (first.text != second.text, second.index - min(own.index, other.index))
            if best is None or rank < best[:2]:
                best = (*rank, overlap)
    return best[2] if best is not None else None


def overlap_sentence(overlap: Overlap) -> str:
    """Say who had read what before whom wrote it."""
    (mine, yours), (first, second) = overlap.reads, overlap.writes
    read = _both(mine, yours)
    wrote = _both(first, second)
    when = "wrote it" if overlap.committed else "had committed what it wrote"
    return (
        f"`{first.actor}` and `{second.actor}` both read `{first.name}` ({read}) before either "
        f"{when} ({wrote}); `{second.actor}`, the last to write, went by what "
        f"`{first.actor}` had changed meanwhile."
    )


def _both(one: Access, two: Access) -> str:
    texts = dict.fromkeys(shorten(access.text, 60) for access in (one, two))
    return " and ".join(f"`{text}`" for text in texts)


def _read_before(done: Sequence[Access], write: Access) -> Access | None:
    """Return the last statement before a write by which its actor read the same."""
    for one in reversed(done):
        if one.index < write.index and one.actor == write.actor and one.name == write.name:
            if not one.writes:
                return one
            if one.text != write.text:
                return None
    return None


def _takes_effect(rows: Sequence[Row], write: Access) -> int | None:
    """Return the row from which on others see a write: its commit's, or its own; or nothing."""
    lane = rows[write.index].lane
    for index in range(write.index + 1, len(rows)):
        row = rows[index]
        if row.kind != "statement" or row.lane != lane:
            continue
        text = words(row)
        if _BEGINS.match(text):
            break
        if _COMMITS.match(text):
            return index
        if _UNDOES.match(text):
            return None
    return write.index
