"""Leaks that a library reports to the event loop, where no hook of ours knows better."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from desvelo.failure import Failure, Leak

_DROPPED = {
    "Unclosed client session": ("session", "an aiohttp.ClientSession was dropped without close()"),
    "Unclosed connector": ("connector", "an aiohttp connector was dropped without close()"),
    "Unclosed connection": (
        "transport",
        "an aiohttp connection was dropped without being released",
    ),
    "Unclosed response": ("response", "an aiohttp response was dropped without being released"),
    "Task was destroyed but it is pending!": ("task", "a task was dropped while still pending"),
}


def leak_from_loop(
    context: dict[str, Any], *, leaks: bool, allowed: Collection[str] = ()
) -> tuple[bool, Failure | None]:
    """Tell whether what the loop's exception handler was told is a leak, and judge it."""
    message = str(context.get("message", ""))
    if message not in _DROPPED:
        return False, None
    kind, what = _DROPPED[message]
    if not leaks or kind in allowed:
        return True, None
    task = context.get("task")
    if task is not None:
        what += f": {task!r}"
    return True, Failure("leak", Leak(what), message, "loop")
