"""The threads of the operating system that carry controlled threads, used again and again.

To start one takes longer than most executions do otherwise. One that is used again must be as
good as new: what its last user kept in `threading.local`, in context variables, as its tracer or
as its running event loop is gone, on the spot at which a thread of its own would have lost it.
Where that cannot be had (Python 3.13 keeps thread-locals out of reach) each carrier serves once.
"""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, cast

_allocate_lock = _thread.allocate_lock
_start_new_thread = _thread.start_new_thread
_stack_size = _thread.stack_size
_Local = threading.local

_RUNNING_LOOP = "__asyncio_running_event_loop__"
"""A key that asyncio remembers the value of; it is emptied, not taken out."""

Release = Callable[[], Any]
Body = Callable[["Carrier"], Callable[[], Release]]
"""What a carrier runs; it returns what names the lock by which the baton goes on."""


class Carrier:
    """One thread of the operating system; it sleeps until it is given something to run."""

    __slots__ = ("body", "gate", "kept", "stack_size")

    def __init__(self) -> None:
        self.body: Body | None = None
        self.gate = _allocate_lock()
        self.gate.acquire()
        self.stack_size = _stack_size()
        self.kept: dict[Any, Any] = {}
        """The dictionary of the thread's state, where what is local to the thread is."""

    def forget(self) -> None:
        """Lose what the thread kept for itself, as at its end."""
        if sys.gettrace() is not None:
            sys.settrace(None)
        if sys.getprofile() is not None:
            sys.setprofile(None)
        kept = self.kept
        for _ in range(_ROUNDS):
            keys = [key for key in kept if key != _RUNNING_LOOP]
            if not keys:
                break
            for key in keys:
                kept.pop(key, None)
        if _RUNNING_LOOP in kept:
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(None, None)


_ROUNDS = 3
"""How often destructors may keep something anew."""


class Carriers:
    """The carriers of the process that nobody uses now."""

    def __init__(self) -> None:
        self._idle: list[Carrier] = []

    def __len__(self) -> int:
        return len(self._idle)

    def load(self, body: Body) -> Release:
        """Return what starts ``body`` in a thread; the caller does so as its last act."""
        carrier = self._idle.pop() if self._idle else None
        if carrier is not None and carrier.stack_size != _stack_size():
            carrier.gate.release()
            carrier = None
        if carrier is None:
            carrier = Carrier()
            _start_new_thread(self._carry, (carrier,))
        carrier.body = body
        return carrier.gate.release

    def dismiss(self) -> None:
        """Let all idle carriers end."""
        idle, self._idle = self._idle, []
        for carrier in idle:
            carrier.gate.release()

    def lose(self) -> None:
        """Forget carriers that are not there any more: those of the parent, after a fork."""
        self._idle = []

    def _carry(self, carrier: Carrier) -> None:
        again = can_forget()
        if again:
            carrier.kept = _kept_by_this_thread()
        acquire = carrier.gate.acquire
        while True:
            acquire()
            body, carrier.body = carrier.body, None
            if body is None:
                return
            go_on = contextvars.Context().run(body, carrier)
            del body
            if again:
                self._idle.append(carrier)
            release = go_on()
            # Whatever belongs to the world is let go before somebody else runs.
            del go_on
            release()
            if not again:
                return


def _kept_by_this_thread() -> dict[Any, Any]:
    address = _state_dictionary()
    return cast("dict[Any, Any]", ctypes.cast(address, ctypes.py_object).value) if address else {}


_state_dictionary: Any = ctypes.pythonapi.PyThreadState_GetDict
_state_dictionary.argtypes = ()
# It lends the dictionary and does not give it away.
_state_dictionary.restype = ctypes.c_void_p


@functools.lru_cache(maxsize=1)
def can_forget() -> bool:
    """Tell whether this Python's thread-locals can be taken from a thread that lives on."""
    local, done = _Local(), _allocate_lock()
    done.acquire()
    gone: list[bool] = []

    def try_it() -> None:
        try:
            carrier = Carrier()
            carrier.kept = _kept_by_this_thread()
            local.value = 1
            carrier.forget()
            gone.append(not hasattr(local, "value"))
        finally:
            done.release()

    _start_new_thread(try_it, ())
    done.acquire()
    return gone == [True]


CARRIERS = Carriers()
os.register_at_fork(after_in_child=CARRIERS.lose)
