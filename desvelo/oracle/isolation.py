"""Isolation anomalies by name, found in a log of transactions.

Serializable is what has no cycle in the graph of `desvelo.oracle.dependencies` (Adya 1999); the
names are those of Berenson et al., "A Critique of ANSI SQL Isolation Levels" (SIGMOD 1995), and
the codes Adya's and, for long forks, those of Elle (Kingsbury and Alvaro, VLDB 2020). That
snapshot isolation is what has no cycle without two adjacent anti-dependencies: Fekete et al.
(TODS 2005), Cerone and Gotsman (PODC 2016).

| name | code | what it is |
|---|---|---|
| dirty write | G0, P0 | two transactions overwrite each other's uncommitted rows |
| dirty read | G1a, G1b | a read of what is rolled back, or of what its writer then changes |
| circular information flow | G1c | each of two transactions has seen, or overwritten, the other |
| lost update | G-single | a row is overwritten by one who had read what was there before another |
| non-repeatable read | G-single | a row is read twice, and another wrote it in between |
| phantom | G-single | a condition is looked for once before and once after another's change |
| read skew | G-single | one row is read as before another transaction, one as after it |
| long fork | G-nonadjacent | two readers see two writers in opposite orders |
| write skew | G2-item | each overwrites what the other has read, and neither sees the other |
| write skew by phantom | G2 | each changes what the other's condition finds |
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from desvelo.errors import UsageError
from desvelo.oracle.cycles import Cycle, Graph
from desvelo.oracle.dependencies import Dependencies, Dependency, shown
from desvelo.oracle.transactions import Transaction, TransactionLog
from desvelo.world.values import describe_value

_E = TypeVar("_E")

_AT_READ_UNCOMMITTED = ("dirty write",)
_AT_READ_COMMITTED = (*_AT_READ_UNCOMMITTED, "dirty read", "circular information flow")
_AT_SNAPSHOT = (
    *_AT_READ_COMMITTED,
    "lost update",
    "non-repeatable read",
    "phantom",
    "read skew",
    "long fork",
)
_AT_SERIALIZABLE = (*_AT_SNAPSHOT, "write skew", "write skew by phantom")

LEVELS = {
    "read uncommitted": _AT_READ_UNCOMMITTED,
    "read committed": _AT_READ_COMMITTED,
    "repeatable read": _AT_SNAPSHOT,
    "snapshot": _AT_SNAPSHOT,
    "serializable": _AT_SERIALIZABLE,
}
"""What each level forbids; ``repeatable read`` is PostgreSQL's, which is snapshot isolation."""

MOST = 25
"""Anomalies of one log that are told."""


@dataclass(frozen=True)
class Anomaly:
    """One anomaly: its name, who takes part, and why it is one."""

    name: str
    code: str
    transactions: tuple[str, ...]
    keys: tuple[str, ...]
    steps: tuple[str, ...] = field(default=(), compare=False)

    def __repr__(self) -> str:
        return f"<{self.summary()}>"

    def summary(self) -> str:
        """Say it in one line."""
        who = self.transactions
        names = who[0] if len(who) == 1 else f"{', '.join(who[:-1])} and {who[-1]}"
        return f"{self.name} ({self.code}) of {names} on {', '.join(self.keys)}"

    def explain(self) -> str:
        """Return the summary and why no serial order has it."""
        return "\n".join([self.summary(), *(f"  {step}" for step in self.steps)])


class IsolationAnomaly(AssertionError):
    """Transactions did what their isolation level forbids."""

    def __init__(self, anomalies: Sequence[Anomaly], level: str) -> None:
        more = len(anomalies) - 1
        text = anomalies[0].explain()
        if more:
            text += f"\n  and {more} more that {level.upper()} forbids: {anomalies[1].summary()}"
            text += " ..." if more > 1 else ""
        super().__init__(text)
        self.anomalies = tuple(anomalies)
        self.level = level


def forbidden_at(level: str) -> frozenset[str]:
    """Return the names of the anomalies that an isolation level forbids.

    >>> sorted(forbidden_at("REPEATABLE READ") - forbidden_at("READ COMMITTED"))
    ['long fork', 'lost update', 'non-repeatable read', 'phantom', 'read skew']
    >>> sorted(forbidden_at("SERIALIZABLE") - forbidden_at("REPEATABLE READ"))
    ['write skew', 'write skew by phantom']
    """
    known = LEVELS.get(level.lower().replace("_", " "))
    if known is None:
        raise UsageError(f"no isolation level is called {level!r}; they are: {', '.join(LEVELS)}")
    return frozenset(known)


def anomalies(log: TransactionLog, level: str = "serializable") -> list[Anomaly]:
    """Return what happened in a log that a level forbids, the gravest first.

    Of several that involve the same transactions the gravest stands for all. A log without any
    is of that level as far as the values tell which write each read has seen.

    >>> skew = "r1[x=50] r1[y=50] r2[x=50] r2[y=50] w1[y=-40] w2[x=-40] c1 c2"
    >>> print(anomalies(TransactionLog.parse(skew))[0].explain())
    write skew (G2-item) of T1 and T2 on x, y
      T1 comes before T2, because T1 read x = 50, which T2 overwrote with -40,
      but T2 comes before T1, because T2 read y = 50, which T1 overwrote with -40.
    """
    forbidden = forbidden_at(level)
    found: list[Anomaly] = []
    for one in _every(Dependencies(log)):
        if one.name in forbidden and one not in found:
            found.append(one)
            if len(found) == MOST:
                break
    return found


def _every(graph: Dependencies) -> Iterator[Anomaly]:
    """Return every anomaly, class by class, the gravest first."""
    told: list[frozenset[str]] = []

    def new(cycle: Cycle) -> bool:
        """Whether no cycle has been told of these transactions, or of some of them alone."""
        involved = frozenset(edge.before.name for edge in cycle)
        if any(known <= involved for known in told):
            return False
        told.append(involved)
        return True

    edges = graph.edges
    overwriting = Graph(edge for edge in edges if edge.kind == "ww")
    for cycle in overwriting.cycles(lambda edge: True, go_on="strong"):
        if new(cycle):
            yield _of_cycle("dirty write", "G0", cycle)
    for one in sorted(graph.dirty, key=lambda one: one.code != "P0"):
        name = "dirty write" if one.code == "P0" else "dirty read"
        names = (one.reader.name, one.writer.name)
        yield Anomaly(name, one.code, names, (shown(one.key),), (f"{one.why}.",))
    flowing = Graph(edge for edge in edges if edge.kind != "rw")
    for cycle in flowing.cycles(lambda edge: edge.kind == "wr", go_on="strong"):
        if new(cycle):
            yield _of_cycle("circular information flow", "G1c", cycle)
    whole = Graph(edges)
    for cycle in whole.cycles(_is_rw, go_on="apart"):
        if new(cycle):
            yield (
                _single(cycle, edges)
                if _count_rw(cycle) == 1
                else _of_cycle("long fork", "G-nonadjacent", cycle)
            )
    yield from _seen_twice(graph.committed, told)
    items = Graph(edge for edge in edges if not edge.by_condition)
    for cycle in items.cycles(_is_rw, go_on="any"):
        if new(cycle):
            yield _of_cycle("write skew", "G2-item", cycle)
    for cycle in whole.cycles(_is_rw, go_on="any"):
        if new(cycle):
            yield _of_cycle("write skew by phantom", "G2", cycle)


def _is_rw(edge: Dependency) -> bool:
    return edge.kind == "rw"


def _count_rw(cycle: Cycle) -> int:
    return sum(map(_is_rw, cycle))


def _single(cycle: Cycle, edges: Sequence[Dependency]) -> Anomaly:
    """Name a cycle with one anti-dependency by what its first transaction did."""
    first, last = cycle[0], cycle[-1]
    reader = first.before
    missed = [e for e in edges if e.kind == "rw" and _joins(e, first) and not e.by_condition]
    written = {write.key for write in reader.writes}
    back = [e for e in edges if e.kind == "wr" and _joins(e, last) and not e.by_condition]
    seen_again = {edge.key for edge in back}
    for edge in missed:
        if edge.key in written:
            over = [e for e in edges if e.kind == "ww" and _joins(e, last) and e.key == edge.key]
            return _of_cycle("lost update", "G-single", (edge, *cycle[1:-1], *(over or [last])[:1]))
    for edge in missed:
        if edge.key in seen_again:
            again = next(one for one in back if one.key == edge.key)
            return _of_cycle("non-repeatable read", "G-single", (edge, *cycle[1:-1], again))
    if not missed:
        return _of_cycle("phantom", "G-single", cycle)
    return _of_cycle("read skew", "G-single", (missed[0], *cycle[1:]))


def _joins(one: Dependency, other: Dependency) -> bool:
    return one.before is other.before and one.after is other.after


def _of_cycle(name: str, code: str, cycle: Cycle) -> Anomaly:
    """Tell a cycle as what must come before what, which cannot all be."""
    steps = []
    for number, edge in enumerate(cycle, 1):
        but = "but " if number == len(cycle) else ""
        end = "." if number == len(cycle) else ","
        before, after = edge.before.name, edge.after.name
        steps.append(f"{but}{before} comes before {after}, because {edge.why}{end}")
    keys = dict.fromkeys(shown(edge.key) for edge in cycle)
    who = tuple(edge.before.name for edge in cycle)
    return Anomaly(name, code, who, tuple(keys), tuple(steps))


def _seen_twice(
    committed: Sequence[Transaction], told: Sequence[frozenset[str]]
) -> Iterator[Anomaly]:
    """Find transactions that read one thing twice and saw two, whoever changed it."""
    for transaction in committed:
        if any(transaction.name in names for names in told):
            continue
        name = transaction.name
        for one, again in _pairs(transaction.reads, lambda read: read.key):
            own = any(w.key == one.key and w.place < again.place for w in transaction.writes)
            if (one.value, one.version) != (again.value, again.version) and not own:
                values = (
                    f"{describe_value(one.value, 30)} and then {describe_value(again.value, 30)}"
                )
                step = f"{name} read {shown(one.key)} = {values}, and did not write it."
                yield Anomaly(
                    "non-repeatable read", "G-single", (name,), (shown(one.key),), (step,)
                )
                break
        for look, other in _pairs(transaction.looks, lambda look: look.what):
            own = any(w.place < other.place for w in transaction.writes)
            if look.found != other.found and not own:
                found = f"{_keys(look.found)} and then {_keys(other.found)}"
                step = f"{name} looked for {look.what} twice: it found {found}, and wrote nothing."
                yield Anomaly("phantom", "G-single", (name,), (look.what,), (step,))
                break


def _pairs(events: Sequence[_E], same: Callable[[_E], Hashable]) -> Iterator[tuple[_E, _E]]:
    """Return each event with the next one about the same."""
    last: dict[Hashable, _E] = {}
    for event in events:
        if same(event) in last:
            yield last[same(event)], event
        last[same(event)] = event


def _keys(found: Mapping[Hashable, object]) -> str:
    return ", ".join(shown(key) for key in found) or "nothing"
