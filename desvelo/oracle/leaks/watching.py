"""What is watched in a simulated world, beside what is watched on the real system.

The world replaces sockets, locks, loops and connections of SQLite by its own; these are hooked
here. All else (aiohttp, httpx, drivers of databases, threads, files) is as it is outside.
"""

# ruff: noqa: SLF001 - what is judged is known from the inside

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any
from weakref import WeakSet

from desvelo.oracle.leaks.ports import port_hooks
from desvelo.oracle.leaks.recording import WorldRecorder
from desvelo.resources.attaching import Attachment, Hook, Library, every_library, part, watch_class
from desvelo.resources.creation import current_task
from desvelo.resources.hearing import Hearing
from desvelo.resources.kinds import Kind, class_name
from desvelo.resources.recorder import Recorder
from desvelo.resources.watching.aiohttp_client import client_hooks
from desvelo.resources.watching.databases import sqlite_is_open
from desvelo.resources.watching.eventloops import (
    UNCLEAN,
    cleaned_by,
    describe_task,
    end,
    generator_hooks,
    writer_hooks,
)
from desvelo.resources.watching.locks import ASYNC, semaphore_kind
from desvelo.world import boundary
from desvelo.world.actors import ACTOR
from desvelo.world.network import describe_address
from desvelo.world.threads.blocked import line_of
from desvelo.world.whereabouts import calling_line, is_foreign, is_installed, is_ours

_AS_OUTSIDE = (
    "files",
    "threads",
    "complaints",
    "databases",
    "aiohttp_client",
    "httpx_client",
    "redis_client",
)
_REPLACED = {
    "aiohttp",
    "concurrent.futures.process",
    "concurrent.futures.thread",
    "sqlite3",
    "sqlite3.dbapi2",
}
"""Modules that are watched in another way, or refused."""


# sockets, transports, servers


def describe_socket(sock: Any) -> str:
    """Say what it is and whom it talks to."""
    if sock.listening:
        return f"a socket that listens at {describe_address(sock.address)}"
    if sock.connection is None:
        return "a socket"
    side = "client" if sock.is_client else "server"
    return f"the {side}'s end of connection {sock.connection.number}"


SOCKET = Kind("socket", describe_socket, lambda sock: not sock.closed)


def _socket_of(transport: Any) -> Any:
    return getattr(transport.get_extra_info("socket"), "_sock", None)


def _describe_transport(transport: Any) -> str:
    return f"an asyncio transport, {describe_socket(_socket_of(transport))}"


TRANSPORT = Kind(
    "transport",
    _describe_transport,
    lambda transport: not transport.is_closing(),
    led_by=lambda transport: (
        getattr(transport, "_server", None),
        "accepted by the server that was made there",
    ),
)


def _describe_server(server: Any) -> str:
    places = ", ".join(describe_address(sock.getsockname()) for sock in server.sockets)
    return f"an asyncio server{' that listens at ' if places else ''}{places}"


SERVER = Kind("server", _describe_server, lambda server: bool(server.sockets))


def _server_hooks(recorder: Recorder, base_events: Any) -> list[Hook]:
    return [
        *watch_class(recorder, part(base_events, "Server"), SERVER),
        *generator_hooks(recorder, part(base_events, "BaseEventLoop")),
    ]


def _transport_hooks(recorder: Any, selector_events: Any) -> list[Hook]:
    def make(original: Any) -> Any:
        @functools.wraps(original)
        def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807 - its place
            original(self, *args, **options)
            if recorder.listening():
                creation = recorder.creation_of(self._sock)
                recorder.made(self, TRANSPORT, 2, finalized=True, creation=creation)

        return __init__

    cls = part(selector_events, "_SelectorTransport")
    finalizer = [hook for hook in watch_class(recorder, cls, TRANSPORT) if hook.name == "__del__"]
    return [Hook(cls, "__init__", make), *finalizer]


def _socket_hooks(recorder: Any, sockets: Any) -> list[Hook]:
    return [Hook(sockets.SimSocket, "__init__", lambda original: _noting(recorder, original))]


def _noting(recorder: Any, original: Any) -> Any:
    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807 - it takes its place
        original(self, *args, **options)
        # One that is accepted is made by the network, and owed to whoever listens.
        if recorder.listening() and not is_ours(sys._getframe(1).f_code.co_filename):
            recorder.mark(self, 2)

    return __init__


# tasks


def _task_is_left(task: Any) -> bool:
    if task.done():
        return bool(task._log_traceback)
    return True


TASK = Kind("task", describe_task, _task_is_left, "")


def _loop_hooks(recorder: Any, loop: Any) -> list[Hook]:
    return [
        Hook(loop.WorldLoop, "create_task", lambda original: _making_tasks(recorder, original)),
        Hook(
            loop.WorldLoop, "call_exception_handler", lambda original: _hearing(recorder, original)
        ),
    ]


def _making_tasks(recorder: Any, original: Any) -> Any:
    @functools.wraps(original)
    def create_task(self: Any, *args: Any, **options: Any) -> Any:
        task = original(self, *args, **options)
        # Those of the world itself are most of all.
        is_theirs = not is_ours(sys._getframe(1).f_code.co_filename)
        if is_theirs and recorder.listening() and not cleaned_by(recorder, task):
            recorder.mark(task, 2)
        return task

    return create_task


def _hearing(recorder: Any, original: Any) -> Any:
    @functools.wraps(original)
    def call_exception_handler(self: Any, context: dict[str, Any]) -> None:
        # The world is told too; here the task still lives, and so is known.
        task = context.get("task")
        dropped = "Task was destroyed but it is pending!"
        of_this_world = recorder.listening() and self is recorder.world.loop
        if task is not None and context.get("message") == dropped and of_this_world:
            cleaned = cleaned_by(recorder, task)
            if cleaned is not None:
                end(recorder, *cleaned, UNCLEAN)
            else:
                creation = recorder.creation_of(task) or recorder.capture(2)
                recorder.heard("task", TASK.text(task), "dropped while it was pending", creation)
        original(self, context)

    return call_exception_handler


# threads


def _executor_kind(recorder: WorldRecorder) -> Kind:
    def has_worked(pool: Any) -> bool:
        # Of a loop's pool the world runs the jobs, and the pool itself starts no thread.
        world = recorder.world
        return not pool._shutdown and (
            bool(pool._threads)
            or (world is not None and world.jobs.knows(pool) and not _is_default(world, pool))
        )

    return Kind("executor", class_name, has_worked, "never shut down")


def _is_default(world: Any, pool: Any) -> bool:
    """Tell whether it is the loop's own, which is shut down with it."""
    return bool(world.loop._default_executor is pool)


def _pool_hooks(recorder: Any, module: Any) -> list[Hook]:
    return watch_class(recorder, part(module, "ThreadPoolExecutor"), _executor_kind(recorder))


# locks


def _held_by(lock: Any) -> str:
    owner, since = lock.holder, line_of(lock._since)
    text = class_name(lock).replace("desvelo.world.threads.locks", "threading")
    if owner is None:
        return text
    who = f" by {owner.name}" if owner in lock._world.threads.alive or owner.ended else ""
    return f"{text}, taken{who}" + (f" at {since}" if since else "")


def _nobody_gives_back(lock: Any) -> bool:
    # A thread that still runs may; one that has ended, and the loop's own, which is at rest, not.
    owner = lock.holder
    return owner is not None and (owner.ended or owner not in lock._world.threads.alive)


_THREAD_LOCK = Kind("lock", _held_by, _nobody_gives_back, "left held")


def _lock_hooks(recorder: Recorder, locks: Any) -> list[Hook]:
    def make(original: Any) -> Any:
        @functools.wraps(original)
        def __init__(self: Any, real: Any, made: Any) -> None:  # noqa: N807 - its place
            original(self, real, made)
            # Python's own primitives take locks of theirs, and keep them while they wait.
            if recorder.listening() and _is_users(_maker(sys._getframe(2)).f_code):
                recorder.made(self, _THREAD_LOCK, 3)

        return __init__

    # The constructors of the locks themselves look at who calls them.
    return [Hook(part(locks, "_Base"), "__init__", make)]


def _is_users(code: Any) -> bool:
    return not is_foreign(code.co_filename) and not is_installed(code.co_filename)


def _async_lock_hooks(recorder: Recorder, locks: Any) -> list[Hook]:
    semaphores = semaphore_kind(recorder)

    def told(kind: Kind) -> Kind:
        def describe(lock: Any) -> str:
            entry = recorder.entry(lock)
            return kind.text(lock) + (f", taken by {entry.taken}" if entry and entry.taken else "")

        def is_open(lock: Any) -> bool:
            entry = recorder.entry(lock)
            # A task that still runs may give it back.
            in_use = entry is not None and any(not task.done() for task in entry.takers or ())
            return not in_use and kind.is_open(lock)

        return Kind(kind.name, describe, is_open, kind.omitted)

    return [
        hook
        for name, kind, counts in (
            ("Lock", told(ASYNC), False),
            ("Semaphore", told(semaphores), True),
        )
        for hook in (
            Hook(part(locks, name), "__init__", _recording_lock(recorder, kind, counts=counts)),
            Hook(part(locks, name), "acquire", lambda original: _taking(recorder, original)),
        )
    ]


def _recording_lock(recorder: Recorder, kind: Kind, *, counts: bool) -> Any:
    def make(original: Any) -> Any:
        @functools.wraps(original)
        def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807 - its place
            original(self, *args, **options)
            if recorder.listening() and _is_users(_maker(sys._getframe(1)).f_code):
                entry = recorder.made(self, kind, 2)
                if counts:
                    entry.initial = self._value

        return __init__

    return make


def _maker(frame: Any) -> Any:
    while frame.f_code.co_name == "__init__" and is_foreign(frame.f_code.co_filename):
        frame = frame.f_back  # the constructor of a lock that is made of this one
    return frame


def _taking(recorder: Recorder, original: Any) -> Any:
    @functools.wraps(original)
    async def acquire(self: Any) -> Any:
        result = await original(self)
        entry = recorder.entry(self)
        if entry is not None and recorder.listening():
            entry.taken = f"{ACTOR.get().lane} at {calling_line()}"
            task = current_task()
            if task is not None:
                entry.takers = entry.takers if entry.takers is not None else WeakSet()
                entry.takers.add(task)
        return result

    return acquire


# aiohttp


def _is_unreleased(response: Any) -> bool:
    # Also when its connection is gone meanwhile: that its session was closed was no release.
    return not response.closed and response.connection is not None


def _client_hooks(recorder: Recorder, aiohttp: Any) -> list[Hook]:
    return client_hooks(recorder, aiohttp, _is_unreleased)


# SQLite


def _describe_sqlite(connection: Any) -> str:
    path = getattr(connection._desvelo_session, "database", "")
    return f"sqlite3.Connection to {Path(path).name if path else 'a database in memory'}"


_SQLITE = Kind("connection", _describe_sqlite, sqlite_is_open)


def _sqlite_hooks(recorder: Recorder, connections: Any) -> list[Hook]:
    return watch_class(recorder, connections.WorldConnection, _SQLITE)


def libraries() -> list[Library]:
    """Return what can be watched in a world."""
    return [
        *(one for one in every_library(_AS_OUTSIDE) if one.module not in _REPLACED),
        Library("aiohttp", _client_hooks),
        Library("asyncio.base_events", _server_hooks),
        Library("asyncio.selector_events", _transport_hooks),
        Library("asyncio.streams", writer_hooks),
        Library("asyncio.locks", _async_lock_hooks),
        Library("concurrent.futures.thread", _pool_hooks),
        Library("desvelo.world.loop", _loop_hooks),
        Library("desvelo.world.network", lambda _, network: port_hooks(RECORDER, network)),
        Library("desvelo.world.sockets", _socket_hooks),
        Library("desvelo.world.threads.locks", _lock_hooks),
        Library("desvelo.world.sqlite.connections", _sqlite_hooks),
    ]


RECORDER = WorldRecorder()
"""One for the process, which has one world at a time."""
HEARING = Hearing(RECORDER)


class _Watch(Attachment):
    """The hooks and the hearing, in place for as long as worlds may be entered."""

    def detach(self) -> None:
        """Take them out."""
        HEARING.end()
        super().detach()


boundary.COMPANIONS.append(_Watch(RECORDER, libraries))
