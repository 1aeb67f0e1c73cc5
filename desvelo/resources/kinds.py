"""The kinds of resources, in the order of who owns whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NAMES = (
    "loop",
    "pool",
    "session",
    "client",
    "connector",
    "server",
    "websocket",
    "response",
    "executor",
    "process",
    "connection",
    "transport",
    "tempfile",
    "task",
    "coroutine",
    "asyncgen",
    "lock",
    "port",
    "socket",
    "thread",
    "file",
    "resource",
    "blocked",
)
"""An earlier one may own a later one, and answers for it: a session for its connector."""

OWNERS = {"pool", "session", "client", "connector", "server", "executor", "connection"}
"""Kinds that open further resources by themselves, later on."""


@dataclass(frozen=True, eq=False)
class Kind:
    """What is known about one class of resources."""

    name: str
    """One of `NAMES`: what ``allow_leak`` is told."""
    describe: Callable[[Any], str]
    is_open: Callable[[Any], bool]
    omitted: str = "never closed"
    """What nobody did."""
    led_by: Callable[[Any], tuple[Any, str]] | None = None
    """Returns what made it where no line of the user's did, and how to say so."""

    @property
    def rank(self) -> int:
        """Return the place among the owners; smaller answers for larger."""
        return NAMES.index(self.name)

    def still_open(self, resource: Any) -> bool:
        """Tell whether it is open; one that cannot say, half made or half gone, is not accused."""
        try:
            return bool(self.is_open(resource))
        except Exception:
            return False

    def text(self, resource: Any) -> str:
        """Describe one in a few words."""
        try:
            return self.describe(resource)
        except Exception:
            return f"{type(resource).__module__}.{type(resource).__qualname__}"


def class_name(resource: Any) -> str:
    """Return the dotted name of its class, the public one where a library hides its modules.

    >>> import threading
    >>> class_name(threading.Event())
    'threading.Event'
    """
    kind = type(resource)
    module = kind.__module__.partition("._")[0]
    public = module.partition(".")[0]
    if public == "concurrent":
        module = "concurrent.futures"
    if public in {"aiohttp", "httpx", "psycopg", "psycopg_pool", "asyncpg", "asyncio"}:
        module = public
    return f"{module}.{kind.__qualname__}"
