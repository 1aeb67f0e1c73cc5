"""Values as a story shows them: short, without addresses, and without running the target's code.

A ``repr`` of the target's own may do anything, and that of a set differs from process to process;
both would make two runs of one schedule differ.
"""

from __future__ import annotations

import asyncio
import collections
import queue
import threading
from typing import Any

from desvelo.world.threads.locks import Lock, RLock

_SCALARS = (int, float, complex, str, bytes, bool, type(None))
_MOST_ITEMS = 6
CONTAINERS = (list, dict, set, bytearray, collections.deque)
PRIMITIVES = (
    asyncio.Lock,
    asyncio.Semaphore,
    asyncio.Event,
    asyncio.Condition,
    asyncio.Queue,
    asyncio.Future,
    Lock,
    RLock,
    threading.Condition,
    threading.Event,
    threading.Semaphore,
    queue.Queue,
)


_OF_THREADS = PRIMITIVES[6:]


def describe_value(value: Any, limit: int = 40) -> str:
    """Return a short text for a plain value or an asyncio primitive, else its type.

    >>> describe_value({"b", "a"}), describe_value([object()]), describe_value("x" * 99, 12)
    ("{'a', 'b'}", '[<object>]', "'xxxxx…xxxx'")
    >>> describe_value(asyncio.Lock())
    'free'
    """
    return shorten(_text(value, depth=3), limit)


def shorten(text: str, limit: int) -> str:
    """Cut a long text in the middle, where it tells least.

    >>> shorten("session.post(url, json=body)", 15)
    'session…n=body)'
    """
    if len(text) <= limit:
        return text
    left = limit // 2
    return f"{text[:left]}…{text[len(text) - (limit - left - 1) :]}"


def is_plain(value: Any) -> bool:
    """Tell whether a value is worth showing."""
    return isinstance(value, (*_SCALARS, tuple, frozenset, *CONTAINERS, *PRIMITIVES))


def fingerprint(value: Any) -> tuple[str, int]:
    """Return what changes when a value changes: its text, and its length when it is long."""
    size = len(value) if isinstance(value, CONTAINERS) else 0
    return _text(value, depth=3), size


def _text(value: Any, depth: int) -> str:
    kind = type(value)
    if kind in _SCALARS:
        return repr(value)
    if isinstance(value, PRIMITIVES):
        return _state(value)
    if isinstance(value, (dict, *CONTAINERS, tuple, frozenset)) and depth > 0:
        return _items(value, depth - 1)
    if isinstance(value, str):  # an enumeration's member, a subclass
        return str.__repr__(value)
    return f"<{kind.__name__}>"


def _items(value: Any, depth: int) -> str:
    if isinstance(value, bytearray):
        return repr(bytes(value))
    if isinstance(value, dict):
        shown = [
            f"{_text(k, depth)}: {_text(v, depth)}"
            for k, v in list(dict.items(value))[:_MOST_ITEMS]
        ]
    elif isinstance(value, (set, frozenset)):
        shown = sorted(_text(item, depth) for item in value)[:_MOST_ITEMS]
    else:
        shown = [_text(item, depth) for item in list(value)[:_MOST_ITEMS]]
    if len(value) > _MOST_ITEMS:
        shown.append(f"… {len(value)} in all")
    text = ", ".join(shown)
    if isinstance(value, tuple):
        return f"({text},)" if len(value) == 1 else f"({text})"
    if isinstance(value, (set, frozenset)):
        return f"{{{text}}}" if shown else "empty set"
    return f"{{{text}}}" if isinstance(value, dict) else f"[{text}]"


def _state(value: Any) -> str:
    if isinstance(value, _OF_THREADS):
        return _state_of_threads(value)
    if isinstance(value, (asyncio.Lock, asyncio.Condition)):
        return "locked" if value.locked() else "free"
    if isinstance(value, asyncio.Semaphore):
        return f"{value._value} free"
    if isinstance(value, asyncio.Event):
        return "set" if value.is_set() else "not set"
    if isinstance(value, asyncio.Queue):
        size = value.qsize()
        return f"{size} item{'' if size == 1 else 's'}" if size else "empty"
    if value.cancelled():
        return "cancelled"
    return "done" if value.done() else "pending"


def _state_of_threads(value: Any) -> str:
    """Look at a lock and the like of `threading` without taking any."""
    if isinstance(value, (Lock, RLock)):
        return "locked" if value.holder is not None else "free"
    if isinstance(value, threading.Condition):
        lock = getattr(value, "_lock", None)
        return _state(lock) if isinstance(lock, (Lock, RLock)) else "a condition"
    if isinstance(value, threading.Event):
        return "set" if value._flag else "not set"  # type: ignore[attr-defined] # is_set of its own may be overridden
    if isinstance(value, threading.Semaphore):
        return f"{value._value} free"
    size = len(getattr(value, "queue", ()))
    return f"{size} item{'' if size == 1 else 's'}" if size else "empty"
