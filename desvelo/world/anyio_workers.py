"""anyio's worker threads as jobs of the world: Starlette runs every plain endpoint in one.

anyio starts threads of its own and hands them work through a queue. Inside the world its
``to_thread.run_sync`` submits a job instead, with the same limiter, context and cancellation.
"""

from __future__ import annotations

import importlib
import sys
from asyncio import get_running_loop
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from desvelo.world.inside import current


class _Workers:
    """Stands for the executor; how many work at once is anyio's limiter's to say."""

    _max_workers = 1 << 20


_WORKERS = _Workers()
_BACKEND = "anyio._backends._asyncio"


def stand_ins(done: set[str]) -> list[tuple[Any, str, Any]]:
    """Return (class, name, stand-in) once anyio has been loaded, else nothing."""
    if "anyio" in done or "anyio.to_thread" not in sys.modules:
        return []
    done.add("anyio")
    # It loads its backend only at the first call, which would then go past the stand-in.
    backend = importlib.import_module(_BACKEND)
    cls = backend.AsyncIOBackend
    real = vars(cls).get("run_sync_in_worker_thread")
    if not isinstance(real, classmethod):
        return []
    return [(cls, "run_sync_in_worker_thread", classmethod(_submitting(backend, real.__func__)))]


def _submitting(backend: Any, real: Callable[..., Any]) -> Callable[..., Any]:
    async def run_sync_in_worker_thread(
        cls: Any,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        abandon_on_cancel: bool = False,
        limiter: Any = None,
    ) -> Any:
        if current() is None:
            return await real(cls, func, args, abandon_on_cancel, limiter)
        await cls.checkpoint()
        async with limiter or cls.current_default_thread_limiter():
            with backend.CancelScope(shield=not abandon_on_cancel):
                work = copy_context().run
                return await get_running_loop().run_in_executor(_WORKERS, work, func, *args)  # type: ignore[arg-type] # jobs take whatever stands for an executor

    return run_sync_in_worker_thread
