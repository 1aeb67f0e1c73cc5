"""``threading.Thread`` inside the world: started, joined and named there, under the baton.

The objects are the standard library's own. Only how they start, end and are waited for is
replaced, so that subclasses, timers and pools work as they are.
"""

from __future__ import annotations

import _thread
import concurrent.futures.thread as pools
import functools
import itertools
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from desvelo.world.inside import current
from desvelo.world.threads.thread import ControlledThread, ThreadExit
from desvelo.world.whereabouts import calling_line, is_foreign, is_installed

if TYPE_CHECKING:
    from desvelo.world.world import World

_real_start = threading.Thread.start
_real_join = threading.Thread.join
_real_is_alive = threading.Thread.is_alive
_real_start_new_thread = _thread.start_new_thread
_MARK = "_desvelo_thread"
_WORLD = "_desvelo_world"
_real_pool_init = pools.ThreadPoolExecutor.__init__


@functools.wraps(_real_pool_init)
def _pool_init(self: Any, *arguments: Any, **options: Any) -> None:
    setattr(self, _WORLD, current())
    _real_pool_init(self, *arguments, **options)
    self._threads = _InOrder()


class _InOrder(dict[Any, None]):
    """The threads of a pool, which are joined in the order in which they began.

    In a set their order is that of their addresses.
    """

    def add(self, thread: Any) -> None:
        """Put one in."""
        self[thread] = None

    def discard(self, thread: Any) -> None:
        """Take one out, if it is there."""
        self.pop(thread, None)

    remove = dict.__delitem__


_GIVEN_NAME = re.compile(r"Thread-\d+( \(.*\))?")


_TEMPLATE: Any = threading.Thread(name="", daemon=False)
_TEMPLATE._started.set()


def register(name: str) -> None:
    """Let this thread be known to `threading` by a name: a copy, for making one takes long."""
    me: Any = object.__new__(threading.Thread)
    me.__dict__.update(_TEMPLATE.__dict__)
    me._name = name
    me._ident = ident = threading.get_ident()
    me._native_id = threading.get_native_id()
    threading._active[ident] = me  # type: ignore[attr-defined] # where threading keeps them


def unregister() -> None:
    """Let `threading` forget this thread."""
    me: Any = threading._active.pop(threading.get_ident(), None)  # type: ignore[attr-defined] # as above
    if me is not None:
        me._is_stopped = True


def _start(self: Any) -> None:
    world = current()
    if world is None:
        _real_start(self)
        return
    if not self._initialized:
        raise RuntimeError("thread.__init__() not called")
    if self._started.is_set():
        raise RuntimeError("threads can only be started once")
    self._started._flag = True
    thread = _spawn(world, _wanted_name(self, world), lambda: _run(self, world), daemon=self.daemon)
    setattr(self, _MARK, thread)
    if getattr(self, "_target", None) is pools._worker:
        pool = self._args[0]
        world.threads.workers_of(pool)
        if getattr(pool(), _WORLD, None) is not world:
            # A pool that is older than the world is there for the whole process.
            thread.daemon = True


def _spawn(world: World, name: str, run: Callable[[], Any], *, daemon: bool) -> ControlledThread:
    threads = world.threads
    parent = threads.running
    name = threads.name_for(f"{parent.name}>{name}" if parent is not None else name)
    thread = threads.spawn(name, run, daemon=daemon, started_at=calling_line())
    if world.tracing:
        lane = threads.current().actor.lane
        world.note("spawn", lane, f"starts thread {name}", thread.started_at.partition(" in ")[0])
    world.post("spawn", name, lambda: threads.resume(thread))
    return thread


def _wanted_name(thread: Any, world: World) -> str:
    target = getattr(thread, "_target", None)
    if not _GIVEN_NAME.fullmatch(thread.name):
        return _counted_afresh(str(thread.name), world, worker=target is pools._worker)
    if target is None:
        return type(thread).__name__
    return str(getattr(target, "__name__", type(target).__name__)).strip("<>")


def _counted_afresh(name: str, world: World, *, worker: bool) -> str:
    """Number a name from 1, for the counter that it comes from may be older than the world."""
    number = ""
    if worker:
        # Each pool counts its workers from 0, and the pools without a name count with the world.
        name, separator, number = name.rpartition("_")
        number = separator + number
        if _POOL_NAME.fullmatch(name):
            return name + number
    template = _DIGITS.sub("#", name)
    places = itertools.count()

    def afresh(found: re.Match[str]) -> str:
        return str(world.threads.number_for(template, next(places), found[0]))

    return _DIGITS.sub(afresh, name) + number


_DIGITS = re.compile(r"\d+")
_POOL_NAME = re.compile(r"ThreadPoolExecutor-\d+")


def _run(thread: Any, world: World) -> None:
    thread._ident = ident = threading.get_ident()
    thread._native_id = threading.get_native_id()
    threading._active[ident] = thread  # type: ignore[attr-defined] # where threading keeps them
    try:
        thread.run()
    except (ThreadExit, SystemExit):
        pass
    except BaseException as error:
        _ended_by(thread, error, world)
    finally:
        threading._active.pop(ident, None)  # type: ignore[attr-defined] # as above
        pools._threads_queues.pop(thread, None)  # type: ignore[attr-defined] # at the end of Python they are joined
        thread._is_stopped = True


def _ended_by(thread: Any, error: BaseException, world: World) -> None:
    """An error that nobody caught is a failure, unless the target has a hook of its own."""
    hook: Any = threading.excepthook
    code = getattr(hook, "__code__", None)
    own = (
        code is not None and not is_foreign(code.co_filename) and not is_installed(code.co_filename)
    )
    if own:
        hook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))
    else:
        world.threads.errors.append((getattr(thread, _MARK).name, error))


def _join(self: Any, timeout: float | None = None) -> None:
    thread: ControlledThread | None = getattr(self, _MARK, None)
    world = current()
    if thread is None or world is None:
        if thread is None:
            _real_join(self, timeout)
        return
    if thread is world.threads.running:
        raise RuntimeError("cannot join current thread")
    if not thread.ended:
        world.threads.wait(
            lambda: thread.ended, f"the end of thread {thread.name!r}", timeout, None
        )


def _is_alive(self: Any) -> bool:
    thread: ControlledThread | None = getattr(self, _MARK, None)
    return _real_is_alive(self) if thread is None else not thread.ended


def _start_new_thread(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any = None, /
) -> int:
    world = current()
    if world is None:
        options = () if kwargs is None else (kwargs,)
        return _real_start_new_thread(function, args, *options)
    if not callable(function):
        raise TypeError("first arg must be callable")
    name = getattr(function, "__name__", "thread").strip("<>")

    def run() -> None:
        try:
            function(*args, **(kwargs or {}))
        except SystemExit:
            pass
        except Exception as error:
            world.threads.errors.append((thread.name, error))
        finally:
            threading._active.pop(threading.get_ident(), None)  # type: ignore[attr-defined] # a dummy of threading's

    thread = _spawn(world, name, run, daemon=True)
    # It has no identity before it runs.
    return -world.threads.started


class Counters:
    """The numbers in the names of threads and pools: from the beginning for each world."""

    def __init__(self) -> None:
        module: Any = threading
        pool: Any = pools.ThreadPoolExecutor
        self._before = (module._counter, pool._counter)
        module._counter = itertools.count(1).__next__
        pool._counter = itertools.count().__next__

    def restore(self) -> None:
        """Go on where the process was."""
        module: Any = threading
        pool: Any = pools.ThreadPoolExecutor
        module._counter, pool._counter = self._before


ATTRIBUTES: tuple[tuple[Any, str, Any], ...] = (
    (threading.Thread, "start", _start),
    (threading.Thread, "join", _join),
    (threading.Thread, "is_alive", _is_alive),
    (pools.ThreadPoolExecutor, "__init__", _pool_init),
    (threading, "_start_new_thread", _start_new_thread),
    (_thread, "start_new_thread", _start_new_thread),
)
"""What is replaced in one place only: (owner, name, stand-in)."""
