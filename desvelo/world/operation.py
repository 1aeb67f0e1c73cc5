"""An operation: a call that somebody makes, concurrently with others."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import linecache
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from desvelo.errors import UsageError
from desvelo.schedule.decisions import MAX_HOLD, ORDERS
from desvelo.world.actors import ACTOR, Actor
from desvelo.world.jobs import short_repr
from desvelo.world.suspensions import Suspending
from desvelo.world.threads.thread import ControlledThread
from desvelo.world.whereabouts import display_path, suspended_frame

if TYPE_CHECKING:
    from desvelo.world.events import PendingEvent
    from desvelo.world.world import World


class Operation:
    """A started call: pending, running, or ended with a result or an error."""

    __slots__ = (
        "_cancellation",
        "_on_end",
        "_suspending",
        "_world",
        "begun_at",
        "call",
        "cancel_wanted",
        "done",
        "ended_at",
        "error",
        "life",
        "name",
        "result",
        "strikes",
        "task",
        "thread",
    )

    def __init__(self, world: World, name: str, call: Callable[[], Any]) -> None:
        self._world = world
        self.name = name
        self.call = call
        self.task: asyncio.Task[Any] | None = None
        self.thread: ControlledThread | None = None
        self.begun_at = -1
        self.ended_at = -1
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.cancel_wanted = False
        self.life = (0, 0)
        """Where decisions on its cancellation are taken: the polls of its beginning, or of its
        last cancellation, and of its end."""
        self.strikes: list[int] = []
        """At which of its suspension points the schedule cancelled it."""
        self._suspending: Suspending | None = None
        self._cancellation: PendingEvent | None = None
        self._on_end: list[Callable[[Operation], None]] = []

    def __repr__(self) -> str:
        return f"<Operation {self.name} {self.state}>"

    @property
    def state(self) -> str:
        """``waiting``, ``running``, ``returned``, ``raised`` or ``cancelled``."""
        if not self.done:
            return "running" if self.begun_at >= 0 else "waiting"
        if isinstance(self.error, asyncio.CancelledError):
            return "cancelled"
        return "raised" if self.error is not None else "returned"

    @property
    def cancelled(self) -> bool:
        """Whether it ended by being cancelled."""
        return self.state == "cancelled"

    def begin(self) -> None:
        """Start the call; the loop runs this as it runs the callback of a reader."""
        if self.done:
            return
        world = self._world
        self.begun_at = world.next_moment()
        context = contextvars.Context()
        context.run(ACTOR.set, Actor(self.name))
        if world.tracing:
            world.note("begin", self.name, f"{self.name} starts")
        try:
            outcome = context.run(self.call)
        except BaseException as error:
            if world.is_control(error):
                raise
            self._end(None, error)
            return
        if not asyncio.iscoroutine(outcome):
            if not hasattr(outcome, "__await__"):
                self._end(outcome, None)
                return
            outcome = _await(outcome)
        may_be_cancelled = world.may_cancel(self.name)
        if may_be_cancelled:
            outcome = self._suspending = Suspending(outcome)
        self.task = world.loop.create_task(outcome, name=self.name, context=context)
        self.task.add_done_callback(self._on_done, context=context)
        if may_be_cancelled:
            self._decide_on_cancellation()

    def begin_thread(self) -> None:
        """Start the call as a thread of its own, which has the baton until it gives it back."""
        if self.done:
            return
        world = self._world
        self.begun_at = world.next_moment()
        if world.tracing:
            world.note("begin", self.name, f"{self.name} starts")
        self.thread = world.threads.spawn(
            self.name,
            self._run_as_thread,
            daemon=False,
            on_end=self._on_thread_end,
            title=self.name,
        )
        world.threads.resume(self.thread)

    def _run_as_thread(self) -> None:
        self.result = self.call()

    def _on_thread_end(self, thread: ControlledThread) -> None:
        if asyncio.iscoroutine(self.result):
            self.result.close()
            self.result = None
            thread.error = UsageError(
                f"operation {self.name!r} is an async function; with runtime 'threads' all "
                "functions are plain ones, each operation being a thread"
            )
        self._end(self.result, thread.error)

    def cancel(self, deviation: str = "") -> None:
        """Cancel the call where it is; one that has not started never will.

        A thread cannot be cancelled: one that runs goes on. ``deviation`` names the decision that
        wants it, for the trace.
        """
        self.cancel_wanted = True
        if self._world.tracing and not self.done:
            self._note_cancellation(deviation)
        if self.task is not None:
            self.task.cancel()
        elif not self.done and self.thread is None:
            self._end(None, asyncio.CancelledError())

    @property
    def suspensions(self) -> int:
        """How often it has let others run, where its cancellation is a decision."""
        return 0 if self._suspending is None else self._suspending.count

    def _decide_on_cancellation(self) -> None:
        """Let the schedule say whether, and how many polls from now, it is cancelled."""
        world = self._world
        self.life = (world.selector.polls, world.selector.polls)
        if not world.may_cancel(self.name):
            return
        value = world.decide("cancel", self.name, MAX_HOLD)
        if not value:
            return
        key = str(world.recorder.deviations[-1].key) if world.tracing else ""
        strike = functools.partial(self._strike, key)
        if value < ORDERS:
            strike()
        else:
            self._cancellation = world.selector.cancel_after(value, self.name, strike)

    def _strike(self, key: str) -> None:
        self._cancellation = None
        if not self.done:
            self.strikes.append(self.suspensions)
            self.cancel(key)
            self._decide_on_cancellation()

    def _note_cancellation(self, key: str) -> None:
        """Write down where it is cancelled, and whether its wait was over already."""
        task = self.task
        frame = None if task is None else suspended_frame(task.get_coro())
        text = f"{self.name} is cancelled"
        if frame is None or frame.f_lasti < 0:
            self._world.note("cancel", self.name, f"{text} before it has run a line", "", key)
            return
        file, line = frame.f_code.co_filename, frame.f_lineno
        waits_for = getattr(task, "_fut_waiter", None)
        served = ", when its wait was just over" if waits_for is None or waits_for.done() else ""
        source = linecache.getline(file, line).strip()
        where = f"{display_path(file)}:{line}"
        self._world.note("cancel", self.name, f"{text} at `{source}`{served}", where, key)

    def on_end(self, callback: Callable[[Operation], None]) -> None:
        """Call back when it ends; at once if it has."""
        if self.done:
            callback(self)
        else:
            self._on_end.append(callback)

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self._end(None, asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self._end(None, error)
        else:
            self._end(task.result(), None)

    def _end(self, result: Any, error: BaseException | None) -> None:
        world = self._world
        self.done = True
        self.life = (self.life[0], world.selector.polls)
        if self._cancellation is not None:
            world.selector.withdraw(self._cancellation)
        self.result, self.error = result, error
        self.ended_at = world.next_moment()
        if world.tracing:
            world.note("end-of-operation", self.name, f"{self.name} {self.outcome()}")
        callbacks, self._on_end = self._on_end, []
        for callback in callbacks:
            callback(self)

    def outcome(self) -> str:
        """Say how it ended."""
        if not self.done:
            return self.state
        if self.error is None:
            return f"returns {short_repr(self.result)}"
        if self.cancelled:
            return "ends cancelled"
        return f"raises {type(self.error).__name__}: {self.error}"


async def _await(awaitable: Any) -> Any:
    return await awaitable
