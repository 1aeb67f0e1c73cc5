"""The threads for what would hold the event loop: a few, the same for all, ended when closed."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

from vigia_reference.outlast import outlast

P = ParamSpec("P")
T = TypeVar("T")


class WorkersClosed(RuntimeError):
    """Work was handed to a pool that is closed."""


class Workers:
    """Runs plain functions in threads, at most *count* at once.

    Threads are started when they are needed, and `close` ends them.

    >>> async def example():
    ...     workers = Workers()
    ...     try:
    ...         return await workers.run(sum, [1, 2])
    ...     finally:
    ...         await workers.close()
    >>> asyncio.run(example())
    3
    """

    def __init__(self, count: int = 2) -> None:
        self.count = count
        self._closed = False
        self._executor: ThreadPoolExecutor | None = None
        self._jobs: dict[asyncio.Future[Any], None] = {}

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it in a thread and return what it returns, or raise what it raises.

        A function that has begun cannot be stopped: whoever is cancelled learns of it when the
        function has ended, so that nobody takes away what it works on.  Raises `WorkersClosed`.
        """
        if self._closed:
            raise WorkersClosed("The workers are closed")
        job = asyncio.get_running_loop().run_in_executor(
            self._threads(), partial(call, *args, **kwargs)
        )
        self._jobs[job] = None
        job.add_done_callback(self._ended)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            await outlast(job)
            raise

    async def close(self) -> None:
        """Let what has begun end, then end the threads.  Closing twice is fine."""
        self._closed = True
        try:
            await outlast(*self._jobs)
        finally:
            executor, self._executor = self._executor, None
            if executor is not None:
                executor.shutdown(wait=False)

    def open(self) -> None:
        """Accept work again after `close`."""
        self._closed = False

    def _threads(self) -> ThreadPoolExecutor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.count, thread_name_prefix="workers")
        return self._executor

    def _ended(self, job: asyncio.Future[Any]) -> None:
        self._jobs.pop(job, None)
        # A caller who was cancelled does not look at the error, and it is nobody else's.
        if not job.cancelled():
            job.exception()
