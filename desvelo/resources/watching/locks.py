"""Locks and slots that were taken and not given back.

A semaphore may count anything, and often counts down for good. It is judged where it stands for
slots: when it is bounded, or began with one.
"""

from __future__ import annotations

import functools
import sys
import threading
from typing import Any

from desvelo.resources.attaching import Hook, Library, StandIn, part
from desvelo.resources.kinds import Kind, class_name
from desvelo.resources.recorder import Recorder
from desvelo.world.whereabouts import is_foreign, is_installed

ASYNC = Kind("lock", class_name, lambda lock: lock.locked(), "left held")
# An RLock answers `locked` only on newer Pythons; what it says of itself is older.
_THREAD = Kind("lock", class_name, lambda lock: repr(lock).startswith("<locked"), "left held")


def semaphore_kind(recorder: Recorder) -> Kind:
    """Return what a semaphore is judged by: whether it lacks slots that it began with."""

    def is_short(semaphore: Any) -> bool:
        entry = recorder.entry(semaphore)
        if entry is None:
            return False
        bounded = isinstance(semaphore, threading.BoundedSemaphore) or hasattr(
            semaphore, "_bound_value"
        )
        slots: int = entry.initial
        return (bounded or slots == 1) and semaphore._value < slots  # noqa: SLF001 - not public

    return Kind("lock", class_name, is_short, "a slot of it never given back")


def _recording(recorder: Recorder, kind: Kind, *, counts: bool) -> Any:
    def make(original: Any) -> Any:
        @functools.wraps(original)
        def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807 - its place
            original(self, *args, **options)
            if recorder.active and recorder.listening() and _is_users(sys._getframe(1)):  # noqa: SLF001
                entry = recorder.made(self, kind, 2)
                if counts:
                    entry.initial = self._value

        return __init__

    return make


def _is_users(frame: Any) -> bool:
    while frame.f_code.co_name == "__init__" and is_foreign(frame.f_code.co_filename):
        frame = frame.f_back  # the constructor of a lock that is made of this one
    name = frame.f_code.co_filename
    return not is_foreign(name) and not is_installed(name)


def _asyncio_hooks(recorder: Recorder, locks: Any) -> list[Hook]:
    semaphores = semaphore_kind(recorder)
    return [
        Hook(part(locks, "Lock"), "__init__", _recording(recorder, ASYNC, counts=False)),
        Hook(part(locks, "Semaphore"), "__init__", _recording(recorder, semaphores, counts=True)),
    ]


def _threading_hooks(recorder: Recorder, module: Any) -> list[Hook]:
    semaphores = semaphore_kind(recorder)
    return [
        Hook(part(module, "Semaphore"), "__init__", _recording(recorder, semaphores, counts=True)),
        Hook(module, "Lock", lambda original: _made(recorder, original)),
        Hook(module, "RLock", lambda original: _made(recorder, original)),
    ]


def _made(recorder: Recorder, original: Any) -> Any:
    """Stand for a factory of locks; where it is a class, as Lock is since 3.13, for a class."""

    def make(*args: Any, **options: Any) -> Any:
        lock = original(*args, **options)
        if recorder.active and recorder.listening() and _is_users(sys._getframe(2)):  # noqa: SLF001
            recorder.made(lock, _THREAD, 3)
        return lock

    if not isinstance(original, type):
        return StandIn(original, make)

    class Factory(type):
        def __call__(cls, *args: Any, **options: Any) -> Any:
            return make(*args, **options)

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, original)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, original)

        def __eq__(cls, other: object) -> bool:
            return other is cls or other is original

        def __hash__(cls) -> int:
            return hash(original)

    stand_in = Factory(original.__name__, (), {"__doc__": original.__doc__})
    stand_in.__module__ = original.__module__
    stand_in.__qualname__ = original.__qualname__
    return stand_in


LIBRARIES = [
    Library("asyncio.locks", _asyncio_hooks),
    Library("threading", _threading_hooks),
]
