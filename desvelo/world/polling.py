"""``select.select`` and ``select.poll`` inside the world: a look at simulated sockets.

Clients such as httpx look whether an idle connection has been closed by its peer. A look
takes no time; waiting for something to happen would hold the whole world and is refused.
"""

from __future__ import annotations

import select
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from desvelo.errors import UnsupportedInWorld
from desvelo.world.inside import current
from desvelo.world.whereabouts import calling_line

if TYPE_CHECKING:
    from desvelo.world.sockets import SimSocket
    from desvelo.world.world import World

_real_select = select.select
_real_poll = select.poll
_ANY_INPUT = select.POLLIN | select.POLLPRI | select.POLLRDHUP


def _select(
    rlist: Iterable[Any],
    wlist: Iterable[Any],
    xlist: Iterable[Any],
    timeout: float | None = None,
    /,
) -> tuple[list[Any], list[Any], list[Any]]:
    world = current()
    if world is None:
        return _real_select(rlist, wlist, xlist, timeout)
    readers, writers = list(rlist), list(wlist)

    def look() -> tuple[list[Any], list[Any], list[Any]]:
        readable = [item for item in readers if _socket(world, item).has_input()]
        writable = [item for item in writers if _socket(world, item).has_room()]
        return readable, writable, []

    found = look()
    if not any(found) and timeout != 0:
        _wait(world, "select.select()", timeout)
        return look()
    return found


def _poll() -> Any:
    world = current()
    return _real_poll() if world is None else Poll(world)


class Poll:
    """What ``select.poll()`` returns inside the world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._wanted: dict[int, int] = {}

    def register(self, fd: Any, eventmask: int = _ANY_INPUT | select.POLLOUT, /) -> None:
        """Look at a simulated socket from now on."""
        self._wanted[_descriptor(fd)] = eventmask

    def modify(self, fd: Any, eventmask: int, /) -> None:
        """Look for something else."""
        number = _descriptor(fd)
        if number not in self._wanted:
            raise FileNotFoundError(2, "No such file or directory")
        self._wanted[number] = eventmask

    def unregister(self, fd: Any, /) -> None:
        """Look at it no longer."""
        del self._wanted[_descriptor(fd)]

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Return what is ready; ``timeout`` is in milliseconds."""
        found = self._look()
        if not found and timeout != 0:
            negative = timeout is None or timeout < 0
            _wait(self._world, "poll()", None if negative else timeout / 1000)  # type: ignore[operator] # not None
            found = self._look()
        return found

    def _look(self) -> list[tuple[int, int]]:
        found = []
        for fd, mask in self._wanted.items():
            sock = self._world.network.sockets.get(fd)
            if sock is None:
                found.append((fd, select.POLLNVAL))
                continue
            ready = mask & _ANY_INPUT if sock.has_input() else 0
            ready |= mask & select.POLLOUT if sock.has_room() else 0
            if ready:
                found.append((fd, ready))
        return found


def _descriptor(item: Any) -> int:
    return item if isinstance(item, int) else int(item.fileno())


def _socket(world: World, item: Any) -> SimSocket:
    fd = _descriptor(item)
    if fd not in world.network.sockets:
        world.refuse_descriptor(fd)
    return world.network.sockets[fd]


def _wait(world: World, call: str, timeout: float | None) -> None:
    if timeout is None:
        raise UnsupportedInWorld(
            f"{call} without a time-out at {calling_line()}: it would hold the event loop and "
            "with it the whole world; use the event loop to wait"
        )
    world.block_for(timeout)


def replacements() -> dict[str, Any]:
    """Return what stands in for which function, by dotted name."""
    return {"select.select": _select, "select.poll": _poll}
