"""The real connections to one PostgreSQL, kept open from execution to execution."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from desvelo.errors import ServerGone
from desvelo.world import signals
from desvelo.world.held.postgres.connection import (
    Address,
    PostgresConnection,
    PostgresError,
    cancel_request,
)
from desvelo.world.held.postgres.kept import Kept
from desvelo.world.held.postgres.session import PostgresSession

if TYPE_CHECKING:
    from desvelo.servers.postgres import PostgresServer

_BLOCKERS = """
PREPARE desvelo_waits (int[]) AS
SELECT pid, pg_blocking_pids(pid) || pg_safe_snapshot_blocking_pids(pid) FROM unnest($1) AS pid
"""
_HELD_UP = """
PREPARE desvelo_held_up (int[]) AS
SELECT 1 FROM pg_stat_activity
WHERE pid = ANY($1) AND wait_event_type IN ('BufferPin', 'IPC', 'LWLock')
"""
_TOO_MANY = "53300"
_MAY_NOT = "42501"
_TELLING = (
    "-c deadlock_timeout=1ms -c log_lock_waits=on -c client_min_messages=log "
    "-c log_min_messages=fatal"
)
"""Options by which a session looks for a deadlock as soon as it waits, and tells that it has.

As soon as each waiting session has found none, only the one that closes a circle will find it:
the victim is the same in every run. That the server's log is sent to us is the telling; it is
written nowhere else.
"""
_UNTOLD_AFTER = 0.05
"""Real seconds after which a session is believed to wait although it did not tell."""


class PostgresBackend:
    """One real PostgreSQL: a pool of connections, and a side connection that looks at locks."""

    name = "PostgreSQL"

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._idle: dict[tuple[tuple[str, str], ...], list[Kept]] = {}
        self._side: PostgresConnection | None = None
        self._live: list[PostgresSession] = []
        self._untelling: set[str] = set()
        """Users whose sessions may not be made to tell what they wait for: no superusers."""

    # executions

    def begin(self) -> None:
        """Wait until all that the last execution left behind is undone."""
        for connections in self._idle.values():
            for connection in list(connections):
                try:
                    connection.wait_for_reset()
                except ServerGone:
                    connections.remove(connection)
                    connection.sock.close()

    def session(self, number: int) -> PostgresSession:
        """Return the session of a client that has just connected."""
        session = PostgresSession(self, number)
        self._live.append(session)
        return session

    def end(self, sessions: Collection[PostgresSession]) -> None:
        """Undo what an execution left open.

        Statements that wait are cancelled first: once the locks are free they would be
        carried out, and what is not in a transaction would stay.
        """
        self._live.clear()
        try:
            self._cancel_all([session for session in sessions if session.owing])
        finally:
            for session in sessions:
                connection, session.connection = session.connection, None
                if connection is not None:
                    with contextlib.suppress(ServerGone):
                        self.give_back(connection, usable=session.at_rest)

    def _cancel_all(self, owing: list[PostgresSession]) -> None:
        for session in owing:
            session.cancelled = True
            self.thaw(session)
            self._cancel(session)
        for session in owing:
            session.drain()

    # connections

    def connection(self, parameters: dict[str, str]) -> Kept:
        """Return a real connection with these start-up parameters, reset.

        Raises `PostgresError` with the server's answer when it does not let us in.
        """
        kind = tuple(sorted(parameters.items()))
        idle = self._idle.setdefault(kind, [])
        while idle:
            connection = idle.pop()
            try:
                connection.wait_for_reset()
            except ServerGone:
                connection.sock.close()
                self.check_alive()
                continue
            return connection
        try:
            connection = self._open(parameters)
        except PostgresError as error:
            if error.state != _TOO_MANY or not self._close_idle():
                raise
            connection = self._open(parameters)
        connection.kind = kind
        return connection

    def _open(self, parameters: dict[str, str]) -> Kept:
        server = self._server.address
        address = Address(
            server.host,
            server.port,
            parameters.get("user", server.user),
            server.password,
            parameters.get("database", parameters.get("user", server.user)),
        )
        options = parameters.get("options", "")
        if address.user not in self._untelling:
            try:
                return Kept(address, parameters | {"options": f"{_TELLING} {options}".strip()})
            except PostgresError as error:
                if error.state != _MAY_NOT:
                    raise
                self._untelling.add(address.user)
        connection = Kept(address, parameters)
        connection.tells = False
        return connection

    def close(self) -> None:
        """Close everything."""
        self._close_idle()
        side, self._side = self._side, None
        if side is not None:
            side.close()

    def _close_idle(self) -> bool:
        closed = False
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
                closed = True
            connections.clear()
        return closed

    def give_back(self, connection: Kept, *, usable: bool, wait: bool = False) -> None:
        """Take a connection back; ``wait`` until whatever it held is free."""
        if not usable:
            # In the middle of something: nothing but its end puts that right.
            try:
                with contextlib.suppress(PostgresError):
                    self._ask_side(f"SELECT pg_terminate_backend({connection.pid}, 5000)")
            finally:
                connection.sock.close()
            return
        connection.reset()
        if wait:
            connection.wait_for_reset()
        self._idle.setdefault(connection.kind, []).append(connection)

    # looking at locks

    def numbers(self) -> dict[int, int]:
        """Return the sessions' numbers by the server's process numbers."""
        return {session.pid: session.number for session in self._live if session.pid}

    def waiting(
        self,
        asked: Collection[PostgresSession],
        sessions: Collection[PostgresSession],
        silence: float,
    ) -> dict[PostgresSession, str]:
        """Return which of these sessions wait, provably, for one that is not running.

        A circle of waiting sessions is not among them: PostgreSQL is going to break it.
        """
        candidates = [
            session
            for session in asked
            if not session.cancelled
            and (session.checked or not session.tells or silence > _UNTOLD_AFTER)
        ]
        if not candidates:
            return {}
        stopped = [session for session in sessions if session not in asked and session.owing]
        blockers = self._blockers([*candidates, *stopped])
        by_pid = {session.pid: session for session in sessions if session.pid}
        standing = {pid for pid, session in by_pid.items() if session not in asked}
        standing.add(0)  # a prepared transaction: nobody's process, and not running
        proven: dict[PostgresSession, str] = {}
        while True:
            more = [
                session
                for session in candidates
                if session not in proven
                and blockers.get(session.pid)
                and blockers[session.pid] <= standing
                and not _in_a_circle(session.pid, blockers)
            ]
            if not more:
                return proven
            for session in more:
                standing.add(session.pid)
                holders = sorted(
                    by_pid[pid].number for pid in blockers[session.pid] if pid in by_pid
                )
                proven[session] = "a lock held by " + (
                    " and ".join(f"session {number}" for number in holders)
                    or "a prepared transaction"
                )

    def _blockers(self, sessions: Collection[PostgresSession]) -> dict[int, set[int]]:
        """Return which processes the processes of these sessions wait for."""
        listed = ",".join(str(session.pid) for session in sessions)
        rows = self._ask_side(f"EXECUTE desvelo_waits ('{{{listed}}}')")
        return {
            int(pid): {int(number) for number in (by or "{}").strip("{}").split(",") if number}
            for pid, by in rows
            if pid is not None
        }

    def pry(self, sessions: Collection[PostgresSession]) -> bool:
        """Ask idle sessions that listen for their notifications."""
        listening = [one for one in sessions if one.listens and one.at_rest and not one.over]
        for session in listening:
            session.ask_for_notifications()
        return bool(listening)

    def freeze(self, session: PostgresSession) -> None:
        """Stop the process of a session that waits, when it is ours to stop.

        When a lock becomes free several of those who wait may go on at once, and which of them
        is first is for the kernel to say. So they are woken one by one.
        """
        if self._server.ours and not session.frozen:
            session.frozen = self._signal(session, signal.SIGSTOP)

    def thaw(self, session: PostgresSession) -> None:
        """Let the process of a session go on."""
        if session.frozen:
            session.frozen = False
            self._signal(session, signal.SIGCONT)

    @staticmethod
    def _signal(session: PostgresSession, number: int) -> bool:
        try:
            signals._real_kill(session.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def held_up(self, sessions: Collection[PostgresSession]) -> bool:
        """Tell whether one of these sessions waits for something other than a lock."""
        listed = ",".join(str(session.pid) for session in sessions)
        return bool(self._ask_side(f"EXECUTE desvelo_held_up ('{{{listed}}}')"))

    def _ask_side(self, sql: str) -> list[list[str | None]]:
        if self._side is None:
            self._side = PostgresConnection(self._server.address)
            self._side.query(_BLOCKERS + ";" + _HELD_UP)
        try:
            return self._side.query(sql)
        except ServerGone:
            self._side = None
            raise

    def cancel(self, number: int) -> None:
        """Cancel the statement of a session, as a client asks for it by number."""
        for session in self._live:
            if session.number == number and session.owing:
                session.cancelled = True
                self.thaw(session)
                self._cancel(session)

    def _cancel(self, session: PostgresSession) -> None:
        connection = session.connection
        assert connection is not None
        with contextlib.closing(self._server.address.open()) as sock:
            sock.sendall(cancel_request(connection.pid, connection.key))
            sock.recv(1)  # it is closed when the signal has been sent

    def check_alive(self) -> None:
        """Raise `ServerGone` when the server cannot be reached any more."""
        side, self._side = self._side, None
        if side is not None:
            side.sock.close()
        try:
            self._ask_side("SELECT 1")
        except PostgresError as error:
            raise ServerGone(f"PostgreSQL does not let us in any more: {error}") from error


def _in_a_circle(pid: int, blockers: Mapping[int, Collection[int]]) -> bool:
    """Tell whether a process waits for itself, by way of others.

    >>> _in_a_circle(1, {1: {2}, 2: {3}, 3: {1}}), _in_a_circle(1, {1: {2}, 2: {3}, 3: {2}})
    (True, False)
    """
    reached: set[int] = set()
    following = set(blockers[pid])
    while following:
        reached |= following
        following = {by for one in following for by in blockers.get(one, ())} - reached
    return pid in reached
