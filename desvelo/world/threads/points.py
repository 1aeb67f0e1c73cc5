"""Where a controlled thread may lose the baton: what the rest of the engine calls.

Whoever stands in for something that blocks (a lock, a database call, a socket) says so with
these three functions. Outside a controlled thread they do nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from desvelo.world.inside import current


def controlled() -> bool:
    """Tell whether a controlled thread runs now.

    The main thread of a world of threads counts as one: it waits like any other, but takes no
    decisions. The loop's own thread of an asyncio world does not.

    >>> controlled()
    False
    """
    world = current()
    return world is not None and world.threads.is_controlled()


def switch_point(what: str) -> None:
    """Let others run here, if the schedule says so; does nothing outside a controlled thread.

    ``what`` says for the story what is about to happen, such as ``executes SELECT 1``.
    """
    world = current()
    if world is not None and world.threads.running is not None:
        world.threads.point(what)


def wait_until(
    ready: Callable[[], bool],
    why: str,
    *,
    timeout: float | None = None,
    waits_for: Callable[[], str] | None = None,
) -> bool:
    """Block this controlled thread until ``ready()``.

    ``ready`` is looked at whenever something has happened in the world: it must be cheap and
    free of side effects. ``timeout`` is in virtual seconds. ``why`` and ``waits_for`` word what
    a deadlock's message says of this thread: ``why`` follows "waits for", and what
    ``waits_for()`` returns takes its place when it is given.

    Returns True, or False when the time is over. Raises `UnsupportedInWorld` when it is called
    in the loop's own thread and no thread could ever make it true.
    """
    world = current()
    if world is None:
        raise RuntimeError(f"waiting for {why} outside a world")
    if ready():
        return True
    return world.threads.wait(ready, why, timeout, waits_for)


__all__ = ["controlled", "switch_point", "wait_until"]
