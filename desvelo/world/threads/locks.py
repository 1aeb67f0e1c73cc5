"""``threading.Lock`` and ``RLock`` as the world has them; all else in `threading` is made of them.

Each holds a real lock, so it keeps its meaning outside the world, and for threads that the
world does not know. Inside it nobody blocks for real: a controlled thread gives the baton back
until the lock is free. ``Condition``, ``Event``, ``Semaphore``, ``Barrier``, ``Queue`` and
``Future`` are the standard library's own, standing on these.
"""

from __future__ import annotations

import _thread
import concurrent.futures._base
import concurrent.futures.thread
import queue
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from desvelo.world import order
from desvelo.world.inside import current
from desvelo.world.threads import starting
from desvelo.world.threads.thread import ControlledThread

if TYPE_CHECKING:
    from desvelo.world.world import World

real_lock = _thread.allocate_lock
real_rlock = _thread.RLock
LOCK_TYPE: type = type(real_lock())
RLOCK_TYPE: type = real_rlock

Place = tuple[CodeType, int]
"""A code object and how far it had come: a line that is looked up only when it is shown."""

_THROUGH = {
    module.__file__
    for module in (
        threading,
        queue,
        concurrent.futures._base,
        concurrent.futures.thread,
        order,
        starting,
    )
} | {__file__}
"""Files that take locks in the name of whoever calls them."""


def place_of(frame: FrameType | None) -> Place | None:
    """Return where the code stands that asked for a lock, through `threading` and its like."""
    while frame is not None and frame.f_code.co_filename in _THROUGH:
        frame = frame.f_back
    return None if frame is None else (frame.f_code, frame.f_lasti)


PATIENCE = 0.2
"""Real seconds for a thread outside the world to give a lock back.

When such a thread does so is real time, and nothing can make that the same twice: what comes of it
is determined only where it has given the lock back long before, or never does. Each lock is
waited for in this way once; from then on its holder counts as gone.
"""


class _Base:
    """What both kinds share."""

    __slots__ = (
        "__weakref__",
        "_depth",
        "_made",
        "_owner",
        "_patience",
        "_real",
        "_since",
        "_world",
    )

    _real: Any
    _fresh: ClassVar[Callable[[], Any]]
    """Makes a lock of the real kind."""

    def __init__(self, real: Any, made: Place | None) -> None:
        self._real = real
        self._made = made
        self._world: World | None = None
        self._owner: ControlledThread | None = None
        self._since: Place | None = None
        self._depth = 0
        self._patience = PATIENCE

    def __repr__(self) -> str:
        state = "locked" if self._owner is not None or self._depth else "unlocked"
        return f"<{state} {type(self).__name__}>"

    @property
    def holder(self) -> ControlledThread | None:
        """Who has it, as far as this world knows."""
        return self._owner

    def _enter_world(self, world: World) -> None:
        """Forget a world that has ended: whoever held the lock there is gone."""
        if self._owner is not None:
            self._real = type(self)._fresh()
            self._owner = None
            self._depth = 0
        self._world = world

    def _block(self, blocking: bool, timeout: float) -> bool:
        """Wait until the lock is free and take it; False when the time is over."""
        if not blocking:
            return False
        world = self._world
        assert world is not None
        threads = world.threads
        if threads.current().dying:
            return True
        if self._owner is None and self._patience > 0:
            # A thread that this world does not know has it, and will give it back; or else it
            # was locked once and for all before the world began.
            if self._real.acquire(True, self._patience):
                return True
            self._patience = 0.0
        limit = None if timeout < 0 else timeout
        until = 0.0 if limit is None else world.clock.monotonic() + limit
        while not self._real.acquire(False):
            left = None if limit is None else until - world.clock.monotonic()
            if left is not None and left <= 0:
                return False
            if not threads.wait(self._is_free, "a lock", left, self._describe):
                return False
        return True

    def _is_free(self) -> bool:
        # Only looked at: to take it would keep away a thread that this world does not know.
        return self._owner is None and not self.locked()

    def locked(self) -> bool:
        """Tell whether somebody has it."""
        raise NotImplementedError

    def _describe(self) -> str:
        from desvelo.world.threads.blocked import describe_lock

        return describe_lock(self._made, self._owner, self._since)


class Lock(_Base):
    """Stands for ``threading.Lock``."""

    __slots__ = ()
    _fresh = staticmethod(real_lock)

    def __init__(self, real: Any = None) -> None:
        super().__init__(real or real_lock(), place_of(sys._getframe(1)))

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock; as ``threading.Lock.acquire``."""
        world = current()
        if world is None:
            return bool(self._real.acquire(blocking, timeout))
        if timeout != -1:
            _check(blocking, timeout)
        if self._world is not world:
            self._enter_world(world)
        threads = world.threads
        frame: FrameType | None = sys._getframe(1)
        if threads.running is not None and blocking and frame is not None:
            threads.before_lock(frame)
        if not self._real.acquire(False) and not self._block(blocking, timeout):
            return False
        self._owner = threads.running or threads.main
        while frame is not None and frame.f_code.co_filename in _THROUGH:
            frame = frame.f_back
        self._since = (frame.f_code, frame.f_lasti) if frame is not None else None
        return True

    def release(self) -> None:
        """Give the lock back; as ``threading.Lock.release``."""
        world = self._world
        if world is None:
            self._real.release()
            return
        if not self._real.locked() and world.threads.current().dying:
            return
        self._real.release()
        self._owner = None
        if world.threads.waiting and current() is world:
            world.threads.look()

    def locked(self) -> bool:
        """Tell whether somebody has it."""
        return bool(self._real.locked())

    __enter__ = acquire

    def __exit__(self, *details: object) -> None:
        self.release()

    def _at_fork_reinit(self) -> None:
        self._real._at_fork_reinit()
        self._owner = None

    acquire_lock = acquire
    release_lock = release
    locked_lock = locked


class RLock(_Base):
    """Stands for ``threading.RLock``."""

    __slots__ = ()
    _fresh = staticmethod(real_rlock)

    def __init__(self, real: Any = None) -> None:
        super().__init__(real or real_rlock(), place_of(sys._getframe(1)))

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, perhaps again; as ``threading.RLock.acquire``."""
        world = current()
        if world is None:
            return bool(self._real.acquire(blocking, timeout))
        if timeout != -1:
            _check(blocking, timeout)
        if self._world is not world:
            self._enter_world(world)
        threads = world.threads
        me = threads.running or threads.main
        frame = sys._getframe(1)
        if blocking and self._owner is not me and threads.running is not None:
            threads.before_lock(frame)
        if not self._real.acquire(False) and not self._block(blocking, timeout):
            return False
        if self._owner is not me:
            self._owner, self._depth = me, 1
            self._since = place_of(frame)
        else:
            self._depth += 1
        return True

    def release(self) -> None:
        """Give the lock back once; as ``threading.RLock.release``."""
        world = self._world
        if world is None or current() is not world:
            self._real.release()
            return
        if not self._real._is_owned() and world.threads.current().dying:
            return
        self._real.release()
        self._depth -= 1
        if not self._depth:
            self._owner = None
            if world.threads.waiting:
                world.threads.look()

    __enter__ = acquire

    def __exit__(self, *details: object) -> None:
        self.release()

    if sys.version_info < (3, 14):

        def locked(self) -> bool:
            """Tell whether somebody has it; before Python 3.14 only its text says so."""
            return repr(self._real).startswith("<locked")

    else:

        def locked(self) -> bool:
            """Tell whether somebody has it."""
            return bool(self._real.locked())

    def _is_owned(self) -> bool:
        return bool(self._real._is_owned())

    def _recursion_count(self) -> int:
        return self._depth

    def _release_save(self) -> Any:
        if current() is None:
            return self._real._release_save()
        depth = self._depth
        for _ in range(depth):
            self.release()
        return depth

    def _acquire_restore(self, state: Any) -> None:
        if not isinstance(state, int):
            self._real._acquire_restore(state)
            return
        for _ in range(state):
            self.acquire()

    def _at_fork_reinit(self) -> None:
        self._real._at_fork_reinit()
        self._owner, self._depth = None, 0


def _check(blocking: bool, timeout: float) -> None:
    """Refuse a time-out as the real ones do, also where the lock is free."""
    if not blocking:
        raise ValueError("can't specify a timeout for a non-blocking call")
    if timeout < 0:
        raise ValueError("timeout value must be a non-negative number")
