"""``run_in_executor`` and ``to_thread``: a job runs at one decision, its answer is seen at another.

The function runs in a controlled thread of the pool, begun between two iterations of the loop.
A pool starts its jobs in the order in which they were submitted and has as many hands as it was
given: with one worker nothing is ever reordered, unless the worker itself waits.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, cast

from desvelo.world.actors import ACTOR, Actor
from desvelo.world.threads.thread import ControlledThread, ThreadExit
from desvelo.world.values import describe_value
from desvelo.world.whereabouts import display_path

if TYPE_CHECKING:
    from desvelo.world.world import World

DEFAULT_WORKERS = 8
"""Hands of the loop's own pool; fixed, because the real number depends on the machine."""


class Job:
    """One call that was handed to a pool."""

    __slots__ = ("actor", "arguments", "call", "future", "outcome", "permitted", "pool", "ran")

    def __init__(
        self,
        pool: Pool,
        call: Callable[..., Any],
        arguments: tuple[Any, ...],
        future: asyncio.Future[Any],
        actor: Actor,
    ) -> None:
        self.pool = pool
        self.call = call
        self.arguments = arguments
        self.future = future
        self.actor = actor
        self.permitted = False
        """Whether the schedule lets it start."""
        self.ran = False
        self.outcome: tuple[Any, BaseException | None] = (None, None)


class Pool:
    """The jobs of one executor, first in, first out."""

    __slots__ = ("executor", "hands", "idle", "queue", "workers")

    def __init__(self, executor: Any, workers: int) -> None:
        self.executor = executor
        self.workers = workers
        self.queue: list[Job] = []
        self.hands = 0
        """How many threads it has started."""
        self.idle: list[Worker] = []


class Worker:
    """One thread of a pool: the same for all the jobs that it takes up in one execution."""

    __slots__ = ("job", "pool", "thread")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.job: Job | None = None
        self.thread: ControlledThread | None = None


class Jobs:
    """All pools of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pools: dict[int, Pool] = {}
        self.under_way = 0
        """How many jobs have been submitted and not answered."""
        self._ended = False

    def submit(
        self, executor: Any, call: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> asyncio.Future[Any]:
        """Hand a job to its pool and return the future of its answer."""
        pool = self._pool_of(executor)
        world = self._world
        actor = ACTOR.get()
        future = world.loop.create_future()
        if self._ended:
            future.cancel()
            return future  # type: ignore[no-any-return]
        job = Job(pool, call, arguments, future, actor)
        pool.queue.append(job)
        self.under_way += 1
        if world.tracing:
            world.note("job", actor.lane, f"hands {describe_call(call)} to the executor")
        world.post("job", actor.name, lambda: self._permit(job))
        return future  # type: ignore[no-any-return]

    def end(self) -> None:
        """Cancel what is under way, now and later: the threads are gone, and nobody may wait."""
        self._ended = True
        self.under_way = 0
        for pool in self._pools.values():
            for job in pool.queue:
                job.future.cancel()

    def knows(self, executor: Any) -> bool:
        """Tell whether an executor was given a job of the event loop."""
        return id(executor) in self._pools

    def _pool_of(self, executor: Any) -> Pool:
        key = id(executor)
        pool = self._pools.get(key)
        if pool is None:
            if getattr(executor, "_shutdown", False):
                raise RuntimeError("cannot schedule new futures after shutdown")
            if type(executor).__name__ == "ProcessPoolExecutor":
                self._world.refuse_process_pool()
            workers = (
                DEFAULT_WORKERS
                if executor is None
                else getattr(executor, "_max_workers", DEFAULT_WORKERS)
            )
            pool = self._pools[key] = Pool(executor, workers)
        elif getattr(executor, "_shutdown", False):
            raise RuntimeError("cannot schedule new futures after shutdown")
        return pool

    def _permit(self, job: Job) -> None:
        if self._ended:
            return
        job.permitted = True
        self._run_what_may(job.pool)

    def _run_what_may(self, pool: Pool) -> None:
        """Run every permitted job that a free hand of the pool has reached."""
        for job in pool.queue[: pool.workers]:
            if not job.ran and job.permitted:
                self._run(job)

    def _run(self, job: Job) -> None:
        world = self._world
        job.ran = True
        if job.future.cancelled():
            # A pool drops a job that was cancelled before any thread took it up.
            self._finish(job)
            return
        worker = job.pool.idle.pop() if job.pool.idle else self._hire(job.pool)
        worker.job = job
        thread = worker.thread
        assert thread is not None
        thread.name, thread.actor = job.actor.name, job.actor
        world.threads.resume(thread)

    def _hire(self, pool: Pool) -> Worker:
        worker = Worker(pool)
        name = f"{getattr(pool.executor, '_thread_name_prefix', '') or 'asyncio'}_{pool.hands}"
        pool.hands += 1
        worker.thread = self._world.threads.spawn(name, lambda: self._work(worker), title=name)
        worker.thread.works = True
        return worker

    def _work(self, worker: Worker) -> None:
        """Take up job after job; runs in the worker's own thread."""
        executor = worker.pool.executor
        initializer = getattr(executor, "_initializer", None)
        threads, thread = self._world.threads, worker.thread
        assert thread is not None
        begun = False
        while True:
            job = worker.job
            assert job is not None
            context = contextvars.Context()
            context.run(ACTOR.set, job.actor)
            try:
                if initializer is not None and not begun:
                    begun = True
                    initializer(*executor._initargs)
                job.outcome = (context.run(job.call, *job.arguments), None)
            except ThreadExit:
                raise
            except BaseException as error:
                job.outcome = (None, error)
            del context
            self._ran(job)
            worker.job = job = None
            worker.pool.idle.append(worker)
            threads.rest(thread)

    def _ran(self, job: Job) -> None:
        world = self._world
        if world.tracing:
            value, failed = job.outcome
            shown = (
                f"raises {type(failed).__name__}: {failed}"
                if failed
                else f"returns {short_repr(value)}"
            )
            world.note("run", job.actor.lane, f"{describe_call(job.call)} {shown}")
        world.post("answer", job.actor.name, lambda: self._answer(job))

    def _answer(self, job: Job) -> None:
        self._world.selector.call(lambda: self._deliver(job))

    def _deliver(self, job: Job) -> None:
        if self._ended:
            return
        value, error = job.outcome
        self._finish(job)
        if job.future.done():
            return
        if error is not None:
            job.future.set_exception(error)
        else:
            job.future.set_result(value)
        job.outcome = (None, None)

    def _finish(self, job: Job) -> None:
        job.pool.queue.remove(job)
        self.under_way -= 1
        self._run_what_may(job.pool)


def describe_call(call: Callable[..., Any]) -> str:
    """Name a function and where it is defined, seeing through wrappers around it.

    Partials, ``to_thread`` and nested functions that exist to call another (a transaction around
    the work that is done in it) are seen through.

    >>> import functools
    >>> describe_call(functools.partial(short_repr, 3))  # doctest: +ELLIPSIS
    'short_repr (...jobs.py:...)'
    """
    for _ in range(_DEEPEST):
        within = _wrapped(call)
        if within is None:
            break
        call = within
    code = getattr(call, "__code__", None)
    name = getattr(call, "__qualname__", type(call).__name__).replace("<locals>.", "")
    return f"{name} ({display_path(code.co_filename)}:{code.co_firstlineno})" if code else str(name)


_DEEPEST = 8


def _wrapped(call: Callable[..., Any]) -> Callable[..., Any] | None:
    """Return the function that a wrapper calls, or nothing when it is none."""
    inner: Any = getattr(call, "func", None)
    if inner is not None and callable(inner):
        arguments: tuple[Any, ...] = getattr(call, "args", ())
        through = getattr(inner, "__name__", "") == "run" and arguments
        return cast("Callable[..., Any]", arguments[0] if through else inner)
    if "<locals>" not in getattr(call, "__qualname__", ""):
        return None
    closure = getattr(call, "__closure__", None) or ()
    functions = [
        cell.cell_contents
        for cell in closure
        if _is_filled(cell) and isinstance(cell.cell_contents, (FunctionType, MethodType))
    ]
    plain = [one for one in functions if one.__name__ != "<lambda>"]
    return (plain or functions)[0] if len(plain or functions) == 1 else None


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises
    except ValueError:
        return False
    return True


def short_repr(value: Any, limit: int = 60) -> str:
    """Return a short text that is the same in every process: no addresses, sets in order.

    >>> short_repr("x" * 100, 12), short_repr({"b", "a"})
    ("'xxxxx…xxxx'", "{'a', 'b'}")
    """
    return describe_value(value, limit)
