"""Which write each read of a log has seen, and how the versions of each row follow each other."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from desvelo.errors import UsageError
from desvelo.oracle.transactions import MISSING, Read, Transaction, TransactionLog, Write


@dataclass(frozen=True)
class Version:
    """A value of a row, and who wrote it; nobody, when it was there from the beginning."""

    writer: Transaction | None
    write: Write | None
    value: Any
    final: bool = True
    """Whether its transaction wrote the row no more after it."""


class Versions:
    """All versions of all rows of a log.

    A read is given to a write only when no other explains it: who does not know accuses nobody.
    """

    def __init__(self, log: TransactionLog) -> None:
        self._log = log
        self._written: dict[Hashable, list[Version]] = {}
        for transaction in log.transactions:
            last = {write.key: write for write in transaction.writes}
            for write in transaction.writes:
                self._written.setdefault(write.key, []).append(
                    Version(transaction, write, write.value, last[write.key] is write)
                )
        self._initial = self._initial_values()
        self._installed: dict[Hashable, list[Version]] = {}
        for key in self.rows():
            self._installed[key] = self._in_order(key)

    def rows(self) -> list[Hashable]:
        """Return every row that the log speaks of, in order of appearance."""
        keys: dict[Hashable, None] = dict.fromkeys(self._log.initial or ())
        for transaction in self._log.transactions:
            keys.update(dict.fromkeys(read.key for read in transaction.reads))
            keys.update(dict.fromkeys(write.key for write in transaction.writes))
            for look in transaction.looks:
                keys.update(dict.fromkeys(look.found))
        return list(keys)

    def installed(self, key: Hashable) -> list[Version]:
        """Return the committed versions of a row in order, the initial one first."""
        return self._installed[key]

    def seen(self, reader: Transaction, read: Read) -> Version | None:
        """Return the version that a read has seen, or nothing when that is not certain."""
        written = self._written.get(read.key, [])
        own = [
            version
            for version in written
            if version.writer is reader and _place(version) < read.place
        ]
        if own and _same(own[-1], read):
            return own[-1]
        found = [
            version for version in written if version.writer is not reader and _same(version, read)
        ]
        initial = self._installed[read.key][0]
        if initial.value is MISSING:
            # Whatever has this value may have been there from the beginning.
            return found[0] if len(found) == 1 and read.version is not None else None
        if read.version is None and initial.value == read.value:
            found.append(initial)
        # A transaction that is tried again writes the same once more: what was rolled back explains
        # a read only when nothing else does.
        lasting = [version for version in found if not _rolled_back(version)] or found
        if len({id(version.writer) for version in lasting}) == 1:
            return next((version for version in lasting if version.final), lasting[-1])
        return None

    def _initial_values(self) -> dict[Hashable, Any]:
        """Return the first values of the rows: as declared, or as read and never written."""
        values = dict(self._log.initial or {})
        unwritten: dict[Hashable, list[Any]] = {}
        for transaction in self._log.transactions:
            found = [
                Read(look.place, key, value)
                for look in transaction.looks
                for key, value in look.found.items()
            ]
            for read in (*transaction.reads, *found):
                if read.version is not None or read.value is MISSING or read.key in values:
                    continue
                known = unwritten.setdefault(read.key, [])
                written = any(_same(one, read) for one in self._written.get(read.key, ()))
                if not written and read.value not in known:
                    known.append(read.value)
        for key in self.rows():
            if key in values:
                continue
            only = unwritten.get(key, [])
            if self._log.initial is not None:
                values[key] = None
            else:
                values[key] = only[0] if len(only) == 1 else MISSING
        return values

    def _in_order(self, key: Hashable) -> list[Version]:
        installed = [
            version
            for version in self._written.get(key, ())
            if version.final and version.writer is not None and version.writer.status == "committed"
        ]
        return [Version(None, None, self._initial[key]), *sorted(installed, key=self._rank)]

    def _rank(self, version: Version) -> Any:
        assert version.writer is not None
        assert version.write is not None
        if self._log.order == "commit":
            return version.writer.ended
        if self._log.order == "version":
            if version.write.version is None:
                raise UsageError(
                    f"{version.writer.name} wrote {version.write.key!r} without version=, by which "
                    "this log orders its rows"
                )
            return version.write.version
        return version.write.place


def _rolled_back(version: Version) -> bool:
    return version.writer is not None and version.writer.status == "aborted"


def _place(version: Version) -> int:
    assert version.write is not None
    return version.write.place


def _same(version: Version, read: Read) -> bool:
    assert version.write is not None
    if read.version is not None and version.write.version is not None:
        return bool(read.version == version.write.version)
    if read.value is MISSING or version.value is MISSING:
        return False
    return bool(read.value == version.value)
