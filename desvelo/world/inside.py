"""Which world the running code is inside of: the one question that every replacement asks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from desvelo import errors

if TYPE_CHECKING:
    from desvelo.world.world import World

_inside: World | None = None
_thread = 0
get_ident = threading.get_ident


def enter(world: World) -> None:
    """Begin to answer for a world, in this thread."""
    global _inside, _thread  # noqa: PLW0603 - the process has one boundary
    _thread = get_ident()
    errors.on_refusal = world.refusals.append
    _inside = world


def pass_to(thread: int) -> None:
    """Answer in another thread from now on: the one that has got the baton."""
    global _thread  # noqa: PLW0603 - the process has one boundary
    _thread = thread


def leave() -> None:
    """Answer for the real process again."""
    global _inside  # noqa: PLW0603 - the process has one boundary
    _inside = None
    errors.on_refusal = None


def current() -> World | None:
    """Return the world that this thread runs in, if any."""
    return _inside if _inside is not None and get_ident() == _thread else None
