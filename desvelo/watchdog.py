"""A watchdog against a target that blocks the event loop for real.

Inside the world time is virtual, so nothing takes long, unless a call of the target holds the
thread: a C function, a lock of `threading`, a loop without an end. Such a call would hold the
exploration for ever, and nobody would know where.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any, Self

from desvelo.errors import LoopBlocked
from desvelo.world import boundary
from desvelo.world.whereabouts import display_path, user_frame

_real_clock = time.perf_counter
LOOKS_PER_LIMIT = 5


class _Interrupt(KeyboardInterrupt):
    """Goes through asyncio and through ``except Exception`` of the target, as Ctrl-C does."""


class Watchdog:
    """While it is entered, a callback that holds the loop for ``seconds`` of real time is ended.

    It raises `LoopBlocked`, which names the line. Signals reach only the main thread, so
    anywhere else it does nothing, and so it does with ``seconds=0``.

    >>> with Watchdog(10):
    ...     pass
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._active = False
        self._mark: object = None
        self._since = 0.0
        self._handler_before: Any = None
        self._timer_before = (0.0, 0.0)
        self._entered_at = 0.0
        self._said = ""

    def __enter__(self) -> Self:
        here = threading.current_thread() is threading.main_thread()
        if self._seconds > 0 and here and hasattr(signal, "setitimer"):
            self._active = True
            self._entered_at = self._since = _real_clock()
            self._handler_before = signal.signal(signal.SIGALRM, self._look)
            often = max(self._seconds / LOOKS_PER_LIMIT, 0.01)
            self._timer_before = signal.setitimer(signal.ITIMER_REAL, often, often)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._active:
            self._active = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._handler_before)
            left, interval = self._timer_before
            if left:
                # Somebody else's timer, such as a test runner's, goes on where it stood.
                passed = _real_clock() - self._entered_at
                signal.setitimer(signal.ITIMER_REAL, max(left - passed, 0.001), interval)
        # Somebody on the way may have taken the interrupt for Ctrl-C and ended in good order.
        if self._said and (error is None or isinstance(error, _Interrupt)):
            raise LoopBlocked(self._said) from None

    def _look(self, number: int, frame: FrameType | None) -> None:
        world = boundary.current()
        mark = (id(world), world.selector.polls) if world is not None else None
        now = _real_clock()
        if mark is None or mark != self._mark:
            self._mark, self._since = mark, now
        elif now - self._since >= self._seconds * (1 - 1 / LOOKS_PER_LIMIT):
            self._since = now
            self._said = (
                f"the target held the event loop for {self._seconds:g} s of real time at "
                f"{_line(frame)}; a call that blocks the thread belongs into "
                "loop.run_in_executor or out of the scenario"
            )
            raise _Interrupt(self._said)


def _line(frame: FrameType | None) -> str:
    found = user_frame(frame)
    if found is None:
        return "an unknown line"
    code = found.f_code
    return f"{display_path(code.co_filename)}:{found.f_lineno} in {code.co_name}"
