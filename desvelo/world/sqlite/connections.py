"""Connections and cursors as code in the world gets them: subclasses of what it asked for.

A factory of the user's is derived from together with the class below, which comes after it in
the order of resolution: whatever the user's class does, in the end it calls ours.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import sys
import types
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from desvelo.world.inside import current
from desvelo.world.sqlite import system
from desvelo.world.sqlite.sessions import HOME, Session, begin
from desvelo.world.whereabouts import is_foreign, is_installed

_real_connect: Callable[..., sqlite3.Connection] = sqlite3.connect
_Base = sqlite3.Connection
_BaseCursor = sqlite3.Cursor

_isolation_level: Any = vars(_Base)["isolation_level"]
_autocommit: Any = vars(_Base).get("autocommit")

_PARAMETERS = (
    "timeout",
    "detect_types",
    "isolation_level",
    "check_same_thread",
    "factory",
    "cached_statements",
    "uri",
)
"""What ``sqlite3.connect`` takes behind the database, in this order."""


class WorldCursor(sqlite3.Cursor):
    """A cursor whose statements are points at which other threads may run."""

    _desvelo_unfetched = False
    """Whether it has rows of which none has been fetched."""

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        """Execute one statement."""
        world = current()
        if world is None:
            return _BaseCursor.execute(self, sql, parameters)
        session = self.connection._desvelo_session or session_of(self.connection)  # type: ignore[attr-defined]
        self._desvelo_unfetched = False
        try:
            session.run(world, sql, _BaseCursor.execute, self, sql, parameters)
        except sqlite3.Error as error:
            del self  # see `without_frames`
            raise without_frames(error)  # noqa: B904 - it is the same error
        if self.description is not None:
            self._desvelo_unfetched = True
            session.query = weakref.ref(self)
        return self

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
        """Execute one statement many times; without a transaction others may run between."""
        world = current()
        if world is None:
            return _BaseCursor.executemany(self, sql, parameters)
        session = session_of(self.connection)
        self._desvelo_unfetched = False
        paced = session.paced(world, sql, parameters)
        try:
            return session.run(world, sql, _BaseCursor.executemany, self, sql, paced)
        except sqlite3.Error as error:
            del self  # as above
            raise without_frames(error)  # noqa: B904 - as above

    def executescript(self, script: str, /) -> Any:
        """Execute statements one after the other; others may run before each."""
        world = current()
        if world is None:
            return _BaseCursor.executescript(self, script)
        connection = self.connection
        session = session_of(connection)
        self._desvelo_unfetched = False
        try:
            with session.stepwise(world, connection):
                return session.run(world, script, _BaseCursor.executescript, self, script)
        except sqlite3.Error as error:
            del self  # as above
            raise without_frames(error)  # noqa: B904 - as above

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        return self._desvelo_fetch(_BaseCursor.fetchone)

    def fetchmany(self, *size: Any, **named: Any) -> list[Any]:
        """Return the next rows."""
        return self._desvelo_fetch(_BaseCursor.fetchmany, *size, *named.values())  # type: ignore[no-any-return]

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""
        return self._desvelo_fetch(_BaseCursor.fetchall)  # type: ignore[no-any-return]

    def __next__(self) -> Any:
        return self._desvelo_fetch(_BaseCursor.__next__)

    def close(self) -> None:
        """Close the cursor and end its query."""
        world = current()
        if world is None:
            _BaseCursor.close(self)
        else:
            session_of(self.connection).use(world, _BaseCursor.close, self)

    def _desvelo_fetch(self, call: Callable[..., Any], *size: Any) -> Any:
        world = current()
        if world is None:
            return call(self, *size)
        session = self.connection._desvelo_session or session_of(self.connection)  # type: ignore[attr-defined]
        first, self._desvelo_unfetched = self._desvelo_unfetched, False
        return session.fetch(world, first, call, self, *size)


def without_frames(error: sqlite3.Error) -> sqlite3.Error:
    """Forget the functions of ours that an error has come through.

    They hold the cursor. One of C would not; and a connection that is closed while a cursor of
    it lives keeps its locks, so who catches the error would keep others out.
    """
    return error.with_traceback(None)


class WorldConnection(sqlite3.Connection):
    """A connection whose commits and rollbacks are points at which other threads may run."""

    _desvelo_session: Session | None = None
    _desvelo_traced: Callable[[str], object] | None = None
    """What the user has asked to be told of each statement."""

    def cursor(self, factory: Any = sqlite3.Cursor) -> Any:
        """Make a cursor of the world."""
        world, session = current(), self._desvelo_session
        if world is not None and session is not None:
            session.check_owner(world)
        return _Base.cursor(self, in_world(factory, WorldCursor))

    def execute(self, sql: str, *parameters: Any) -> Any:
        """Execute one statement with a cursor of its own."""
        return _Base.cursor(self, _CURSOR).execute(sql, *parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
        """Execute one statement many times with a cursor of its own."""
        return _Base.cursor(self, _CURSOR).executemany(sql, parameters)

    def executescript(self, script: str, /) -> Any:
        """Execute statements one after the other with a cursor of their own."""
        return _Base.cursor(self, _CURSOR).executescript(script)

    def commit(self) -> None:
        """End the transaction, if there is one."""
        self._desvelo_end("COMMIT", _Base.commit)

    def rollback(self) -> None:
        """Undo the transaction, if there is one."""
        self._desvelo_end("ROLLBACK", _Base.rollback)

    def __exit__(self, *details: object) -> Literal[False]:
        sql = "COMMIT" if details == (None, None, None) else "ROLLBACK"
        self._desvelo_end(sql, _Base.__exit__, *details)
        return False

    def close(self) -> None:
        """Close it, which undoes a transaction that is open."""
        world = current()
        if world is None:
            _Base.close(self)
            return
        session = session_of(self)
        try:
            session.before_close(world)
        finally:
            session.use(world, _Base.close, self)

    def blobopen(self, *arguments: Any, **options: Any) -> Any:
        """Open a blob, which begins to read or to write."""
        world = current()
        if world is None:
            return _Base.blobopen(self, *arguments, **options)
        call = functools.partial(_Base.blobopen, self, *arguments, **options)
        return session_of(self).run(world, "-- blobopen()", call)

    def backup(self, target: sqlite3.Connection, **options: Any) -> None:
        """Copy the database; between two steps others run while it sleeps."""
        world = current()
        if world is None:
            _Base.backup(self, target, **options)
        else:
            call = functools.partial(_Base.backup, self, target, **options)
            session_of(self).run(world, "-- backup()", call)

    def set_trace_callback(self, *arguments: Any, **named: Any) -> None:
        """Keep it in mind too: ours takes its place while a script runs."""
        _Base.set_trace_callback(self, *arguments, **named)
        (self._desvelo_traced,) = (*arguments, *named.values())

    def _set_isolation_level(self, level: Any) -> None:
        def assign(connection: sqlite3.Connection) -> None:
            _isolation_level.__set__(connection, level)

        if level is None:
            # From Python 3.6 on this commits what is open.
            self._desvelo_end("COMMIT", assign)
        else:
            assign(self)

    isolation_level = property(_isolation_level.__get__, _set_isolation_level)

    def _desvelo_end(self, sql: str, call: Callable[..., Any], *arguments: Any) -> None:
        world = current()
        if world is None:
            call(self, *arguments)
        elif self.in_transaction:
            session_of(self).run(world, sql, call, self, *arguments)
        else:
            session_of(self).use(world, call, self, *arguments)


def _set_autocommit(connection: WorldConnection, mode: Any) -> None:
    connection._desvelo_end(
        "COMMIT" if mode is True else "-- autocommit = False",
        lambda self: _autocommit.__set__(self, mode),
    )


if _autocommit is not None:
    WorldConnection.autocommit = property(  # type: ignore[assignment,attr-defined,misc,unused-ignore] # since 3.12
        _autocommit.__get__, _set_autocommit
    )


def _exclusively(name: str) -> Callable[..., Any]:
    """Return a method that waits until no other thread is inside SQLite with the connection."""
    real = getattr(_Base, name)

    @functools.wraps(real)
    def method(self: WorldConnection, *arguments: Any, **options: Any) -> Any:
        world = current()
        if world is None:
            return real(self, *arguments, **options)
        return session_of(self).use(world, real, self, *arguments, **options)

    return method


for _name in (
    "create_aggregate",
    "create_collation",
    "create_function",
    "create_window_function",
    "deserialize",
    "serialize",
    "set_authorizer",
    "set_progress_handler",
):
    if hasattr(_Base, _name):
        setattr(WorldConnection, _name, _exclusively(_name))


def _finalize(self: WorldConnection) -> None:
    """Warn of a connection that nobody has closed, unless the world has ended who was to."""
    world = current()
    running = world.threads.running if world is not None else None
    if running is not None and running.dying:
        _Base.close(self)
    _Base.__del__(self)  # type: ignore[attr-defined,unused-ignore] # since 3.13


if hasattr(_Base, "__del__"):
    WorldConnection.__del__ = _finalize  # type: ignore[attr-defined,unused-ignore] # as above


def session_of(connection: Any) -> Session:
    """Return what the world knows of a connection."""
    session: Session | None = connection._desvelo_session
    if session is None:
        session = connection._desvelo_session = Session(connection)
    return session


@functools.lru_cache(maxsize=64)
def _derived(asked: type, ours: type) -> type:
    if issubclass(asked, ours):
        return asked
    bases = (ours,) if asked in (_Base, _BaseCursor) else (asked, ours)

    def body(namespace: dict[str, Any]) -> None:
        namespace["__module__"] = asked.__module__
        namespace["__qualname__"] = asked.__qualname__
        namespace["__doc__"] = asked.__doc__

    return types.new_class(asked.__name__, bases, exec_body=body)


def in_world(factory: Any, ours: type) -> Any:
    """Return a class that is what was asked for and ours too.

    A factory that is a function is left as it is: what it makes is its own affair.

    >>> class Own(sqlite3.Connection): ...
    >>> derived = in_world(Own, WorldConnection)
    >>> derived.__name__, issubclass(derived, Own), issubclass(derived, WorldConnection)
    ('Own', True, True)
    """
    return _derived(factory, ours) if isinstance(factory, type) else factory


_CURSOR: Any = in_world(_BaseCursor, WorldCursor)


def _connect(database: Any, *arguments: Any, **options: Any) -> sqlite3.Connection:
    world = current()
    if world is None:
        return _real_connect(database, *arguments, **options)
    begin(world)
    given = dict(zip(_PARAMETERS, arguments, strict=False)) | options
    given["factory"] = in_world(given.get("factory", _Base), WorldConnection)
    # The check is ours: at the end of the world its own thread lets the locks go.
    checks = bool(given.get("check_same_thread", True))
    given["check_same_thread"] = False
    patient = bool(given.get("timeout", 5.0))
    if not system.is_ours():
        # SQLite would sleep for real while all others wait for this thread.
        given["timeout"] = 0.0
    connection = _real_connect(database, **given)
    if isinstance(connection, WorldConnection):
        session = session_of(connection)
        session.database = _file_of(database, uri=bool(given.get("uri")))
        session.thread = world.threads.running
        session.owner = (session.thread or HOME) if checks else None
        session.patient = patient
    return connection


def _file_of(database: Any, *, uri: bool) -> str:
    """Return the file of a database, or nothing for one in memory.

    >>> _file_of(":memory:", uri=False), _file_of("file:/a/b.db?mode=ro", uri=True)
    ('', '/a/b.db')
    """
    name = os.fsdecode(database)
    if uri and name.startswith("file:"):
        name = name.removeprefix("file:").partition("?")[0]
    return os.path.realpath(name) if name and not name.startswith(":memory:") else ""


def replacements() -> dict[str, Any]:
    """Return what stands in for which function, by dotted name."""
    return {"sqlite3.connect": _connect}


_told: set[int] = set()
_looked_at = 0
"""How many modules there were when they were last looked through."""


def warn_of_earlier_ones() -> None:
    """Warn, once each, of connections that the user's modules made before there was a world.

    Their statements are no points at which others run, and one of them that has to wait for a
    lock holds everything up in real time.
    """
    global _looked_at  # noqa: PLW0603 - the process has one list of modules
    if len(sys.modules) == _looked_at:
        return
    _looked_at = len(sys.modules)
    for name, connection in _made_before():
        if id(connection) not in _told:
            _told.add(id(connection))
            warnings.warn(
                f"{name} is a connection of sqlite3 made when its module was imported: in the "
                "simulated world its statements are one with the lines around them, and it waits "
                "for locks in real time; make it in setup()",
                RuntimeWarning,
                stacklevel=2,
            )


def _made_before() -> Iterator[tuple[str, sqlite3.Connection]]:
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if not isinstance(file, str) or is_foreign(file) or is_installed(file):
            continue
        for attribute, value in list(vars(module).items()):
            if isinstance(value, _Base) and not isinstance(value, WorldConnection):
                yield f"{name}.{attribute}", value
