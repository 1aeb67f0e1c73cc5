"""Faults of names, disks and databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from desvelo.fault.connections import break_off, clients
from desvelo.fault.fault import Fault
from desvelo.world import sqlite

if TYPE_CHECKING:
    from desvelo.world import Operation, World


def _lookup_fails(world: World, operation: Operation, _variant: int) -> None:
    unknown = world.network.unknown
    unknown.add(operation.name)
    operation.on_end(lambda _: unknown.discard(operation.name))


def _disconnect(world: World, operation: Operation, _variant: int) -> None:
    for sock in clients(world, operation):
        # Only the connections of databases have somebody who knows their protocol.
        if sock.outgoing is not None and sock.outgoing.describer is not None:
            break_off(sock)


def _disk_full(_world: World, operation: Operation, _variant: int) -> None:
    sqlite.fail_next_write(operation.name)
    operation.on_end(lambda _: sqlite.forget_failures(operation.name))


def _sync_fails(_world: World, operation: Operation, _variant: int) -> None:
    sqlite.fail_next_sync(operation.name)
    operation.on_end(lambda _: sqlite.forget_failures(operation.name))


lookup_fails = Fault("lookup_fails", _lookup_fails, "the next look-up of a name by {} fails")
"""The operation's next look-up of a host name fails, as when the name server does not answer."""

disconnect = Fault("disconnect", _disconnect, "the database connections of {} break")
"""The connections to databases that are used for the operation break; their sessions end."""

disk_full = Fault("disk_full", _disk_full, "the disk is full when {} next writes to a database")
"""The next write to a SQLite database for the operation finds the disk full."""

sync_fails = Fault("sync_fails", _sync_fails, "the disk fails when {} next commits to it")
"""The next fsync of a SQLite database for the operation fails."""
