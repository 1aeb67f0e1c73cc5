"""What code inside the world may not do: processes of its own, other loops, the kernel's waiting.

Each of these raises an error that names the call and the line before anything has happened.
"""

from __future__ import annotations

import asyncio
import multiprocessing.process
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from desvelo.errors import UnsupportedInWorld
from desvelo.world.inside import current
from desvelo.world.whereabouts import calling_line, is_foreign

_NO_THREAD = (
    "a thread of its own would run outside the schedule; hand the work to "
    "loop.run_in_executor or asyncio.to_thread, which are part of it"
)
NO_PROCESS = (
    "a child process would run outside the simulated world, where neither its timing nor "
    "its effects are under control; replace it in this scenario"
)
_NO_LOOP = (
    "the event loop of the world is the only one in it; await the coroutine, or hand it to "
    "asyncio.run_coroutine_threadsafe"
)
_NO_LOOP_IN_THREADS = (
    "operations of runtime 'threads' are plain threads, without an event loop; make them async "
    "functions and leave out the runtime, and each is a task of the world's own loop"
)
_NO_ALARM = "the real clock would interrupt the simulated world; use loop.call_later"
_NO_POLLING = "it asks the kernel, which knows nothing of simulated sockets; use the event loop"


def refusing(call: str, real: Callable[..., Any], advice: str) -> Callable[..., Any]:
    """Return a stand-in that raises inside the world and calls ``real`` outside."""

    def refuse(*arguments: Any, **options: Any) -> Any:
        if current() is not None:
            raise UnsupportedInWorld(f"{call} at {calling_line()}: {advice}")
        return real(*arguments, **options)

    return refuse


_real_loop_init = asyncio.selector_events.BaseSelectorEventLoop.__init__


def _loop_init(self: Any, *arguments: Any, **options: Any) -> None:
    world = current()
    if world is not None:
        self._closed = True  # so that its finalizer has nothing to complain of
        call = _close_what_was_to_run()
        advice = _NO_LOOP_IN_THREADS if world.runtime == "threads" else _NO_LOOP
        raise UnsupportedInWorld(f"{call} at {calling_line()}: {advice}")
    _real_loop_init(self, *arguments, **options)


def _close_what_was_to_run() -> str:
    """Name the call that wanted a loop, and close its coroutine, which nobody will await now."""
    call = "asyncio.new_event_loop()"
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_foreign(frame.f_code.co_filename):
        if frame.f_code.co_filename == asyncio.runners.__file__:
            call = "asyncio.run()" if frame.f_code.co_name == "run" else call
            for name in ("main", "coro"):
                wanted = frame.f_locals.get(name)
                if asyncio.iscoroutine(wanted):
                    wanted.close()
        frame = frame.f_back
    return call


_REFUSED: tuple[tuple[str, str, str, str], ...] = (
    ("threading", "_start_joinable_thread", "_thread.start_joinable_thread()", _NO_THREAD),
    ("_thread", "start_joinable_thread", "_thread.start_joinable_thread()", _NO_THREAD),
    ("subprocess", "Popen.__init__", "subprocess.Popen()", NO_PROCESS),
    ("subprocess", "_fork_exec", "subprocess.Popen()", NO_PROCESS),
    ("_posixsubprocess", "fork_exec", "fork_exec()", NO_PROCESS),
    ("multiprocessing.process", "BaseProcess.start", "Process.start()", NO_PROCESS),
    ("os", "fork", "os.fork()", NO_PROCESS),
    ("os", "forkpty", "os.forkpty()", NO_PROCESS),
    ("os", "posix_spawn", "os.posix_spawn()", NO_PROCESS),
    ("os", "posix_spawnp", "os.posix_spawnp()", NO_PROCESS),
    ("os", "system", "os.system()", NO_PROCESS),
    ("os", "execv", "os.execv()", NO_PROCESS),
    ("os", "execve", "os.execve()", NO_PROCESS),
    ("select", "epoll", "select.epoll()", _NO_POLLING),
    ("signal", "alarm", "signal.alarm()", _NO_ALARM),
    ("signal", "setitimer", "signal.setitimer()", _NO_ALARM),
)


def attributes() -> list[tuple[Any, str, Any]]:
    """Return what is fenced: (owner, name, stand-in)."""
    fenced: list[tuple[Any, str, Any]] = [
        (asyncio.selector_events.BaseSelectorEventLoop, "__init__", _loop_init),
    ]
    for module, path, call, advice in _REFUSED:
        owner: Any = sys.modules.get(module)
        *outer, name = path.split(".")
        for part in outer:
            owner = getattr(owner, part, None)
        real = getattr(owner, name, None)
        if real is not None:
            fenced.append((owner, name, refusing(call, real, advice)))
    return fenced


__all__ = ["NO_PROCESS", "attributes", "refusing"]
_LOADED = (
    asyncio,
    multiprocessing.process,
    os,
    select,
    signal,
    subprocess,
)  # so that sys.modules has what is fenced
