"""A log of transactions: who read and wrote what, in which order, and who committed.

Whoever runs transactions tells the log explicitly, when each statement has been answered. What
the log holds is judged by `desvelo.oracle.isolation`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from desvelo.errors import UsageError

if TYPE_CHECKING:
    from desvelo.oracle.isolation import Anomaly

ORDERS = ("write", "commit", "version")
_EVENT = re.compile(
    r"(?P<what>[rw])(?P<who>\d+)\[(?P<key>\w+)(?:@(?P<version>[\w.]+))?(?:=(?P<value>[^\]]*))?\]"
    r"|(?P<end>[ca])(?P<whose>\d+)"
)

_ENDED = {"committed": "committed", "aborted": "been aborted"}


class _Missing:
    def __repr__(self) -> str:
        return "a value that was not given"


MISSING = _Missing()
"""Stands for a value that was not given: then a version says which write is meant."""


@dataclass(frozen=True)
class Read:
    """One value that was read."""

    place: int
    """Position in the log."""
    key: Hashable
    value: Any
    version: Hashable = None


@dataclass(frozen=True)
class Write:
    """One value that was written; ``None`` when the row was deleted."""

    place: int
    key: Hashable
    value: Any
    version: Hashable = None


@dataclass(frozen=True)
class Look:
    """One look for all rows that satisfy a condition: a predicate read."""

    place: int
    what: str
    found: Mapping[Hashable, Any]
    matches: Callable[[Hashable, Any], bool] | None = None


@dataclass(eq=False)
class Transaction:
    """One transaction of a log."""

    name: str
    _log: TransactionLog = field(repr=False)
    reads: list[Read] = field(default_factory=list, repr=False)
    writes: list[Write] = field(default_factory=list, repr=False)
    looks: list[Look] = field(default_factory=list, repr=False)
    status: str = "open"
    """``open``, ``committed`` or ``aborted``; open ones are taken to be in doubt."""
    ended: int = -1
    """Position in the log of its end."""

    def read(self, key: Hashable, value: Any = MISSING, *, version: Hashable = None) -> Any:
        """Note that a row was read, with what it held (``None``: there was none); returns that."""
        self.reads.append(Read(self._place("read"), key, value, version))
        return value

    def write(self, key: Hashable, value: Any = MISSING, *, version: Hashable = None) -> Any:
        """Note that a row was inserted or updated; returns the value."""
        self.writes.append(Write(self._place("write"), key, value, version))
        return value

    def delete(self, key: Hashable, *, version: Hashable = None) -> None:
        """Note that a row was deleted."""
        self.writes.append(Write(self._place("delete"), key, None, version))

    def find(
        self,
        what: str,
        found: Mapping[Hashable, Any],
        matches: Callable[[Hashable, Any], bool] | None = None,
    ) -> None:
        """Note a look for all rows that satisfy a condition, named ``what``.

        ``found`` has the rows that it returned, by key. ``matches(key, value)`` is the condition:
        with it a row that was *not* found says something too.
        """
        self.looks.append(Look(self._place("find"), what, dict(found), matches))

    def commit(self) -> None:
        """Note that it has committed."""
        self.ended = self._place("commit")
        self.status = "committed"

    def abort(self) -> None:
        """Note that it was rolled back, by its own wish or by the database."""
        self.ended = self._place("abort")
        self.status = "aborted"

    def _place(self, what: str) -> int:
        if self.status != "open":
            raise UsageError(
                f"{what} of transaction {self.name!r}, which has {_ENDED[self.status]} already; "
                "begin another"
            )
        return self._log.next_place()


class TransactionLog:
    """What transactions read and wrote, for a judgement of their isolation.

    ``initial`` has the rows that were there before, by key; with it, any other key is known to
    have had no row. What reads which write is told by the values, so let each write be of a value
    that is not written twice, or give ``version=`` with reads and writes; a read that several
    writes explain accuses nobody. Everything that writes must be logged, and each write before its
    COMMIT is sent: the order of the log is taken for that of the writes.

    The versions of a row follow each other in the order in which they were written (``write``,
    right for databases that lock what is written), in which their transactions committed
    (``commit``, right for those that keep writes back until then), or in that of the given
    versions (``version``).

    >>> log = TransactionLog(initial={"stock": 10})
    >>> one, two = log.begin("order"), log.begin("take back")
    >>> one.read("stock", 10), two.read("stock", 10)
    (10, 10)
    >>> one.write("stock", 9), one.commit()
    (9, None)
    >>> two.write("stock", 11), two.commit()
    (11, None)
    >>> log.anomalies()
    [<lost update (G-single) of take back and order on stock>]

    A machine keeps a log, gives it to its operations, and looks at it at rest::

        async def setup(self):
            self.log = TransactionLog(initial={"stock": 10})


        @operation()
        async def order(self):
            noted = self.log.begin("order")
            async with self.pool.acquire() as connection, connection.transaction():
                stock = await connection.fetchval("SELECT stock FROM shop")
                noted.read("stock", stock)
                await connection.execute("UPDATE shop SET stock = $1", stock - 1)
                noted.write("stock", stock - 1)
            noted.commit()


        @at_rest()
        def transactions_are_serializable(self):
            self.log.check("serializable")  # or: assert self.log.anomalies() == []
    """

    def __init__(
        self, initial: Mapping[Hashable, Any] | None = None, *, order: str = "write"
    ) -> None:
        if order not in ORDERS:
            raise UsageError(f"order of versions {order!r} is none of {', '.join(ORDERS)}")
        self.initial = None if initial is None else dict(initial)
        self.order = order
        self.transactions: list[Transaction] = []
        self._names: dict[str, int] = {}
        self._places = 0

    def begin(self, name: str = "") -> Transaction:
        """Begin a transaction; one of the same name is given a number."""
        name = name or f"T{len(self.transactions) + 1}"
        often = self._names[name] = self._names.get(name, 0) + 1
        found = Transaction(name if often == 1 else f"{name} ({often})", self)
        self.transactions.append(found)
        return found

    def anomalies(self, level: str = "serializable") -> list[Anomaly]:
        """Return what has happened that an isolation level forbids, the gravest first."""
        from desvelo.oracle.isolation import anomalies

        return anomalies(self, level)

    def check(self, level: str = "serializable") -> None:
        """Raise `IsolationAnomaly` when something happened that an isolation level forbids."""
        from desvelo.oracle.isolation import IsolationAnomaly

        found = self.anomalies(level)
        if found:
            raise IsolationAnomaly(found, level)

    def next_place(self) -> int:
        """Return the position in the log of what happens now."""
        self._places += 1
        return self._places

    @classmethod
    def parse(
        cls, text: str, initial: Mapping[Hashable, Any] | None = None, *, order: str = "write"
    ) -> TransactionLog:
        """Read a history as papers write them: ``r1[x=50] w1[x=10] r2[x=10] c2 c1``.

        ``x@1`` is the version 1 of x, for histories in which values do not tell versions apart.

        >>> TransactionLog.parse("r1[x=50] r2[x=50] w2[x=60] c2 w1[x=70] c1").anomalies()
        [<lost update (G-single) of T1 and T2 on x>]
        """
        log = cls(initial, order=order)
        known: dict[str, Transaction] = {}
        for event in text.split():
            match = _EVENT.fullmatch(event)
            if match is None:
                raise UsageError(
                    f"{event!r} is no event of a history; write r1[x=50], w1[x=10], c1 or a1"
                )
            number = match["who"] or match["whose"]
            if number not in known:
                known[number] = log.begin(f"T{number}")
            transaction = known[number]
            if match["end"]:
                (transaction.commit if match["end"] == "c" else transaction.abort)()
                continue
            value = MISSING if match["value"] is None else _value(match["value"])
            (transaction.read if match["what"] == "r" else transaction.write)(
                match["key"], value, version=match["version"]
            )
        return log


def _value(text: str) -> Any:
    return int(text) if re.fullmatch(r"-?\d+", text) else text or None
