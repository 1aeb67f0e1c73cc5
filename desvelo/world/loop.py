"""The event loop: stock asyncio's own, standing on our selector, sockets and clock.

``_run_once``, the ready queue, transports, protocols and servers are those of the standard
library. What is replaced is what the library itself asks of the operating system: time,
names, threads of an executor, signals and child processes.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import re
import socket
import weakref
from asyncio import events, unix_events
from collections import deque
from collections.abc import Callable, Coroutine, Generator, MutableMapping
from typing import TYPE_CHECKING, Any

from desvelo.errors import UnsupportedInWorld
from desvelo.schedule.decisions import MAX_HOLD
from desvelo.world.actors import ACTOR
from desvelo.world.fences import NO_PROCESS
from desvelo.world.names import is_literal
from desvelo.world.order import OrderedReferences
from desvelo.world.whereabouts import calling_line

if TYPE_CHECKING:
    from desvelo.world.selector import WorldSelector
    from desvelo.world.world import World

_SLEEP = asyncio.futures._set_result_unless_cancelled  # type: ignore[attr-defined]
_COUNTED = re.compile(r"Task-\d+|None")
"""A name that asyncio gives, by a count over all that the process has made, or for want of one."""
TIMER_DECISIONS_WITHIN = 10.0
"""Timers further away than this many seconds are not raced against the work at hand."""


class WorldTask(asyncio.Task):  # type: ignore[type-arg]
    """A task whose hash is its number, so that sets of tasks iterate the same in every run."""

    def __init__(self, coro: Any, *, number: int, **options: Any) -> None:
        self._desvelo_number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._desvelo_number


class WorldFuture(asyncio.Future):  # type: ignore[type-arg]
    """A future whose hash is its number."""

    def __init__(self, *, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._desvelo_number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._desvelo_number


class WorldLoop(unix_events._UnixSelectorEventLoop):
    """The stock selector loop of Unix in a simulated world."""

    if TYPE_CHECKING:
        # What asyncio's own classes keep, and typeshed does not tell of.
        _default_executor: Any
        _exception_handler: Any
        _internal_fds: int
        _ready: deque[asyncio.Handle]
        _scheduled: list[asyncio.TimerHandle]
        _selector: WorldSelector
        _signal_handlers: dict[int, asyncio.Handle]
        _task_factory: Any
        _timer_cancelled_count: int
        _transports: MutableMapping[int, Any]
        _add_callback: Callable[[asyncio.Handle], None]
        _check_closed: Callable[[], None]
        _run_once: Callable[[], None]
        _check_default_executor: Callable[[], None]

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = 0
        self._made: list[weakref.ref[asyncio.Task[Any]]] = []
        super().__init__(world.new_selector())
        self._clock_resolution = 1e-9
        # They are closed in the order in which they began.
        self._asyncgens = OrderedReferences()
        self.slow_callback_duration = 1e9

    # what the selector asks

    @property
    def scheduled(self) -> list[asyncio.TimerHandle]:
        """Timers, the next one first when it is not cancelled."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False  # type: ignore[attr-defined]
        return scheduled[:1]

    def is_sleep(self, handle: asyncio.TimerHandle) -> bool:
        """Tell whether a timer ends an ``asyncio.sleep``, not a time-out."""
        return getattr(handle, "_callback", None) is _SLEEP

    def handle_for(self, callback: Callable[[], None]) -> asyncio.Handle:
        """Wrap a callback as the loop wraps a reader."""
        return events.Handle(callback, (), self, contextvars.Context())

    # time

    def time(self) -> float:
        """Return virtual seconds."""
        return self._world.clock.look()

    def call_at(  # type: ignore[override] # typeshed ties callback and args by TypeVarTuple
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer; whether it fires although the loop is busy is a decision."""
        handle = self.plain_call_at(when, callback, *args, context=context)
        if self._world.deciding:
            self.decide_on_timer(handle, ACTOR.get().name)
        return handle

    def decide_on_timer(self, handle: asyncio.TimerHandle, actor: str) -> None:
        """Decide whether a near timer fires although the loop is busy."""
        world = self._world
        if 0 < handle.when() - world.clock.monotonic() <= TIMER_DECISIONS_WITHIN:
            value = world.decide("timer", actor, MAX_HOLD)
            if value:
                world.selector.watch_timer(handle, value)

    def plain_call_at(
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer without a decision."""
        handle: asyncio.TimerHandle = super().call_at(when, callback, *args, context=context)
        return handle

    # tasks and futures

    def number(self) -> int:
        """Return the next number of creation."""
        self._numbers += 1
        return self._numbers

    def create_task(
        self, coro: Coroutine[Any, Any, Any] | Generator[Any, Any, Any], **options: Any
    ) -> Any:
        """Schedule a coroutine; its task knows when it was made."""
        self._check_closed()
        number = self.number()
        if self._task_factory is not None:
            task: Any = super().create_task(coro, **options)
            # Of a foreign class perhaps, but it can still be put in order.
            task._desvelo_number = number
            unnamed = options.get("name") is None and isinstance(task, asyncio.Task)
            if unnamed and _COUNTED.fullmatch(task.get_name()):
                task.set_name(f"Task-{number}")
            self._made.append(weakref.ref(task))
            return task
        if options.get("name") is None:
            options["name"] = f"Task-{number}"
        task = WorldTask(coro, number=number, loop=self, **options)
        self._made.append(weakref.ref(task))
        return task

    def unfinished_tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks of this loop that are not done, in the order of their creation.

        asyncio's own ``all_tasks`` walks the tasks of every loop that the process has had.
        """
        return [task for task in self.made_tasks() if not task.done()]

    def made_tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks of this loop that somebody still holds, in the same order."""
        alive = (reference() for reference in self._made)
        return [task for task in alive if task is not None]

    def transport_of(self, descriptor: int) -> asyncio.BaseTransport | None:
        """Return the transport that uses a socket, while somebody holds it."""
        return self._transports.get(descriptor)

    def set_task_factory(self, factory: Any) -> None:
        """Set who makes tasks; asyncio's own eager ones are made as ours are."""
        eager = getattr(asyncio, "eager_task_factory", None)
        if eager is not None and factory is eager:
            factory = _eager_task
        super().set_task_factory(factory)

    def create_future(self) -> Any:
        """Return a future that knows when it was made."""
        return WorldFuture(number=self.number(), loop=self)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Leave it to the world, which reports it as a finding."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell the world; a handler that the program has set is called as well."""
        self._world.on_loop_exception(context)
        if self._exception_handler is not None:
            super().call_exception_handler(context)

    # threads

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Run a function as a thread of the executor would: at one moment, seen at another."""
        self._check_closed()
        if executor is None:
            self._check_default_executor()
            executor = self._default_executor
        return self._world.jobs.submit(executor, func, args)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: no thread was started."""
        self._executor_shutdown_called = True

    def call_soon_threadsafe(  # type: ignore[override] # as call_at
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Schedule a callback from a controlled thread, which may be late with it."""
        self._world.check_thread("loop.call_soon_threadsafe")
        self._world.threads.before_call()
        return self.call_soon(callback, *args, context=context)

    def _make_self_pipe(self) -> None:
        self._ssock = self._csock = None
        self._internal_fds += 1

    def _close_self_pipe(self) -> None:
        self._internal_fds -= 1

    def _write_to_self(self) -> None:
        """Nobody needs waking: the loop never sleeps for real."""

    # names

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - callers pass it by this name
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Resolve a name in the simulated network; the answer takes a job's time."""
        return await self.run_in_executor(
            None, self._world.getaddrinfo, host, port, family, type, proto, flags
        )

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """Return the numeric form of an address."""
        return str(sockaddr[0]), str(sockaddr[1])

    async def _ensure_resolved(
        self,
        address: Any,
        *,
        family: int = 0,
        type: int = socket.SOCK_STREAM,  # noqa: A002 - callers pass it by this name
        proto: int = 0,
        flags: int = 0,
        loop: Any,
    ) -> Any:
        # Names of this machine need no lookup; create_server puts the answers into a set,
        # whose order must not depend on the hashes of strings.
        host, port = address[:2]
        if host in (None, "", "localhost") or is_literal(host):
            return self._world.getaddrinfo(host, port, family, type, proto, flags)
        return await self.getaddrinfo(
            host, port, family=family, type=type, proto=proto, flags=flags
        )

    # what a simulated machine does not have

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override] # as call_at
        """Remember a handler; nobody sends signals to a simulated process."""
        self._signal_handlers[sig] = events.Handle(callback, args, self, None)

    def signal_arrives(self, sig: int) -> bool:
        """Run the handler of a signal as the stock loop does; tell whether there is one."""
        handle = self._signal_handlers.get(sig)
        if handle is None:
            return False
        self._add_callback(handle)
        return True

    def remove_signal_handler(self, sig: int) -> bool:
        """Forget a handler."""
        return self._signal_handlers.pop(sig, None) is not None

    async def subprocess_exec(self, *args: Any, **options: Any) -> Any:
        """Refuse: a child process would run outside the world."""
        self._refuse_process("asyncio.create_subprocess_exec()")

    async def subprocess_shell(self, *args: Any, **options: Any) -> Any:
        """Refuse: a child process would run outside the world."""
        self._refuse_process("asyncio.create_subprocess_shell()")

    @staticmethod
    def _refuse_process(call: str) -> None:
        raise UnsupportedInWorld(f"{call} at {calling_line()}: {NO_PROCESS}")

    async def create_datagram_endpoint(self, *args: Any, **options: Any) -> Any:
        """Refuse: the simulated network has streams only."""
        raise UnsupportedInWorld(
            f"loop.create_datagram_endpoint() at {calling_line()}: "
            "the simulated network has stream sockets only"
        )

    async def _sock_sendfile_native(self, *args: Any) -> int:
        raise asyncio.SendfileNotAvailableError("no native sendfile on simulated sockets")

    async def create_unix_server(
        self, protocol_factory: Any, path: Any = None, **options: Any
    ) -> Any:
        """Listen at a path of the simulated machine; nothing is made in the file system."""
        if path is not None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.bind(path)
            except OSError:
                sock.close()
                raise
            options["sock"] = sock
        return await super().create_unix_server(protocol_factory, None, **options)


def _eager_task(loop: WorldLoop, coro: Any, **options: Any) -> WorldTask:
    return WorldTask(coro, number=loop.number(), loop=loop, eager_start=True, **options)
