"""One processor for all controlled threads: only one of them runs at a time anyway.

To wake a thread on another processor takes about five times as long as on the same one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Callable

_real_clock = time.perf_counter

SECONDS = 1.0
"""After so much real time the system may choose another processor."""


def _current() -> Callable[[], int] | None:
    """Return what tells the processor that this thread runs on, where there is such a call."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    try:
        found = ctypes.CDLL(None).sched_getcpu
    except (OSError, AttributeError):
        return None
    found.argtypes = ()
    found.restype = ctypes.c_int
    return found


class Processor:
    """Keeps this thread, and those that it starts, on the processor where it is."""

    def __init__(self) -> None:
        self._current = _current()
        self._allowed: set[int] | None = None
        self._since = 0.0

    def stay(self) -> bool:
        """Stay on one processor from now on; now and then the system may choose again.

        Returns whether anything changed, which threads that are there do not follow.
        """
        if self._current is None:
            return False
        now = _real_clock()
        if self._allowed is not None:
            if now - self._since <= SECONDS:
                return False
            self.leave()
            return True
        allowed = os.sched_getaffinity(0)
        if len(allowed) > 1:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, {self._current()})
                self._allowed, self._since = allowed, now
                return True
        return False

    def leave(self) -> None:
        """Run on all the processors that there were."""
        if self._allowed is not None:
            allowed, self._allowed = self._allowed, None
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, allowed)


PROCESSOR = Processor()
