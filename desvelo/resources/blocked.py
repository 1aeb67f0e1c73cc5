"""A callback that holds a real event loop for too long, with the stack that it was caught in.

Every callback says when it begins and ends, and a thread looks now and then whether one has been
at it for too long. So a callback is caught in the act, in the line that takes the time, which a
measurement after the fact could not name.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from desvelo.resources.creation import Line, describe_line, lines_above, real_clock
from desvelo.resources.leak import LeakedResource
from desvelo.world import inside

_LOOKS_PER_BOUND = 4
_MOST = 20
"""Reports of one block; a loop that is always late would write a book."""
_real_wait = threading.Event


@dataclass(slots=True, eq=False)
class _Run:
    """One callback that runs, or ran for too long."""

    began: float
    lines: tuple[Line, ...] = ()
    seconds: float = 0.0


class BlockedLoop:
    """Between `begin` and `end` callbacks of asyncio's own loops may take ``bound`` seconds."""

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._running: dict[int, _Run] = {}
        """What runs at the moment, by thread."""
        self._late: list[_Run] = []
        self._stop = _real_wait()
        self._watcher: threading.Thread | None = None
        self._original: Any = None
        self._ours: Any = None

    def begin(self) -> None:
        """Watch the callbacks from now on."""
        original: Any = vars(asyncio.Handle)["_run"]  # the one place that all callbacks pass
        running, late, bound = self._running, self._late, self._bound
        clock, ident = real_clock, threading.get_ident

        @functools.wraps(original)
        def run(handle: Any) -> Any:
            if inside.current() is not None:
                return original(handle)
            thread = ident()
            outer = running.get(thread)
            run = running[thread] = _Run(clock())
            try:
                return original(handle)
            finally:
                run.seconds = clock() - run.began
                if outer is not None:
                    running[thread] = outer
                else:
                    del running[thread]
                if run.seconds >= bound and len(late) < _MOST:
                    late.append(run)

        self._original, self._ours = original, run
        setattr(asyncio.Handle, "_run", run)  # noqa: B010 - types would refuse the plain form
        self._watcher = threading.Thread(
            target=self._watch, name="desvelo looks for a blocked loop", daemon=True
        )
        self._watcher.start()

    def end(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()
        if vars(asyncio.Handle)["_run"] is self._ours:
            setattr(asyncio.Handle, "_run", self._original)  # noqa: B010 - as above

    def found(self) -> tuple[LeakedResource, ...]:
        """Return the callbacks that took too long."""
        return tuple(self._told(run) for run in self._late)

    def _told(self, run: _Run) -> LeakedResource:
        return LeakedResource(
            kind="blocked",
            what=f"a callback held the event loop for {run.seconds:.2f} s",
            how=f"{self._bound:g} s is the bound",
            made_at=run.lines,
            made=", called from ".join(describe_line(line) for line in run.lines)
            or "a line that was not caught",
            age=real_clock() - run.began,
        )

    def _watch(self) -> None:
        while not self._stop.wait(self._bound / _LOOKS_PER_BOUND):
            now = time.perf_counter()
            for thread, run in list(self._running.items()):
                # Two looks before the bound, so that what takes just a little longer is seen too.
                if not run.lines and now - run.began >= self._bound / 2:
                    frame = sys._current_frames().get(thread)  # noqa: SLF001 - made for this
                    run.lines = lines_above(frame)[0]
