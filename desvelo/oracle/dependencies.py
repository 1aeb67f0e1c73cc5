"""Who must come before whom: the direct serialization graph of a log of transactions.

Atul Adya, "Weak Consistency" (PhD thesis, MIT, 1999) and Adya, Liskov and O'Neil (ICDE 2000):
``ww``, the next version of what the other wrote; ``wr``, a read of what the other wrote; ``rw``, an
anti-dependency, the other wrote the next version of what was read. Looks for all rows that satisfy
a condition have dependencies of their own, on who changed what the condition finds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from desvelo.errors import UsageError
from desvelo.oracle.transactions import MISSING, Look, Read, Transaction, TransactionLog
from desvelo.oracle.versions import Version, Versions
from desvelo.world.values import describe_value


@dataclass(frozen=True)
class Dependency:
    """That one transaction comes before another, and why."""

    kind: str
    """``ww``, ``wr`` or ``rw``."""
    before: Transaction
    after: Transaction
    key: Hashable
    why: str
    by_condition: bool = False
    """Whether it is of a look for all rows that satisfy a condition."""


@dataclass(frozen=True)
class Dirty:
    """What shows by itself that a row was touched while another transaction was writing it."""

    code: str
    """``G1a``, a read from an aborted transaction; ``G1b``, one of an intermediate version; ``P0``,
    a transaction's own write was overwritten before it had ended.
    """
    reader: Transaction
    writer: Transaction
    key: Hashable
    why: str


class Dependencies:
    """The graph of a log's committed transactions, and what is dirty on the face of it."""

    def __init__(self, log: TransactionLog) -> None:
        self._versions = Versions(log)
        self.committed = [one for one in log.transactions if one.status == "committed"]
        self.edges: list[Dependency] = []
        self.dirty: list[Dirty] = []
        self._writes()
        for transaction in self.committed:
            for read in transaction.reads:
                self._read(transaction, read)
            for look in transaction.looks:
                for key, value in look.found.items():
                    self._read(transaction, Read(look.place, key, value))
                if look.matches is not None:
                    self._look(transaction, look, look.matches)

    def _writes(self) -> None:
        for key in self._versions.rows():
            versions = self._versions.installed(key)
            for one, next_ in pairwise(versions):
                if one.writer is not None and next_.writer is not None:
                    what = f"{one.writer.name}'s {holds(key, one)}"
                    why = f"{next_.writer.name} overwrote {what} with {value(next_)}"
                    self._add("ww", one.writer, next_.writer, key, why)

    def _read(self, reader: Transaction, read: Read) -> None:
        version = self._versions.seen(reader, read)
        if version is None or version.writer is reader:
            return
        writer, key = version.writer, read.key
        if writer is not None and writer.status == "open":
            return
        own = [one for one in reader.writes if one.key == key and one.place < read.place]
        if own and writer is not None:
            mine = describe_value(own[-1].value, 30)
            why = f"{reader.name} wrote {shown(key)} = {mine} and then read {writer.name}'s "
            self.dirty.append(Dirty("P0", reader, writer, key, why + value(version)))
            return
        if writer is not None:
            seen = f"{reader.name} read {writer.name}'s {holds(key, version)}"
            if writer.status == "aborted":
                why = (
                    f"{reader.name} read {holds(key, version)} of {writer.name}, which was aborted"
                )
                self.dirty.append(Dirty("G1a", reader, writer, key, why))
                return
            if not version.final:
                last = next(v for v in self._versions.installed(key) if v.writer is writer)
                why = (
                    f"{reader.name} read {holds(key, version)} of {writer.name}, which went on to "
                    f"write {value(last)}"
                )
                self.dirty.append(Dirty("G1b", reader, writer, key, why))
                return
            self._add("wr", writer, reader, key, seen)
        versions = self._versions.installed(key)
        position = versions.index(version)
        if position + 1 < len(versions):
            next_ = versions[position + 1]
            assert next_.writer is not None
            why = f"{reader.name} read {holds(key, version)}, which {next_.writer.name} overwrote"
            self._add("rw", reader, next_.writer, key, f"{why} with {value(next_)}")

    def _look(
        self, reader: Transaction, look: Look, matches: Callable[[Hashable, Any], bool]
    ) -> None:
        for key in self._versions.rows():
            versions = self._versions.installed(key)
            if any(write.key == key and write.place < look.place for write in reader.writes):
                continue  # it saw what it wrote itself
            if any(version.value is MISSING for version in versions):
                continue
            fits = [_fits(look, matches, key, version) for version in versions]
            run = self._run(reader, look, key, versions, fits)
            if run is None:
                continue
            first, last = run
            found = "found" if key in look.found else "did not find"
            maker = versions[first].writer
            if maker is not None:
                change = "made it match" if fits[first] else "made it match no more"
                why = f"{reader.name} looked for {look.what} and {found} {shown(key)}: {maker.name}"
                self._add("wr", maker, reader, key, f"{why} had {change}", by_condition=True)
            if last + 1 < len(versions):
                breaker = versions[last + 1].writer
                assert breaker is not None
                change = "made it match no more" if fits[last] else "made it match"
                why = (
                    f"{reader.name} looked for {look.what} and {found} {shown(key)}, before "
                    f"{breaker.name} {change}"
                )
                self._add("rw", reader, breaker, key, why, by_condition=True)

    def _run(
        self,
        reader: Transaction,
        look: Look,
        key: Hashable,
        versions: list[Version],
        fits: list[bool],
    ) -> tuple[int, int] | None:
        """Return the first and last version that the look may have seen, if all in one go."""
        if key in look.found:
            version = self._versions.seen(reader, Read(look.place, key, look.found[key]))
            if version is None or version not in versions or not fits[versions.index(version)]:
                return None
            first = last = versions.index(version)
            while first > 0 and fits[first - 1]:
                first -= 1
            while last + 1 < len(versions) and fits[last + 1]:
                last += 1
            return first, last
        without = [index for index, fit in enumerate(fits) if not fit]
        if not without or without[-1] - without[0] + 1 != len(without):
            return None
        return without[0], without[-1]

    def _add(
        self,
        kind: str,
        before: Transaction,
        after: Transaction,
        key: Hashable,
        why: str,
        *,
        by_condition: bool = False,
    ) -> None:
        if before is not after:
            self.edges.append(Dependency(kind, before, after, key, why, by_condition))


def _fits(
    look: Look, matches: Callable[[Hashable, Any], bool], key: Hashable, version: Version
) -> bool:
    if version.value is None:
        return False
    try:
        return bool(matches(key, version.value))
    except Exception as error:
        raise UsageError(
            f"the condition of the look for {look.what!r} fails for {key!r} = {version.value!r}: "
            f"{type(error).__name__}: {error}"
        ) from error


def shown(key: Hashable) -> str:
    """Write the name of a row."""
    return key if isinstance(key, str) else describe_value(key, 30)


def value(version: Version) -> str:
    """Write what a version holds."""
    if version.value is not MISSING:
        return describe_value(version.value, 30)
    return f"version {version.write.version}" if version.write is not None else "an earlier version"


def holds(key: Hashable, version: Version) -> str:
    """Write a row and what it holds."""
    return f"{shown(key)} = {value(version)}"
