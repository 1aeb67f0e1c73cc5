"""``run_in_executor`` and ``to_thread``: a job runs at one decision, its answer is seen at another.

The function runs in the loop's thread, between two iterations, as if a thread of the pool had
run it just then. A pool starts its jobs in the order in which they were submitted and has as
many hands as it was given: with one worker nothing is ever reordered.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio import events
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, cast

from desvelo.world.actors import ACTOR, Actor
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

    __slots__ = ("executor", "queue", "workers")

    def __init__(self, executor: Any, workers: int) -> None:
        self.executor = executor
        self.workers = workers
        self.queue: list[Job] = []


class Jobs:
    """All pools of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pools: dict[int, Pool] = {}
        self.running: Job | None = None
        self.slept_ns = 0
        self.under_way = 0
        """How many jobs have been submitted and not answered."""

    def submit(
        self, executor: Any, call: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> asyncio.Future[Any]:
        """Hand a job to its pool and return the future of its answer."""
        pool = self._pool_of(executor)
        world = self._world
        actor = ACTOR.get()
        future = world.loop.create_future()
        job = Job(pool, call, arguments, future, actor)
        pool.queue.append(job)
        self.under_way += 1
        if world.tracing:
            world.note("job", actor.lane, f"hands {describe_call(call)} to the executor")
        world.post("job", actor.name, lambda: self._permit(job))
        return future  # type: ignore[no-any-return]

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
        self.slept_ns = 0
        before, self.running = self.running, job
        loop = events._get_running_loop()
        events._set_running_loop(None)
        context = contextvars.Context()
        context.run(ACTOR.set, job.actor)
        try:
            job.outcome = (context.run(job.call, *job.arguments), None)
        except BaseException as error:
            job.outcome = (None, error)
            if world.is_control(error):
                raise
        finally:
            events._set_running_loop(loop)
            self.running = before
        if world.tracing:
            value, failed = job.outcome
            shown = (
                f"raises {type(failed).__name__}: {failed}"
                if failed
                else f"returns {short_repr(value)}"
            )
            world.note("run", job.actor.lane, f"{describe_call(job.call)} {shown}")
        world.post("answer", job.actor.name, lambda: self._answer(job), delay_ns=self.slept_ns)

    def _answer(self, job: Job) -> None:
        self._world.selector.call(lambda: self._deliver(job))

    def _deliver(self, job: Job) -> None:
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
