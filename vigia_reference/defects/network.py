"""Defects that show when the network or the disk fails."""

# ruff: noqa: D102 - what a method is for is told where it is correct

import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from vigia_reference.database import Database
from vigia_reference.defects.catalogue import Defect
from vigia_reference.outbox import DeliveryCount, Message, NotSent, Outbox

T = TypeVar("T")


class FailedMeansNotSent(Outbox):
    """Takes every error of the sender for a message that did not go out."""

    async def deliver_pending(self, send: Callable[[Message], Awaitable[object]]) -> DeliveryCount:
        async def certain(message: Message) -> None:
            try:
                await send(message)
            except Exception as error:
                raise NotSent from error

        return await super().deliver_pending(certain)


class FailedCommitIgnored(Database):
    """Takes an error at the end for a warning: everything was written, after all."""

    @staticmethod
    def _transact(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            with contextlib.suppress(sqlite3.Error):
                connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        return result


NETWORK_DEFECTS = (
    Defect(
        name="alarm-told-again-after-lost-answer",
        kind="retry",
        where="Outbox.deliver_pending",
        breaks="An alarm whose confirmation is lost is told a second time.",
        operations=1,
        deviations=1,
        parts=lambda parts: replace(parts, outbox=FailedMeansNotSent),
    ),
    Defect(
        name="failed-commit-acknowledged",
        kind="durability",
        where="Database.run",
        breaks="When the disk fails at the commit, an event is acknowledged and not stored.",
        operations=1,
        deviations=1,
        parts=lambda parts: replace(parts, database=FailedCommitIgnored),
    ),
)
