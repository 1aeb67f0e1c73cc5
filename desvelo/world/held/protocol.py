"""What the bridge asks of a protocol, so that PostgreSQL and Redis are held in the same way.

A *backend* stands for one real server and keeps its real connections open from execution to
execution. A *session* is what one client of the simulated world has with that server: it reads
the client's bytes, hands them to a real connection, and knows when the server owes an answer.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol


class Session(Protocol):
    """One client's session with a real server."""

    number: int
    """Its place among the sessions of the execution, from 1; stories and traces name it so."""

    over: bool
    """Whether the session has ended, so that the client is to see the end of the stream."""

    @property
    def owing(self) -> bool:
        """Whether the server has been asked for something that it has not completely answered."""

    def hear_client(self, data: bytes) -> None:
        """Take bytes that have arrived from the client; send on to the server what is complete."""

    def hear_server(self) -> bool:
        """Read what the real connection has, without waiting.

        Returns whether an answer was completed by it. Raises `ServerGone` when the server died.
        """

    def report(self) -> str:
        """Say what was carried out since the last report and what came of it, or nothing.

        It is a row of the trace and the story; only asked while a trace is kept, before `take`.
        """

    def take(self) -> bytes:
        """Return, once, what the client is to be sent now: complete answers only."""

    def client_left(self) -> None:
        """Learn that the client closed its connection or broke it."""

    def fileno(self) -> int:
        """Return the descriptor of the real connection; only asked while the session is owing."""

    def doing(self) -> str:
        """Say what the server is doing for it: the text of the statement, or nothing."""

    def describe(self, data: bytes, *, sent: bool) -> str:
        """Describe a piece of the stream for the trace, the same in every run.

        ``sent`` tells the client's bytes from the server's. It must not depend on sizes of
        names that a driver counts up in the process, nor be confused by a piece that was cut.
        """


class Backend(Protocol):
    """One real server, for all executions of this process."""

    name: str
    """What it is called in traces and stories, such as ``PostgreSQL``."""

    def begin(self) -> None:
        """Prepare for an execution: what the last one left behind is gone after this."""

    def session(self, number: int) -> Session:
        """Return the session of a client that has just connected."""

    def waiting(
        self, asked: Collection[Any], sessions: Collection[Any], silence: float
    ) -> dict[Any, str]:
        """Return those of the owing sessions ``asked`` that provably wait for another session.

        The value says for whom, as in ``a lock held by session 2``. ``sessions`` are all that are
        open; those of them that are not asked about do not run. Only such sessions may be named
        that cannot go on before another one, which does not run, is sent something. ``silence``
        is for how many real seconds nothing has come. May take real time.
        """

    def freeze(self, session: Any) -> None:
        """Learn that a session waits, and see that it does not go on by itself, if possible."""

    def thaw(self, session: Any) -> None:
        """Let a session go on."""

    def held_up(self, sessions: Collection[Any]) -> bool:
        """Tell whether one of these running sessions may need one that is frozen, to go on.

        Asked when an answer takes long. One that only works long needs nobody.
        """

    def pry(self, sessions: Collection[Any]) -> bool:
        """Ask for what the server may tell sessions unasked, after others were answered.

        So it comes now and not some time. Returns whether any session is owing again by this.
        """

    def end(self, sessions: Collection[Any]) -> None:
        """Give the connections of an execution back: undo what it left open, without waiting."""

    def close(self) -> None:
        """Close all real connections; nobody uses the server any more."""


class RealServer(Protocol):
    """What ``World(servers=[...])`` takes: where a server is, and its backend."""

    @property
    def host(self) -> str:
        """A name or an address."""

    @property
    def port(self) -> int:
        """The port."""

    def held(self) -> Backend:
        """Return the backend of this server; the same one each time."""
