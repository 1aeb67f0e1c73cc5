"""What SQLite asks of its system, answered by the world: time, randomness, and sleep.

SQLite's busy handler is its own: it knows when waiting would deadlock and returns "locked" at
once, keeps a writer's place in the queue, and sleeps 1, 2, 5, 10, 15, 20, 25, ... ms between two
looks until the time-out has passed. All that the world changes is the sleep.
"""

from __future__ import annotations

import ctypes
import os
import random
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from desvelo.world.inside import current
from desvelo.world.sqlite import disk
from desvelo.world.sqlite.library import (
    Library,
    RandomFunction,
    SleepFunction,
    System,
    TimeFunction,
    library,
)
from desvelo.world.timekeeping import real_sleep

if TYPE_CHECKING:
    from desvelo.world.world import World

_JULIAN_EPOCH_MS = 210_866_760_000_000
"""1970-01-01 00:00 in milliseconds of SQLite's calendar."""

on_sleep: Callable[[World, int], None] | None = None
"""Called when a statement in the world waits: with the microseconds that it would sleep."""

_before: Any = None
"""The system that was the default one; known while ours is."""
_ours: Any = None
_last_world: weakref.ref[World] | None = None
_chance = random.Random()
_opening: Any = None
"""What opens files; SQLite has its address as long as it has ours."""


def install() -> None:
    """Answer for connections made from now on."""
    global _before, _ours  # noqa: PLW0603 - the process has one SQLite
    reached = library()
    if reached is None or _before is not None:
        return
    before = reached.default_system()
    if _ours is None:
        _ours = ctypes.pointer(_like(before.contents))
    reached.make_default(_ours)
    _before = before


def remove() -> None:
    """Let new connections ask the real system again."""
    global _before
    reached = library()
    if reached is None or _before is None:
        return
    before, _before = _before, None
    reached.make_default(before)


def is_ours() -> bool:
    """Tell whether SQLite asks the world."""
    return _before is not None


def enter(world: World) -> bool:
    """Begin SQLite's randomness anew; returns whether this is the first time in this world."""
    global _last_world  # noqa: PLW0603 - as above
    if _last_world is not None and _last_world() is world:
        return False
    _last_world = weakref.ref(world)
    _chance.seed(world.random_bytes(16))
    reached = library()
    if isinstance(reached, Library):
        reached.forget_randomness()
    return True


def _like(system: System) -> System:
    """Return a copy of a system that asks the world for what is the world's."""
    ours = System.from_buffer_copy(system)
    ours.name = b"desvelo"
    ours.next = None
    global _opening  # noqa: PLW0603 - as above
    _opening = disk.opening(system.open)
    ours.open = _address(_opening)
    ours.sleep = _address(_sleep_function)
    ours.current_time_int64 = _address(_time_function)
    ours.randomness = _address(_random_function)
    return ours


def _sleep(system: Any, microseconds: int) -> int:
    world = current()
    if world is None or on_sleep is None:
        real_sleep(microseconds / 1e6)
    else:
        on_sleep(world, microseconds)
    return microseconds


def _current_time(system: Any, answer: Any) -> int:
    # time-machine answers for the world, where it is one.
    answer[0] = _JULIAN_EPOCH_MS + time.time_ns() // 1_000_000
    return 0


def _randomness(system: Any, size: int, buffer: int) -> int:
    fresh = os.urandom(size) if current() is None else _chance.randbytes(size)
    ctypes.memmove(buffer, fresh, size)
    return size


# SQLite asks through these as long as a connection lives, so they stay.
_sleep_function = SleepFunction(_sleep)
_time_function = TimeFunction(_current_time)
_random_function = RandomFunction(_randomness)


def _address(function: Any) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value
