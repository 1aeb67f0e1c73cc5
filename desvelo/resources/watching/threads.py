"""Threads and executors."""

from __future__ import annotations

import functools
from typing import Any

from desvelo.resources.attaching import Hook, Library, part, watch_class
from desvelo.resources.kinds import Kind, class_name
from desvelo.resources.recorder import Recorder

THREAD = Kind(
    "thread",
    lambda thread: f"the{' daemon' if thread.daemon else ''} thread {thread.name!r}",
    lambda thread: thread.is_alive(),
    "still running",
)
# One that was given no work has no thread, and so nothing to shut down.
_THREADS = Kind(
    "executor",
    class_name,
    lambda pool: not pool._shutdown and bool(pool._threads),  # noqa: SLF001 - nothing public
    "never shut down",
)
_PROCESSES = Kind(
    "executor",
    class_name,
    lambda pool: not pool._shutdown_thread and bool(pool._processes),  # noqa: SLF001 - the same
    "never shut down",
)


def _thread_hooks(recorder: Recorder, threading: Any) -> list[Hook]:
    def make(original: Any) -> Any:
        @functools.wraps(original)
        def start(self: Any) -> None:
            # Before it runs: what it opens is traced back to this line.
            if recorder.active and recorder.listening():
                recorder.made(self, THREAD, 2)
            original(self)

        return start

    part(threading, "Thread")
    return [Hook(threading.Thread, "start", make)]


def _pool_hooks(recorder: Recorder, module: Any) -> list[Hook]:
    return watch_class(recorder, part(module, "ThreadPoolExecutor"), _THREADS)


def _process_pool_hooks(recorder: Recorder, module: Any) -> list[Hook]:
    return watch_class(recorder, part(module, "ProcessPoolExecutor"), _PROCESSES)


LIBRARIES = [
    Library("threading", _thread_hooks),
    Library("concurrent.futures.thread", _pool_hooks),
    Library("concurrent.futures.process", _process_pool_hooks),
]
