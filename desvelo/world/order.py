"""Order that would come from addresses: sets of tasks, protocols, queues and the like.

Python hashes an object by where it lies in memory, so a set of such objects is walked in
another order in every process. Inside the world the objects that servers and clients keep in
sets are hashed by when they were made.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from desvelo.world.inside import current

_real_wait = asyncio.wait
_real_all_tasks = asyncio.all_tasks
_real_as_completed = asyncio.as_completed


class CreationOrder(set[Any]):
    """A set of tasks or futures that is walked in the order of their creation."""

    def __iter__(self) -> Iterator[Any]:
        return iter(sorted(super().__iter__(), key=_creation))

    def pop(self) -> Any:
        """Take out the one that was created first."""
        for first in self:
            self.remove(first)
            return first
        raise KeyError("pop from an empty set")


def _creation(future: Any) -> int:
    return getattr(future, "_desvelo_number", 0)


async def _wait(fs: Iterable[Any], **options: Any) -> Any:
    done, pending = await _real_wait(fs, **options)
    if current() is None:
        return done, pending
    return CreationOrder(done), CreationOrder(pending)


def _all_tasks(loop: asyncio.AbstractEventLoop | None = None) -> Any:
    tasks = _real_all_tasks(loop)
    return tasks if current() is None else CreationOrder(tasks)


def _as_completed(fs: Iterable[Any], *, timeout: float | None = None) -> Any:
    if current() is not None and not asyncio.iscoroutine(fs) and not asyncio.isfuture(fs):
        # It would start them in the order of a set of coroutines.
        fs = [asyncio.ensure_future(awaitable) for awaitable in dict.fromkeys(fs)]
    return _real_as_completed(fs, timeout=timeout)


class _AcquireInOrder:
    """Takes the locks of futures in the order in which these were made.

    Stands for what `concurrent.futures` goes about with in the order of addresses.
    """

    def __init__(self, futures: Iterable[Any]) -> None:
        self.futures = sorted(futures, key=_creation if current() is not None else id)

    def __enter__(self) -> None:
        for future in self.futures:
            future._condition.acquire()

    def __exit__(self, *details: object) -> None:
        for future in self.futures:
            future._condition.release()


def replacements() -> dict[str, Callable[..., Any]]:
    """Return what stands in for which function, by dotted name."""
    return {
        "asyncio.wait": _wait,
        "asyncio.all_tasks": _all_tasks,
        "asyncio.as_completed": _as_completed,
    }


ATTRIBUTES: tuple[tuple[Any, str, Any], ...] = (
    (asyncio.tasks, "wait", _wait),
    (asyncio.tasks, "all_tasks", _all_tasks),
    (asyncio.tasks, "as_completed", _as_completed),
    (concurrent.futures._base, "_AcquireFutures", _AcquireInOrder),
)
"""What is replaced in one place only: (owner, name, stand-in)."""


class OrderedReferences:
    """A weak set that is walked in the order in which its members came.

    >>> class Thing:
    ...     pass
    >>> one, two = Thing(), Thing()
    >>> members = OrderedReferences()
    >>> members.add(two), members.add(one), members.add(two)
    (None, None, None)
    >>> list(members) == [two, one]
    True
    """

    def __init__(self) -> None:
        self._references: dict[int, weakref.ref[Any]] = {}

    def add(self, item: Any) -> None:
        """Add a member."""
        key, references = id(item), self._references

        def gone(reference: weakref.ref[Any]) -> None:
            if references.get(key) is reference:
                del references[key]

        if key not in references:
            references[key] = weakref.ref(item, gone)

    def discard(self, item: Any) -> None:
        """Remove a member if it is one."""
        self._references.pop(id(item), None)

    def clear(self) -> None:
        """Remove all."""
        self._references.clear()

    def __len__(self) -> int:
        return len(self._references)

    def __iter__(self) -> Iterator[Any]:
        for reference in list(self._references.values()):
            item = reference()
            if item is not None:
                yield item


_NUMBERED = {
    "threading": ("Event", "Thread"),
    "queue": ("Queue", "_PySimpleQueue"),
    "concurrent.futures._base": ("Future",),
    "asyncio.streams": ("StreamReader", "StreamReaderProtocol", "StreamWriter"),
    "asyncio.queues": ("Queue",),
    "asyncio.locks": ("Condition", "Event", "Lock", "Semaphore"),
    "asyncio.tasks": ("_GatheringFuture",),
    "asyncio.selector_events": ("_SelectorTransport",),
    "asyncio.sslproto": ("SSLProtocol", "_SSLProtocolTransport"),
    "aiohttp.client": ("ClientSession",),
    "aiohttp.client_proto": ("ResponseHandler",),
    "aiohttp.client_reqrep": ("ClientResponse",),
    "aiohttp.client_ws": ("ClientWebSocketResponse",),
    "aiohttp.connector": ("_TransportPlaceholder",),
    "aiohttp.web_protocol": ("RequestHandler",),
    "aiohttp.web_response": ("StreamResponse",),
    "aiohttp.web_ws": ("WebSocketResponse",),
    "anyio._backends._asyncio": ("CancelScope", "TaskGroup"),
    "redis.asyncio.connection": ("AbstractConnection",),
    "redis.connection": ("AbstractConnection",),
    "starlette.websockets": ("WebSocket",),
    "uvicorn.protocols.http.h11_impl": ("H11Protocol",),
    "uvicorn.protocols.http.httptools_impl": ("HttpToolsProtocol",),
    "uvicorn.protocols.websockets.websockets_impl": ("WebSocketProtocol",),
    "uvicorn.protocols.websockets.websockets_sansio_impl": ("WebSocketsSansIOProtocol",),
    "uvicorn.protocols.websockets.wsproto_impl": ("WSProtocol",),
    "websockets.asyncio.connection": ("Connection",),
}
"""Classes whose instances are kept in sets, by their own libraries or by those who use them."""

_SLOT = "_desvelo_number"
_apart: dict[int, tuple[weakref.ref[Any], int]] = {}
"""Numbers of those objects that have no place for one: ``id`` to object and number."""


def stand_ins(done: set[str]) -> list[tuple[Any, str, Any]]:
    """Return (class, name, stand-in) for the classes that are loaded and not yet in ``done``."""
    found: list[tuple[Any, str, Any]] = []
    for module, names in _NUMBERED.items():
        if module in done or module not in sys.modules:
            continue
        done.add(module)
        for name in names:
            cls = getattr(sys.modules[module], name, None)
            if not isinstance(cls, type):
                continue
            if cls.__dictoffset__:
                keep, look = _keep_inside, _look_inside
            elif cls.__weakrefoffset__:
                keep, look = _keep_apart, _look_apart
            else:
                # Nothing can be kept with it, but all may have one hash: they are few.
                found.append((cls, "__hash__", _one_hash))
                continue
            real: Any = cls.__hash__
            found.append((cls, "__init__", _numbering(cls.__init__, keep, look)))  # type: ignore[misc] # it is wrapped, not called
            found.append((cls, "__hash__", _hash_by_number(real, look)))
    return found


def _keep_inside(item: Any, number: int) -> None:
    # Past any __setattr__ of its own, which may warn of attributes that it does not know.
    object.__setattr__(item, _SLOT, number)


def _look_inside(item: Any) -> int | None:
    return getattr(item, _SLOT, None)


def _keep_apart(item: Any, number: int) -> None:
    key = id(item)
    _apart[key] = weakref.ref(item, lambda reference: _apart.pop(key, None)), number


def _look_apart(item: Any) -> int | None:
    entry = _apart.get(id(item))
    return entry[1] if entry is not None else None


def _one_hash(item: Any) -> int:
    return -2


def _numbering(
    init: Callable[..., None],
    keep: Callable[[Any, int], None],
    look: Callable[[Any], int | None],
) -> Callable[..., None]:
    @functools.wraps(init)
    def __init__(self: Any, *arguments: Any, **options: Any) -> None:  # noqa: N807 - it is one
        world = current()
        if world is not None and look(self) is None:
            keep(self, world.next_object(type(self)))
        init(self, *arguments, **options)

    return __init__


def _hash_by_number(
    real: Callable[[Any], int], look: Callable[[Any], int | None]
) -> Callable[[Any], int]:
    def __hash__(self: Any) -> int:  # noqa: N807 - it is one
        number = look(self)
        return real(self) if number is None else number

    return __hash__
