"""One controlled thread: what it runs, whether it holds the baton, and what it waits for."""

from __future__ import annotations

import _thread
import ctypes
from collections.abc import Callable
from typing import Any, NoReturn, Self

from desvelo.world.actors import Actor

_allocate_lock = _thread.allocate_lock


class ThreadExit(BaseException):
    """Ends a parked thread at the end of an execution; never seen by whoever judges it."""

    swallowed: Callable[[], object] | None = None
    """Called as soon as it is dropped: an error out of a trace function takes that function away,
    and code that catches everything would run on unseen."""

    def __init__(self, swallowed: Callable[[], object] | None = None) -> None:
        self.swallowed = swallowed

    def __del__(self) -> None:
        if self.swallowed is not None:
            self.swallowed()


def stand_still() -> NoReturn:
    """Sleep for ever, in the thread that calls this."""
    gate = _allocate_lock()
    while True:
        gate.acquire()


class Standstill(ThreadExit):
    """Stops a thread that nothing has ended: as this is made, in that thread, it stands still."""

    def __new__(cls) -> Self:
        """Never return."""
        stand_still()


_set_async_error: Any = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_async_error.argtypes = (ctypes.c_ulong, ctypes.py_object)


class Wait:
    """A thread that is blocked: until when, and in whose words."""

    __slots__ = ("ready", "thread", "timed_out", "waits_for", "why")

    def __init__(
        self,
        thread: ControlledThread,
        ready: Callable[[], bool],
        why: str,
        waits_for: Callable[[], str] | None,
    ) -> None:
        self.thread = thread
        self.ready = ready
        self.why = why
        self.waits_for = waits_for
        self.timed_out = False

    def is_over(self) -> bool:
        """Tell whether the thread may go on."""
        return self.timed_out or self.ready()


class ControlledThread:
    """A thread of the operating system that runs only while it holds the baton."""

    __slots__ = (
        "actor",
        "begun",
        "children",
        "daemon",
        "dying",
        "ended",
        "error",
        "exits",
        "gate",
        "ident",
        "line_was_point",
        "name",
        "on_end",
        "parked",
        "run",
        "slices",
        "started_at",
        "streak",
        "title",
        "turn",
        "wait",
        "watch_again",
        "works",
        "yields",
    )

    def __init__(
        self,
        name: str,
        actor: Actor,
        run: Callable[[], Any],
        *,
        daemon: bool = True,
        on_end: Callable[[ControlledThread], None] | None = None,
        started_at: str = "",
    ) -> None:
        self.name = name
        """What its decisions are called by; no two of one world have the same."""
        self.actor = actor
        self.run = run
        self.daemon = daemon
        self.on_end = on_end
        self.started_at = started_at
        self.title = ""
        self.gate: Any = None
        """Held by the thread while it must not run; made when it is parked first."""
        self.ident = 0
        self.works = False
        """Whether it belongs to a pool of the event loop."""
        self.begun = False
        self.ended = False
        self.dying = False
        self.parked = False
        self.turn: list[None] = []
        """Holds one item while the thread has the baton. Whoever takes that out decides who goes
        on: the thread by giving the baton back, or the hub by giving up the thread."""
        self.watch_again: Callable[[], object] | None = None
        """Puts its trace function in place again."""
        self.exits = 0
        """How often it was told to end and went on."""
        self.error: BaseException | None = None
        self.wait: Wait | None = None
        self.children: dict[str, int] = {}
        """How many threads it has started, by name."""
        self.streak = 0
        """Switch points passed since somebody else ran."""
        self.slices = 0
        """Slices of time that it had since it last waited."""
        self.yields = 0
        self.line_was_point: Any = None
        """The frame whose line was the last switch point, while nothing has come of it."""

    def __repr__(self) -> str:
        state = "ended" if self.ended else "waits" if self.wait else "ready"
        return f"<ControlledThread {self.name} {state}>"

    def take_turn(self) -> bool:
        """Take the right to say who goes on; False when somebody else has it."""
        try:
            self.turn.pop()
        except IndexError:
            return False
        return True

    def stop_for_good(self) -> None:
        """Let the thread run no instruction more, as soon as it runs Python code again."""
        self.dying = self.ended = True
        _set_async_error(self.ident, Standstill)

    def new_gate(self) -> Any:
        """Make the gate, closed."""
        self.gate = gate = _allocate_lock()
        gate.acquire()
        return gate
