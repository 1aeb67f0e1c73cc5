"""How a transaction is begun and ended, and tried again when another one was in its way."""

import random
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from vigia_reference.clinical.errors import CommitPostponed, Conflict, RetriesExhausted
from vigia_reference.clinical.statements import Query, Rows
from vigia_reference.clinical.transaction import Isolation, Transaction

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin a transaction.

    One that writes is `eager`: where there is one writer at a time (SQLite) it becomes that one
    before it reads anything.
    """

    isolation: Isolation
    read_only: bool = False
    eager: bool = True


@dataclass(frozen=True, slots=True)
class Commit:
    """Make what was written visible to all."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """Undo what was written; nothing happens where no transaction was begun."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next attempt."""

    seconds: float


Effect: TypeAlias = Begin | Query | Commit | Rollback | Pause


class Attempts:
    """Tries transactions at most `most` times.

    Between attempts it waits twice as long each time, from `shortest` to `longest` seconds, and
    each time a random part less, so that two who were in each other's way are not so again.
    """

    most = 500
    shortest = 0.001
    longest = 0.02

    def __init__(self, isolation: Isolation) -> None:
        self.isolation = isolation

    def carry_out(self, transaction: Transaction[T]) -> Generator[Effect, Rows, T]:
        """Yield what a connection has to do, and return what the transaction returns.

        After any other error than `Conflict` the connection is left as it is: the pool rolls back
        what comes back to it unfinished.  Raises `RetriesExhausted`.
        """
        reason = ""
        for failed in range(self.most):
            try:
                yield Begin(self.isolation, transaction.read_only)
                result = yield from transaction.steps()
                yield from self._commit()
            except Conflict as conflict:
                reason = str(conflict)
                yield Rollback()
            else:
                return result
            yield Pause(self._pause(failed))
        raise RetriesExhausted(f"Gave up after {self.most} attempts: {reason}")

    def _commit(self) -> Generator[Effect, Rows, None]:
        # A transaction that waits to be committed keeps new readers out (SQLite), so it has its
        # turn; one that began anew might never have.
        for failed in range(self.most):
            try:
                yield Commit()
            except CommitPostponed:
                yield Pause(self._pause(failed))
            else:
                return
        raise Conflict("others did not end their reading")

    def _pause(self, failed: int) -> float:
        return min(self.shortest * 2.0**failed, self.longest) * random.uniform(0.5, 1)
