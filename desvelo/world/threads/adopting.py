"""Locks that were made before the world: found where modules keep them, and exchanged in place.

A lock of a module, of a class or of an object that a module holds is exchanged for one of ours
that stands on it, so that it goes on meaning the same, in the world and outside. What hides
deeper (in a closure, behind two objects) is not found; a thread that waits for such a lock for
real is reported with its line.
"""

from __future__ import annotations

import concurrent.futures
import functools
import logging
import queue
import sys
import threading
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from desvelo.world.references import modules_of_targets
from desvelo.world.threads.locks import LOCK_TYPE, RLOCK_TYPE, Lock, RLock
from desvelo.world.whereabouts import is_foreign

_PRIMITIVES = (
    threading.Condition,
    threading.Event,
    threading.Semaphore,
    threading.Barrier,
    queue.Queue,
    concurrent.futures.Executor,
    concurrent.futures.Future,
    logging.Handler,
    functools.cached_property,
)
"""Classes of the standard library that hold locks, however deep."""

_real_simple_queue = queue.SimpleQueue
_ALSO = ("logging", "concurrent.futures.thread", "concurrent.futures._base")
_LEVELS = 2
"""From a module to an object and from there to its attributes."""

_looked: dict[str, tuple[int, int]] = {}
"""Modules by name: the object and its size when they were last looked through."""


def adopt() -> None:
    """Exchange the locks of all modules of the target, and those of logging."""
    for name, module in _modules():
        namespace = vars(module)
        mark = (id(module), len(namespace))
        file = namespace.get("__file__")
        if _looked.get(name) == mark and not (isinstance(file, str) and _is_own(file)):
            continue
        _looked[name] = mark
        for key, value in list(namespace.items()):
            new = _exchanged(value, _LEVELS, name)
            if new is not value:
                namespace[key] = new
    for reference in list(logging._handlerList):  # type: ignore[attr-defined] # where it keeps them
        handler = reference()
        if handler is not None:
            _inside(handler, 1, "")


def _modules() -> Iterator[tuple[str, ModuleType]]:
    for name, module in modules_of_targets(sys.modules):
        file = vars(module).get("__file__")
        if isinstance(file, str) and not is_foreign(file):
            yield name, module
    for name in _ALSO:
        if name in sys.modules:
            yield name, sys.modules[name]


def _is_own(file: str) -> bool:
    from desvelo.world.tracing import is_own_code

    return is_own_code(file)


def _exchanged(value: Any, levels: int, module: str) -> Any:
    """Return what takes the place of a value: itself, unless it is a lock."""
    kind = type(value)
    if kind is LOCK_TYPE:
        return _ours(value, Lock)
    if kind is RLOCK_TYPE:
        return _ours(value, RLock)
    if kind is _real_simple_queue:
        return _plain(value)
    if isinstance(value, _PRIMITIVES):
        _inside(value, 1, module)
    elif levels > 0:
        if kind in (dict, list):
            _in_container(value, levels - 1, module)
        elif isinstance(value, type):
            if value.__module__ == module:
                _in_class(value, levels - 1, module)
        elif not isinstance(value, (ModuleType, FunctionType)) and hasattr(kind, "__dict__"):
            _inside(value, levels - 1, module)
    return value


_made: dict[int, Any] = {}
"""Ours, by the identity of the real one, which it keeps alive."""


def _ours(real: Any, kind: type) -> Any:
    known = _made.get(id(real))
    if known is None:
        known = _made[id(real)] = kind(real)
        known._made = None
    return known


def _plain(real: Any) -> Any:
    """Return a queue made of locks with the same items."""
    known = _made.get(id(real))
    if known is None:
        known = queue._PySimpleQueue()  # type: ignore[attr-defined] # made of threading's own
        while not real.empty():
            known.put(real.get_nowait())
        _made[id(real)] = known
        known.desvelo_real = real
    return known


def _inside(value: Any, levels: int, module: str) -> None:
    try:
        namespace = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return
    if type(namespace) is not dict or len(namespace) > _MOST:
        return
    for key, held in list(namespace.items()):
        new = _exchanged(held, levels if isinstance(held, _PRIMITIVES) else 0, module)
        if new is not held:
            namespace[key] = new
    if isinstance(value, threading.Condition):
        _rebind(value)


_MOST = 500
"""Attributes of an object, or items of a container, that are looked at."""


def _rebind(condition: Any) -> None:
    """A condition keeps the methods of its lock: let them be those of the new one."""
    lock = condition._lock
    for name in ("acquire", "release", "_release_save", "_acquire_restore", "_is_owned"):
        method = getattr(lock, name, None)
        if name in vars(condition) and method is not None:
            setattr(condition, name, method)


def _in_container(value: Any, levels: int, module: str) -> None:
    if len(value) > _MOST:
        return
    for key, held in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        if isinstance(held, (LOCK_TYPE, RLOCK_TYPE, _real_simple_queue, *_PRIMITIVES)):
            new = _exchanged(held, levels, module)
            if new is not held:
                value[key] = new


def _in_class(cls: type, levels: int, module: str) -> None:
    for key, held in list(vars(cls).items()):
        if isinstance(held, (FunctionType, type)):
            continue
        new = _exchanged(held, min(levels, 1), module)
        if new is not held:
            setattr(cls, key, new)
