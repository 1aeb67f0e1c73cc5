"""Signals inside the world: handlers are remembered, and only the program itself sends any.

The real handlers stay as they are, so that Ctrl-C still stops an exploration while a server
under test believes that it has taken the signal over.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from desvelo.world.inside import current

if TYPE_CHECKING:
    from desvelo.world.world import World

_real_signal = signal.signal
_real_getsignal = signal.getsignal
_real_raise = signal.raise_signal
_real_kill = os.kill


class Signals:
    """The handlers of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._handlers: dict[int, Any] = {}

    def handle(self, number: int, handler: Any) -> Any:
        """Set a handler and return the one before, as ``signal.signal`` does."""
        before = self.handler(number)
        self._handlers[number] = handler
        return before

    def handler(self, number: int) -> Any:
        """Return the handler of a signal."""
        default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        return self._handlers.get(number, default)

    def send(self, number: int) -> None:
        """Send a signal to the simulated process: the loop's handler takes it, or Python's.

        One that nobody handles would end a real process; a simulated one has no end of its
        own, and the trace says that it was sent.
        """
        world = self._world
        name = signal.Signals(number).name
        world.note("signal", "world", f"{name} is sent")
        if world.loop.signal_arrives(number):
            return
        handler = self.handler(number)
        if callable(handler):
            handler(number, None)


def _signal(signalnum: int, handler: Any, /) -> Any:
    world = current()
    if world is None:
        return _real_signal(signalnum, handler)
    return world.signals.handle(int(signalnum), handler)


def _getsignal(signalnum: int, /) -> Any:
    world = current()
    return _real_getsignal(signalnum) if world is None else world.signals.handler(int(signalnum))


def _raise_signal(signalnum: int, /) -> None:
    world = current()
    if world is None:
        _real_raise(signalnum)
    else:
        world.signals.send(int(signalnum))


def _kill(pid: int, sig: int, /) -> None:
    world = current()
    if world is None or pid != os.getpid() or not sig:
        _real_kill(pid, sig)
    else:
        world.signals.send(int(sig))


def replacements() -> dict[str, Any]:
    """Return what stands in for which function, by dotted name."""
    return {
        "signal.signal": _signal,
        "signal.getsignal": _getsignal,
        "signal.raise_signal": _raise_signal,
        "os.kill": _kill,
    }
