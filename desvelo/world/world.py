"""One simulated world: a loop, a network, a clock and pools, driven by one decider.

A world lives for one execution. Code runs in it through `World.run`; operations are started
with `World.start` and come to life when a decision says so.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Self, TypeVar

from desvelo.errors import DesveloError, StepLimitReached, UnsupportedInWorld, WorldStuck
from desvelo.schedule.decisions import Deviation, Recorder
from desvelo.schedule.policy import Fifo
from desvelo.world import boundary, inside, names, sqlite
from desvelo.world.actors import ACTOR
from desvelo.world.any_order import ReadyPool
from desvelo.world.chance import SharedChance
from desvelo.world.clock import Clock
from desvelo.world.jobs import Jobs, short_repr
from desvelo.world.kernel import Kernel
from desvelo.world.loop import WorldLoop
from desvelo.world.network import Network
from desvelo.world.operation import Operation
from desvelo.world.selector import WorldSelector
from desvelo.world.signals import Signals
from desvelo.world.threads.baton import Threads
from desvelo.world.threads.lines import installer
from desvelo.world.threads.starting import Counters
from desvelo.world.trace import Row, Trace
from desvelo.world.tracing import LineTracer
from desvelo.world.whereabouts import calling_line

if TYPE_CHECKING:
    from desvelo.world.held.bridge import Bridge

T = TypeVar("T")

_real_clock = time.perf_counter

LATENCY = 0.1
"""Virtual seconds by which the arrival of something under way may be late."""

SETTLING = 5
"""Latencies of virtual time after which what still ticks is taken for a heartbeat."""

MAX_POLLS = 50_000
"""Loop iterations after which an execution counts as one that never ends."""

MODES = ("asyncio-order", "any-order")


class World:
    """The surroundings of one execution.

    ``recorder`` takes the decisions (plain FIFO by default), ``seed`` feeds all randomness
    that the target sees, ``latency`` is in virtual seconds, ``trace`` keeps a trace of what
    happens, ``servers`` are real ones that can be reached from inside. With ``kernel`` its
    sockets are real ones on loopback. Must be closed; it is a
    context manager.

    >>> async def nap():
    ...     await asyncio.sleep(3600)
    ...     return asyncio.get_running_loop().time()
    >>> with World() as world:
    ...     round(world.run(nap()) - 1000)
    3600
    """

    def __init__(
        self,
        recorder: Recorder | None = None,
        *,
        seed: int = 0,
        latency: float = LATENCY,
        max_polls: int = MAX_POLLS,
        mode: str = "asyncio-order",
        trace: bool = False,
        trace_files: Callable[[str], bool] | None = None,
        runtime: str = "asyncio",
        granularity: str = "line",
        switch_files: Callable[[str], bool] | None = None,
        network: dict[str, Any] | None = None,
        servers: Any = (),
        kernel: Kernel | None = None,
        until: float | None = None,
    ) -> None:
        _refuse_nesting()
        self.recorder = recorder or Recorder(Fifo())
        self.clock = Clock()
        self.latency_ns = int(latency * 1e9)
        least = kernel.max_polls if kernel is not None else None
        self.max_polls = max_polls if least is None else min(max_polls, least)
        self.until = until
        """When to give up, as `time.perf_counter` tells it; never, unless it is given."""
        self.cut_short = False
        """Whether that moment came before the end."""
        self.deciding = False
        self.on_poll: Callable[[], None] | None = None
        self.trace: Trace | None = Trace() if trace else None
        self.tracing = trace
        # Nobody tells the story of a run on kernel sockets, whose time is bounded.
        self.lines = LineTracer(self, trace_files) if trace and kernel is None else None
        self.runtime = runtime
        self.preempting = runtime == "threads" or bool(
            getattr(self.recorder.policy, "preempts", False)
        )
        """Whether threads may be paused in the midst of their own lines."""
        self.rounds = "rounds of its threads" if runtime == "threads" else "loop iterations"
        """What the bound on iterations counts."""
        self.refusals: list[DesveloError] = []
        """What the world refused, also when the target swallowed the error."""
        self.loop_exceptions: list[dict[str, Any]] = []
        self.operations: list[Operation] = []
        self.kernel = kernel
        make_network = Network if kernel is None else kernel.network
        self.network: Network = make_network(self, **(network or {}))
        self.bridge: Bridge | None = None
        self.threads = Threads(self)
        self.threads.install = installer(self, switch_files, granularity)
        self.jobs = Jobs(self)
        self.signals = Signals(self)
        self._objects: dict[type, int] = {}
        self._moments = 0
        self._random = random.Random(seed)
        self._reach(servers)
        self._boundary = boundary.Boundary()
        self._boundary.__enter__()
        self._chance: SharedChance | None = None
        self._counters: Counters | None = None
        try:
            self._chance = SharedChance(seed)
            self._counters = Counters()
            self.loop = WorldLoop(self)
        except BaseException:
            self._put_process_back()
            raise
        self.selector: WorldSelector = self.loop._selector
        self.selector._ready = self.loop._ready
        self._ready_pool = ReadyPool(self) if mode == "any-order" else None
        if self._ready_pool is not None:
            self.on_poll = self._ready_pool.on_poll
        self._has_heartbeat = False
        self.resting: Callable[[], bool] | None = None
        """Asked before time passes: whether the iterations end here, with time as it is."""
        self.closed = False
        self.at_work: dict[str, Operation] = {}
        """What repairs the damage of faults, such as a restart: the last one of each name."""
        self._at_end: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def _reach(self, servers: Any) -> None:
        """Let real servers be reached from inside; each is one, or a function that returns one."""
        if callable(servers) or servers:
            from desvelo.world.held.bridge import Bridge, listed

            self.bridge = self.network.bridge = Bridge(self, listed(servers))

    def new_selector(self) -> WorldSelector:
        """Return the selector that the loop stands on."""
        return WorldSelector(self) if self.kernel is None else self.kernel.selector(self)

    def look_at_real_time(self) -> None:
        """Raise `StepLimitReached` when the time for this execution is over."""
        if self.until is not None and _real_clock() > self.until:
            self.until, self.cut_short = None, True
            raise StepLimitReached("still running when the time was up")

    def at_end(self, action: Callable[[], None]) -> None:
        """Have something done when the world is closed, the last first."""
        self._at_end.append(action)

    # decisions and events

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Take a decision, or answer 0 while the schedule is not being explored."""
        if not self.deciding:
            return 0
        recorder = self.recorder
        value = recorder.decide(kind, actor, limit)
        # Of a cancellation there is something to tell when it comes.
        if value and self.trace is not None and kind != "cancel":
            deviation: Deviation = recorder.deviations[-1]
            self.note("deviation", actor, deviation.describe(), deviation=str(deviation.key))
        return value

    def may_cancel(self, name: str) -> bool:
        """Tell whether the schedule has a say on the cancellation of an operation."""
        if any(repair.name == name for repair in self.at_work.values()):
            return False
        may = getattr(self.recorder.policy, "may_cancel", None)
        return self.deciding and may is not None and bool(may(name))

    def post(
        self,
        kind: str,
        actor: str,
        fire: Callable[[], None],
        *,
        delay_ns: int = 0,
        unhurried: bool = False,
        behind: bool = False,
    ) -> None:
        """Make something possible; the schedule decides when it is seen."""
        self.selector.post(kind, actor, fire, delay_ns=delay_ns, unhurried=unhurried, behind=behind)

    def later(self, actor: str, fire: Callable[[], None], nanoseconds: int) -> Callable[[], None]:
        """Let something happen when so much time has passed, whatever the bound on latency.

        Returns what calls it off.
        """
        return self.selector.later(actor, fire, nanoseconds)

    @property
    def now_ns(self) -> int:
        """Virtual time in nanoseconds."""
        return self.clock.now_ns

    def note(self, kind: str, lane: str, text: str, where: str = "", deviation: str = "") -> None:
        """Write a row of the trace."""
        if self.trace is not None:
            self.trace.rows.append(
                Row(self.selector.polls, self.clock.now_ns, lane, kind, text, where, deviation)
            )

    def note_time(self) -> None:
        """Record that time has passed."""
        if self.trace is not None:
            self.note("time", "world", f"time is {self.clock.now_ns / 1e9 - 1000:.3f} s")

    # running

    def run(self, main: Coroutine[Any, Any, T] | asyncio.Future[T]) -> T:
        """Run until a coroutine or future is done and return its result.

        Raises `WorldStuck` when nothing can happen and it is not done, `StepLimitReached`
        when it goes on for ever.
        """
        future = main if asyncio.isfuture(main) else self.loop.create_task(main)
        return self._inside(lambda: self.loop.run_until_complete(future))  # type: ignore[no-any-return]

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function, plain or async, with the loop running, and return its result.

        In a world of threads this is the main thread; the function is a plain one.
        """
        if self.runtime == "threads":
            return self._inside(lambda: function(*arguments))

        async def main() -> Any:
            result = function(*arguments)
            return await result if asyncio.iscoroutine(result) else result

        return self.run(main())

    def start(
        self,
        name: str,
        call: Callable[[], Any],
        *,
        at_once: bool = False,
        threaded: bool | None = None,
    ) -> Operation:
        """Let an operation arrive: it starts at the iteration that the schedule decides.

        A ``threaded`` one is a thread of its own, by default in a world of threads.
        """
        operation = Operation(self, name, call)
        self.operations.append(operation)
        if self.runtime == "threads" if threaded is None else threaded:
            self.threads.name_for(name)
            begin = operation.begin_thread
        else:

            def begin() -> None:
                self.selector.call(operation.begin)

        if at_once:
            begin()
        else:
            self.post("arrive", name, begin, unhurried=True)
        return operation

    def finish(self, operations: Iterable[Operation]) -> None:
        """Run until all the given operations have ended."""
        waiting = [operation for operation in operations if not operation.done]
        if waiting and self.runtime == "threads":
            self._inside(lambda: self._run_threads(waiting))
        elif waiting:
            left = {id(operation) for operation in waiting}
            finished = self.loop.create_future()

            def one_less(operation: Operation) -> None:
                left.discard(id(operation))
                if not left and not finished.done():
                    finished.set_result(None)

            for operation in waiting:
                operation.on_end(one_less)
            self.run(finished)

    def _run_threads(self, operations: list[Operation]) -> None:
        left = len(operations)

        def one_less(operation: Operation) -> None:
            nonlocal left
            left -= 1
            if not left:
                # A poll that has nothing to report would wait for more to happen.
                self.selector.call(_nothing)

        for operation in operations:
            operation.on_end(one_less)
        run_once = self.loop._run_once
        while left:
            run_once()

    def step(self, polls: int) -> None:
        """Run some iterations; stop early when only far-off timers are left."""
        self._inside(lambda: self._run_polls(polls))

    def begin_to_decide(self) -> None:
        """Let the schedule decide from here on, also on the threads that set-up has started."""
        self.deciding = True
        if self.runtime == "threads":
            self.selector.decide_on_threads()

    def settle(self) -> None:
        """Run until nothing is under way: no delivery, no job, no step; timers may remain.

        Threads may remain that only wait, for something that they do themselves or for time.
        """
        until = self.clock.now_ns + SETTLING * self.latency_ns
        self._inside(lambda: self._run_polls(self.max_polls, until))

    def elapse(self, seconds: float) -> None:
        """Let virtual time pass."""

        async def wait() -> None:
            await asyncio.sleep(seconds)

        self.run(wait())

    def _run_polls(self, polls: int, until_ns: int = 1 << 62) -> None:
        before, stop_at = self.on_poll, self.selector.polls + polls
        loop, selector = self.loop, self.selector

        def look() -> None:
            if before is not None:
                before()
            if resting() or selector.polls >= stop_at:
                loop.stop()

        def resting() -> bool:
            if self.clock.now_ns > until_ns and self._rests():
                # Near timers again and again: a heartbeat, which is no work under way.
                self._has_heartbeat = True
            return self.is_quiet()

        self.on_poll, self.resting = look, resting
        try:
            if not self.is_quiet():
                loop.run_forever()
        except WorldStuck:
            pass
        finally:
            self.on_poll, self.resting = before, None

    def is_quiet(self) -> bool:
        """Tell whether nothing is ready, under way or about to be woken by a near timer.

        The timers of a heartbeat, which always come again soon, do not count.
        """
        if not self._rests():
            return False
        timers = self.loop.scheduled
        if self._has_heartbeat:
            return True
        return not timers or timers[0].when() * 1e9 > self.clock.now_ns + self.latency_ns

    def _rests(self) -> bool:
        """Tell whether only timers are left."""
        if self.loop._ready or self.selector.busy() or self.jobs.under_way:
            return False
        return self._ready_pool is None or not self._ready_pool.busy()

    def _inside(self, action: Callable[[], Any]) -> Any:
        if self.closed:
            raise DesveloError("this world is closed")
        _refuse_nesting()
        boundary.enter(self)
        stop: Callable[[], Any] | None = None
        if self.preempting and self.deciding and self.runtime != "threads":
            assert self.threads.install is not None
            stop = self.threads.install(None)
        elif self.lines is not None:
            self.lines.start()
            stop = self.lines.stop
        try:
            return action()
        finally:
            if stop is not None:
                stop()
            boundary.leave()

    def within(self, action: Callable[[], Any]) -> Any:
        """Do something in the world without running the loop."""
        return self._inside(action)

    def reseed(self, seed: int) -> None:
        """Begin another stream of randomness, for what follows.

        It is none that a world begins with: identifiers drawn during set-up must not come again.
        """
        self._random.seed(f"again {seed}")
        random.seed(f"again {seed}")

    # what the target asks of its surroundings

    def random_bytes(self, size: int) -> bytes:
        """Return randomness that is the same in every run of this execution."""
        return self._random.randbytes(size)

    def block_for(self, seconds: float) -> None:
        """``time.sleep``: a controlled thread sleeps; in the loop's own thread all stands still."""
        nanoseconds = max(int(seconds * 1e9), 0)
        if self.threads.is_controlled():
            self.threads.sleep(seconds)
        else:
            self.clock.advance_to(self.clock.now_ns + nanoseconds)
            self.note_time()

    def next_moment(self) -> int:
        """Return a number that is larger than those of all moments before."""
        self._moments += 1
        return self._moments

    def next_object(self, kind: type) -> int:
        """Return the number of a new object among those of its class.

        Each class counts by itself: a module that only the first execution has to import
        must not shift the numbers of all the others.
        """
        number = self._objects.get(kind, 0) + 1
        self._objects[kind] = number
        return number

    def getaddrinfo(
        self,
        host: Any,
        port: Any,
        family: int = 0,
        kind: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Resolve a name as ``socket.getaddrinfo`` does, in the simulated network."""
        return names.look_up(self.network, host, port, family, kind, proto, flags)

    def check_thread(self, call: str) -> None:
        """Refuse a foreign thread: its timing would not be under control."""
        if inside.get_ident() != inside._thread:
            raise UnsupportedInWorld(
                f"{call} from another thread, at {calling_line()}: threads are outside this world"
            )

    def refuse_descriptor(self, fd: int) -> None:
        """Say why a real descriptor cannot be watched."""
        raise UnsupportedInWorld(
            f"descriptor {fd} was given to the event loop at {calling_line()}: "
            "it belongs to the real process, not to the simulated network"
        )

    def refuse_process_pool(self) -> None:
        """Say why a pool of processes cannot be used."""
        raise UnsupportedInWorld(
            f"ProcessPoolExecutor at {calling_line()}: child processes would run "
            "outside the simulated world; use a thread pool in this scenario"
        )

    @staticmethod
    def is_control(error: BaseException) -> bool:
        """Tell whether an exception is the world's own way out, not the target's."""
        return isinstance(error, (WorldStuck, StepLimitReached, KeyboardInterrupt))

    # what went wrong

    def on_loop_exception(self, context: dict[str, Any]) -> None:
        """Keep what the loop's exception handler was told, as text where it would keep objects.

        A session that is dropped unclosed reports itself from its finalizer; holding it here
        would bring it back to life.
        """
        if not self.closed:
            error = context.get("exception")
            task = context.get("task")
            self.loop_exceptions.append(
                {
                    "message": str(context.get("message", "")),
                    "exception": error,
                    "task": task.get_name() if isinstance(task, asyncio.Task) else None,
                }
            )
            if self.trace is not None:
                said = f"{context.get('message')}" + (
                    f": {type(error).__name__}: {error}" if error else ""
                )
                self.note("loop-error", ACTOR.get().lane, short_repr(said, 200).strip("'\""))

    def unfinished_tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that are not done, in the order of their creation."""
        return self.loop.unfinished_tasks()

    # the end

    def let_go(self) -> None:
        """Hold none of the target's objects any longer, so that garbage shows as garbage."""
        if self.lines is not None:
            self.lines.let_go()

    def close(self) -> None:
        """End the world: cancel what is left, close the loop, put the process back."""
        if self.closed:
            return
        try:
            self.deciding, self.until = False, None
            if self.kernel is not None:
                self.kernel.judging = False
            self.trace, self.tracing = None, False
            self.lines = None
            if self.threads.alive:
                boundary.enter(self)
                try:
                    self.threads.end()
                finally:
                    boundary.leave()
            self.jobs.end()
            self._abandon()
        finally:
            self.closed = True
            try:
                self.loop.close()
            finally:
                self.network.close()
                sqlite.end_execution()
                while self._at_end:
                    self._at_end.pop()()
                self._put_process_back()
                if self.bridge is not None:
                    self.bridge.close()

    def _put_process_back(self) -> None:
        try:
            if self._chance is not None:
                self._chance.restore()
            if self._counters is not None:
                self._counters.restore()
        finally:
            self._boundary.__exit__()

    def _abandon(self) -> None:
        """Cancel what is left and let it end, within a bound, without judging it."""
        left = self.unfinished_tasks()
        if left or self.loop._asyncgens:
            self.max_polls = self.selector.polls + 2_000
            for _ in range(3):
                for task in left:
                    task.cancel()
                try:
                    self.settle()
                except DesveloError:
                    break
                left = self.unfinished_tasks()
                if not left:
                    break
            for task in left:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
        for transport in list(self.loop._transports.values()):
            # Whether it should have been closed was judged before; it need not warn now.
            transport._closing = True
            transport._sock = None
        for sock in list(self.network.sockets.values()):
            sock.forget_silently()


def _refuse_nesting() -> None:
    if boundary.current() is not None:
        raise UnsupportedInWorld(
            f"a world inside a world, at {calling_line()}: run them one after the other"
        )


def _nothing() -> None:
    """Run in a poll that only exists to be over."""
