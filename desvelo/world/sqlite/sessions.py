"""One connection in the world: who uses it, what it holds, and what the trace says of it."""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from desvelo.errors import UnsupportedInWorld
from desvelo.world.actors import ACTOR, WORLD
from desvelo.world.inside import get_ident
from desvelo.world.sqlite import disk, system
from desvelo.world.sqlite.wording import is_setting, outcome, rows_text, short_sql, takes_write_lock
from desvelo.world.threads.points import wait_until
from desvelo.world.whereabouts import calling_line

if TYPE_CHECKING:
    from desvelo.world.threads.thread import ControlledThread
    from desvelo.world.trace import Row
    from desvelo.world.world import World

STATEMENT, WAITS, SETTING = "statement", "waits", "setting"
"""Kinds of rows of a trace; the story tells the first two, as it does of servers' statements."""

HOME = "home"
"""Stands for the loop's own thread, which outlives its world."""

_sessions: list[weakref.ref[Session]] = []
"""The connections that code in a world has made, the oldest first."""


class Session:
    """What the world knows of a connection beside what SQLite does."""

    __slots__ = (
        "__weakref__",
        "actor",
        "caller",
        "connection",
        "database",
        "maker",
        "owner",
        "patient",
        "query",
        "row",
        "sql",
        "stopped",
        "thread",
        "waited",
        "writes",
    )

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = weakref.ref(connection)
        self.database = ""
        """The file, or nothing for a database that no other connection can see."""
        self.owner: Any = None
        """Who alone may use it, `HOME` for the loop's, or nothing when everybody may."""
        self.maker = ACTOR.get()
        self.thread: ControlledThread | None = None
        """In which it was made, as long as the world lasts."""
        self.caller = 0
        """The thread that is inside SQLite with this connection, or 0."""
        self.actor = WORLD
        """Whose statement was the last."""
        self.sql = ""
        self.patient = True
        """Whether it would wait for a lock at all."""
        self.writes = False
        """Whether its open transaction has written."""
        self.waited = False
        self.stopped: BaseException | None = None
        """What ended the thread while it was inside SQLite, which knows no exceptions."""
        self.query: weakref.ref[Any] | None = None
        """The cursor of the last query, which may have rows left."""
        self.row: Row | None = None
        """The row of the last query, while its answer has not been fetched."""
        _sessions.append(weakref.ref(self))

    # what the connection does

    # `run` and `fetch` call few functions: where lines are traced, each call is an event.

    def run(self, world: World, sql: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Run a statement: others may run before it begins, and while it waits for a lock."""
        threads = world.threads
        if threads.running is not None:
            threads.point(f"executes {short_sql(sql)}" if world.tracing else "")
        outer = self.caller
        if outer or (self.owner is not None and self.owner is not (threads.running or HOME)):
            outer = self._take(world)
        self.caller = get_ident()
        self.sql = sql
        self.actor = ACTOR.get()
        try:
            result = call(*arguments)
        except Exception as error:
            self._failed(world, error)
            raise
        finally:
            self.caller = outer
        if self.waited:
            self._waited()
        connection = self.connection()
        if connection is None or not connection.in_transaction:
            self.writes = False
        elif not self.writes:
            self.writes = takes_write_lock(sql)
        if world.tracing:
            self._note_statement(world, result)
        return result

    def fetch(
        self, world: World, first: bool, call: Callable[..., Any], cursor: Any, *size: Any
    ) -> Any:
        """Fetch rows. The first fetch may end a query, and with it the lock that it holds."""
        threads = world.threads
        if first and threads.running is not None:
            connection = self.connection()
            if connection is not None and not connection.in_transaction:
                threads.point("fetches" if world.tracing else "")
        outer = self.caller
        if outer or (self.owner is not None and self.owner is not (threads.running or HOME)):
            outer = self._take(world)
        self.caller = get_ident()
        try:
            result = call(cursor, *size)
        finally:
            self.caller = outer
        if self.waited:
            self._waited()
        if first and world.tracing:
            self._note_rows(world, result)
        return result

    def use(self, world: World, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Do what no other connection can see, but what needs this one for itself."""
        outer = self._take(world)
        self.caller = get_ident()
        try:
            return call(*arguments, **options)
        finally:
            self.caller = outer
            if self.waited:
                self._waited()

    def _take(self, world: World) -> int:
        """Wait until no other thread has the connection: SQLite's own mutex would block it.

        Returns who has it now: this thread, if it is inside SQLite with it already, or 0.
        """
        self.check_owner(world)
        while self.caller not in (0, get_ident()):
            wait_until(lambda: self.caller == 0, "the connection", waits_for=self._user)
        return self.caller

    def check_owner(self, world: World) -> None:
        """Refuse what SQLite's own check refuses, but without the numbers of threads.

        The system gives the number of a thread that has ended to the next one: real runs may
        or may not notice. Here it is always noticed.
        """
        if self.owner is not None and self.owner is not (world.threads.running or HOME):
            raise sqlite3.ProgrammingError(
                "SQLite objects created in a thread can only be used in that same thread. The "
                f"object was created in thread {self.maker.lane} and this is thread "
                f"{ACTOR.get().lane}."
            )

    def before_close(self, world: World) -> None:
        """Let others run while an open transaction still holds what closing will let go."""
        if not self._in_transaction():
            return
        if world.threads.running is not None:
            world.threads.point("closes the connection")
        self._note(world, "closes the connection, which undoes its transaction")

    def paced(self, world: World, sql: str, parameters: Iterable[Any]) -> Iterator[Any]:
        """Hand out parameters one by one; outside a transaction others may run between."""
        for number, row in enumerate(parameters):
            if number and not self._in_transaction():
                # Between two executions SQLite holds nothing, not even the connection.
                self.caller = 0
                self._let_others_run(world, sql)
                self._take(world)
                self.caller = get_ident()
            yield row

    @contextmanager
    def stepwise(self, world: World, connection: Any) -> Iterator[None]:
        """Within it others may run before each statement of a script but the first."""
        if world.threads.running is None:
            yield
            return
        asked = connection._desvelo_traced
        started = False

        def begins(sql: str) -> None:
            nonlocal started
            if asked is not None:
                asked(sql)
            first, started = not started, True
            if first or sql.startswith("--") or self.stopped is not None:  # -- is in a trigger
                return
            try:
                self._let_others_run(world, sql)
            except BaseException as error:
                self.stopped, self.waited = error, True
                connection.interrupt()

        sqlite3.Connection.set_trace_callback(connection, begins)
        try:
            yield
        finally:
            sqlite3.Connection.set_trace_callback(connection, asked)

    def _let_others_run(self, world: World, sql: str) -> None:
        if world.threads.running is not None:
            world.threads.point(f"executes {short_sql(sql)}" if world.tracing else "")

    def _user(self) -> str:
        return f"the connection, in which {self.actor.lane} executes `{short_sql(self.sql)}`"

    # waiting

    def sleep(self, world: World, microseconds: int) -> None:
        """Sleep within SQLite, in virtual time; others run meanwhile."""
        if self.stopped is not None:
            return
        try:
            if not self.waited:
                self.waited = True
                self._note(world, f"{short_sql(self.sql)}  waits for {self.wanted()}", WAITS)
            wait_until(_never, "a database lock", timeout=microseconds / 1e6, waits_for=self.wanted)
        except BaseException as error:
            # Through SQLite no exception finds its way: it is raised again behind it.
            self.stopped = error

    def wanted(self) -> str:
        """Name the lock and who has it, where that is known."""
        lock = f"the lock of {os.path.basename(self.database)}" if self.database else "a lock"
        holder = self._holder()
        return f"{lock}, held by {holder.actor.lane}" if holder is not None else lock

    def _holder(self) -> Session | None:
        others = [
            other
            for other in sessions()
            if other is not self
            and other.database == self.database
            and (other.caller or other._in_transaction())
        ]
        return next((other for other in others if other.writes), others[0] if others else None)

    def _in_transaction(self) -> bool:
        connection = self.connection()
        try:
            return connection is not None and connection.in_transaction
        except sqlite3.ProgrammingError:  # closed before, or never opened
            return False

    def _waited(self) -> None:
        """Raise what ended the thread while it waited, if anything did."""
        self.waited = False
        stopped, self.stopped = self.stopped, None
        if stopped is not None:
            try:
                raise stopped
            finally:
                # Else its traceback would hold this frame, and with it the connection's locks.
                del stopped

    def let_go(self) -> None:
        """Give up every lock: an execution that is over must not be in the way of the next."""
        connection = self.connection()
        thread, self.thread = self.thread, None
        if connection is None or self.caller:
            return
        if thread is not None and thread.dying and not thread.works:
            # It was ended by the world and could not close what it had. The connections of a
            # pool's workers may serve the next execution.
            sqlite3.Connection.close(connection)
            return
        with suppress(sqlite3.Error):
            cursor = self.query() if self.query is not None else None
            if cursor is not None:
                # Whoever has it may go on to use it: so it is not closed.
                sqlite3.Cursor.execute(cursor, "SELECT NULL WHERE 0")
            sqlite3.Connection.rollback(connection)

    # what went wrong, and what the trace says

    def _failed(self, world: World, error: Exception) -> None:
        self.row = None
        if self.waited:
            self._waited()
        if not system.is_ours() and self.patient and must_wait(error):
            raise UnsupportedInWorld(
                f"a busy database at {calling_line()}: this Python hides the functions of its "
                "SQLite, so waiting for a lock would pass real time; use a Python whose module "
                "sqlite3 is linked with a shared libsqlite3"
            ) from error
        self._note(world, f"{short_sql(self.sql)}  ✗ {error}")

    def _note_statement(self, world: World, result: Any) -> None:
        kind = SETTING if is_setting(self.sql) else STATEMENT
        self._note(world, f"{short_sql(self.sql)}{outcome(result)}", kind)
        if world.trace is not None and getattr(result, "description", None) is not None:
            self.row = world.trace.rows[-1]

    def _note(self, world: World, text: str, kind: str = STATEMENT) -> None:
        if world.tracing:
            world.note(kind, ACTOR.get().lane, f"sqlite: {text}")

    def _note_rows(self, world: World, found: Any) -> None:
        """Complete the row of the query, or add one when others have run since."""
        asked, self.row = self.row, None
        if asked is None or world.trace is None:
            return
        rows = world.trace.rows
        if rows and rows[-1] is asked:
            rows[-1] = replace(asked, text=f"{asked.text}  ➜ {rows_text(found)}")
        else:
            self._note(world, f"fetches {rows_text(found)}")


def begin(world: World) -> None:
    """Forget the connections that are gone since the world before."""
    if system.enter(world):
        _sessions[:] = [reference for reference in _sessions if reference() is not None]


def end() -> None:
    """Undo what an execution has left open; its connections stay."""
    for session in sessions():
        session.let_go()


def sessions() -> Iterator[Session]:
    """Return the connections that are still there."""
    for reference in _sessions:
        session = reference()
        if session is not None:
            yield session


def must_wait(error: Exception) -> bool:
    """Tell whether SQLite said that somebody else has the lock, and that waiting may help."""
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY


def _never() -> bool:
    return False


def _sleep(world: World, microseconds: int) -> None:
    me = get_ident()
    for session in sessions():
        if session.caller == me:
            session.sleep(world, microseconds)
            return
    wait_until(_never, "a database lock", timeout=microseconds / 1e6)


system.on_sleep = _sleep


def _who_writes() -> str:
    me = get_ident()
    return next((one.actor.name for one in sessions() if one.caller == me), "")


disk.who_writes = _who_writes
