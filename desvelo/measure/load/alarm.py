"""Wakes an event loop at a moment, to within microseconds.

The timers of asyncio are rounded up to whole milliseconds, which is longer than many an answer
takes. Linux has timers that are files (timerfd_create(2)); elsewhere asyncio's have to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable
from time import perf_counter

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1


class _Moment(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timer(ctypes.Structure):
    _fields_ = (("interval", _Moment), ("first", _Moment))


class Alarm:
    """Calls ``wake`` once for each `set`; a later `set` replaces the one before."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._file = -1
        with contextlib.suppress(OSError, AttributeError):
            self._library = ctypes.CDLL(None, use_errno=True)
            self._file = self._library.timerfd_create(
                _CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC
            )
        if self._file >= 0:
            self._loop.add_reader(self._file, self._ring)

    def set(self, moment: float) -> None:
        """Wake at a moment of `time.perf_counter`, at once when it has passed."""
        if self._file < 0:
            self.unset()
            delay = max(0.0, moment - perf_counter())
            self._handle = self._loop.call_later(delay, self._wake)
            return
        # All zeros would switch the timer off; the clock of Linux began when the machine did.
        nanoseconds = max(1, round(moment * 1e9))
        timer = _Timer(_Moment(0, 0), _Moment(*divmod(nanoseconds, 1_000_000_000)))
        self._library.timerfd_settime(self._file, _ABSOLUTE, ctypes.byref(timer), None)

    def unset(self) -> None:
        """Do not wake for what was set."""
        if self._handle is not None:
            self._handle.cancel()

    def close(self) -> None:
        """Never wake again."""
        self.unset()
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._file, 8)
            self._wake()
