"""Waiting for what must not be left half done."""

import asyncio
from typing import Any


async def outlast(*jobs: asyncio.Future[Any]) -> None:
    """Wait until all *jobs* are done, however often the caller is cancelled meanwhile.

    A cancellation is passed on when they are done.  What the jobs return or raise is theirs.

    >>> async def example():
    ...     job = asyncio.create_task(asyncio.sleep(0.01, "done"))
    ...     waiting = asyncio.create_task(outlast(job))
    ...     await asyncio.sleep(0)
    ...     waiting.cancel()
    ...     await asyncio.wait([waiting])
    ...     return job.result(), waiting.cancelled()
    >>> asyncio.run(example())
    ('done', True)
    """
    cancelled: asyncio.CancelledError | None = None
    while unfinished := [job for job in jobs if not job.done()]:
        try:
            await asyncio.wait(unfinished)
        except asyncio.CancelledError as request:
            cancelled = request
    if cancelled is not None:
        raise cancelled
