"""The boundary of the world: what code inside it sees of the process it runs in.

Time, randomness, sockets, names, threads and processes are replaced while an execution runs,
in the thread that runs it, and nowhere else; `Boundary` puts everything back whatever happens.
Whatever could reach the real network raises an error that names the call and the line before
anything is opened.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import time_machine

from desvelo import errors
from desvelo.errors import OutsideWorldError, UnsupportedInWorld
from desvelo.world import sockets
from desvelo.world.whereabouts import calling_line

if TYPE_CHECKING:
    from desvelo.world.world import World

_UNTOUCHED = ("hypothesis", "_hypothesis", "_pytest", "pytest", "desvelo", "threading", "queue",
              "concurrent", "multiprocessing", "execnet", "xdist", "coverage", "selectors",
              "time_machine", "asyncio", "time", "os", "random", "socket", "_")
"""Modules whose own references are left alone: they serve the process, not the target."""

_real: dict[str, Callable[..., Any]] = {
    "time.monotonic": time.monotonic,
    "time.monotonic_ns": time.monotonic_ns,
    "time.perf_counter": time.perf_counter,
    "time.perf_counter_ns": time.perf_counter_ns,
    "time.sleep": time.sleep,
    "os.urandom": os.urandom,
    "socket.getaddrinfo": socket.getaddrinfo,
    "socket.gethostbyname": socket.gethostbyname,
    "socket.socketpair": socket.socketpair,
    "asyncio.wait": asyncio.wait,
    "asyncio.all_tasks": asyncio.all_tasks,
}
real_perf_counter = time.perf_counter
real_sleep = time.sleep

_inside: World | None = None
_thread = 0


def enter(world: World) -> None:
    """Begin to answer for a world, in this thread."""
    global _inside, _thread  # noqa: PLW0603 - the process has one boundary
    _inside = world
    errors.on_refusal = world.refusals.append
    _thread = threading.get_ident()
    sockets.SimSocket.thread = _thread
    sockets.SimSocket.network = world.network
    sockets.SimSocket.selector = world.selector


def leave() -> None:
    """Answer for the real process again."""
    global _inside  # noqa: PLW0603
    _inside = None
    errors.on_refusal = None
    sockets.SimSocket.network = None
    sockets.SimSocket.selector = None


def current() -> World | None:
    """Return the world that this thread runs in, if any."""
    return _inside if _inside is not None and threading.get_ident() == _thread else None


# time


class _WorldTraveller(time_machine.Traveller):
    """Wall time inside the world: the virtual clock's; outside it: the real one."""

    def time_ns(self) -> int:
        world = current()
        if world is None:
            return int(_original_time_ns())
        world.clock.look()
        return world.clock.wall_ns()


def _original_time_ns() -> int:
    from _time_machine import original_time_ns  # noqa: PLC0415 - there only while it is patched

    return int(original_time_ns())


def _monotonic() -> float:
    world = current()
    return _real["time.monotonic"]() if world is None else world.clock.look()  # type: ignore[no-any-return]


def _monotonic_ns() -> int:
    world = current()
    if world is None:
        return _real["time.monotonic_ns"]()  # type: ignore[no-any-return]
    world.clock.look()
    return world.clock.now_ns


def _perf_counter() -> float:
    world = current()
    return real_perf_counter() if world is None else world.clock.look()


def _perf_counter_ns() -> int:
    world = current()
    if world is None:
        return _real["time.perf_counter_ns"]()  # type: ignore[no-any-return]
    return _monotonic_ns()


def _sleep(seconds: float) -> None:
    world = current()
    if world is None:
        real_sleep(seconds)
    else:
        world.block_for(seconds)


# randomness


def _urandom(size: int) -> bytes:
    world = current()
    return _real["os.urandom"](size) if world is None else world.random_bytes(size)  # type: ignore[no-any-return]


_real_seed = random.Random.seed


def _seed(self: random.Random, a: Any = None, version: int = 2) -> None:
    world = current()
    if a is None and world is not None:
        a = world.random_bytes(16)
    _real_seed(self, a, version)


def _getnode() -> int:
    return 0x02DE5E10


# names and sockets

_real_socket_init = sockets.real_socket.__init__


def _socket_init(self: Any, *arguments: Any, **options: Any) -> None:
    if current() is not None:
        raise OutsideWorldError(
            f"{type(self).__module__}.{type(self).__name__}() at {calling_line()}: it would open a real socket "
            "from inside the simulated world; reach sockets as socket.socket, or go through the event loop")
    _real_socket_init(self, *arguments, **options)


def _getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0,  # noqa: A002
                 flags: int = 0) -> Any:
    world = current()
    if world is None:
        return _real["socket.getaddrinfo"](host, port, family, type, proto, flags)
    return world.getaddrinfo(host, port, family, type, proto, flags)


def _gethostbyname(hostname: str) -> str:
    world = current()
    if world is None:
        return _real["socket.gethostbyname"](hostname)  # type: ignore[no-any-return]
    return world.network.resolve(hostname, socket.AF_INET)[0][1]


def _socketpair(*arguments: Any, **options: Any) -> Any:
    if current() is None:
        return _real["socket.socketpair"](*arguments, **options)
    return sockets.socketpair(*arguments, **options)


# threads and processes


def _refusing(call: str, real: Callable[..., Any], advice: str) -> Callable[..., Any]:
    def refuse(*arguments: Any, **options: Any) -> Any:
        if current() is not None:
            raise UnsupportedInWorld(f"{call} at {calling_line()}: {advice}")
        return real(*arguments, **options)

    return refuse


_NO_THREAD = ("a thread of its own would run outside the schedule; hand the work to "
              "loop.run_in_executor or asyncio.to_thread, which are part of it")
_NO_PROCESS = ("a child process would run outside the simulated world, where neither its timing nor "
               "its effects are under control; replace it in this scenario")


# order


class _CreationOrder(set[Any]):
    """A set of tasks or futures that is walked in the order of their creation."""

    def __iter__(self) -> Any:
        return iter(sorted(super().__iter__(), key=_creation))


def _creation(future: Any) -> int:
    return getattr(future, "_desvelo_number", 0)


async def _wait(fs: Iterable[Any], **options: Any) -> Any:
    done, pending = await _real["asyncio.wait"](fs, **options)
    if current() is None:
        return done, pending
    return _CreationOrder(done), _CreationOrder(pending)


def _all_tasks(loop: asyncio.AbstractEventLoop | None = None) -> Any:
    tasks = _real["asyncio.all_tasks"](loop)
    return tasks if current() is None else _CreationOrder(tasks)


class Boundary:
    """Everything that is replaced, put in place once for many executions and taken out again.

    It may be entered more than once; the outermost exit restores.
    """

    _depth = 0
    _undo: list[tuple[Any, str, Any]] = []  # noqa: RUF012 - one process, one boundary
    _travel: Any = None

    def __enter__(self) -> Boundary:
        cls = type(self)
        cls._depth += 1
        if cls._depth == 1:
            try:
                self._install()
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *details: object) -> None:
        cls = type(self)
        cls._depth -= 1
        if cls._depth:
            return
        for owner, name, value in reversed(cls._undo):
            setattr(owner, name, value)
        cls._undo.clear()
        if cls._travel is not None:
            cls._travel.stop()
            cls._travel = None

    def _install(self) -> None:
        cls = type(self)
        cls._travel = time_machine.travel(0, tick=False)
        cls._travel.start()
        time_machine.traveller_stack[-1] = _WorldTraveller(0, None, tick=False)
        replaced = {
            "time.monotonic": _monotonic,
            "time.monotonic_ns": _monotonic_ns,
            "time.perf_counter": _perf_counter,
            "time.perf_counter_ns": _perf_counter_ns,
            "time.sleep": _sleep,
            "os.urandom": _urandom,
            "socket.getaddrinfo": _getaddrinfo,
            "socket.gethostbyname": _gethostbyname,
            "socket.socketpair": _socketpair,
            "asyncio.wait": _wait,
            "asyncio.all_tasks": _all_tasks,
        }
        for dotted, new in replaced.items():
            module, name = dotted.split(".")
            self._set(sys.modules[module], name, new)
        self._rebind({id(_real[dotted]): new for dotted, new in replaced.items()})
        self._set(asyncio.tasks, "wait", _wait)
        self._set(asyncio.tasks, "all_tasks", _all_tasks)
        self._set(random, "_urandom", _urandom)
        self._set(random.Random, "seed", _seed)
        self._set(uuid, "getnode", _getnode)
        self._set(socket, "socket", sockets.SimSocket)
        self._set(sockets.real_socket, "__init__", _socket_init)
        self._set(threading.Thread, "start", _refusing("threading.Thread.start()", threading.Thread.start, _NO_THREAD))
        self._set(subprocess.Popen, "__init__",
                  _refusing("subprocess.Popen()", subprocess.Popen.__init__, _NO_PROCESS))
        for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system"):
            self._set(os, name, _refusing(f"os.{name}()", getattr(os, name), _NO_PROCESS))

    def _set(self, owner: Any, name: str, value: Any) -> None:
        type(self)._undo.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def _rebind(self, replacements: dict[int, Any]) -> None:
        """Follow ``from time import monotonic`` into the modules that did it."""
        for name, module in list(sys.modules.items()):
            if module is None or name.partition(".")[0] in _UNTOUCHED:
                continue
            variables = getattr(module, "__dict__", None)
            if not isinstance(variables, dict):
                continue
            for attribute, value in list(variables.items()):
                new = replacements.get(id(value))
                if new is not None and value is not new:
                    type(self)._undo.append((module, attribute, value))
                    variables[attribute] = new
