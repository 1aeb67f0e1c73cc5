"""`leak_check`: a block after which nothing may be left open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from desvelo.errors import UsageError
from desvelo.resources.attaching import Attachment
from desvelo.resources.blocked import BlockedLoop
from desvelo.resources.creation import real_clock
from desvelo.resources.kinds import NAMES
from desvelo.resources.leak import LeakedResource, ResourceLeak
from desvelo.resources.recorder import Recorder
from desvelo.resources.window import Window

RECORDER = Recorder()
ATTACHMENT = Attachment(RECORDER)
"""One for the process: a hook that is attached twice would record twice."""

GRACE = 0.1
"""Real seconds that threads, processes and sockets are given to end, once something is open."""
_NAP = 0.005
_TURNS_TO_BEGIN = 3
"""Of a loop, until the task that closes a dropped generator has begun."""
_real_sleep = time.sleep


class LeakCheck:
    """A block, entered with ``with`` or ``async with``, that has to give back what it takes.

    See `leak_check`.
    """

    def __init__(
        self,
        allow: Iterable[str] = (),
        *,
        blocked: float | None = None,
        grace: float = GRACE,
        during: str = "the block",
        longer: Callable[[], Iterable[Any]] = tuple,
        cleaned_up: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self.allow = tuple(checked_kind(kind, "leak_check(allow=...)") for kind in allow)
        if blocked is not None and not blocked > 0:
            raise UsageError(f"leak_check(blocked={blocked!r}): give seconds, more than 0")
        self._blocked = BlockedLoop(blocked) if blocked is not None else None
        self._grace = grace
        self._during = during
        self.window = Window(RECORDER, longer, cleaned_up)
        self.leaks: tuple[LeakedResource, ...] = ()
        """What was found, once the block has ended."""

    def begin(self) -> None:
        """Begin to watch."""
        ATTACHMENT.attach()
        if self._blocked is not None:
            self._blocked.begin()  # first, so that its thread is not ours to judge
        self.window.begin()

    def end(self, *, judge: bool = True) -> tuple[LeakedResource, ...]:
        """Stop watching; return what was left open and is not allowed."""
        try:
            window = self.window
            if judge and self._is_suspicious():
                window.collect()
                until = real_clock() + self._grace
                while window.may_end(window.suspects()) and real_clock() < until:
                    _real_sleep(_NAP)
                self._judge()
        finally:
            self._stop()
        return self.leaks

    async def end_in_loop(self, *, judge: bool = True) -> tuple[LeakedResource, ...]:
        """Do as `end`, and let the event loop go on while there is something to wait for."""
        try:
            window = self.window
            for _ in range(_TURNS_TO_BEGIN):
                if judge and window.is_about_to_clean():
                    await asyncio.sleep(0)
            if judge and self._is_suspicious():
                window.collect()
                until = real_clock() + self._grace
                # Nothing would set an event: that is what is waited to see.
                while window.suspects() and real_clock() < until:  # noqa: ASYNC110
                    await asyncio.sleep(_NAP)
                self._judge()
        finally:
            self._stop()
        return self.leaks

    def _is_suspicious(self) -> bool:
        """Take the cheap look, which holds on to nothing."""
        return bool(self.window.suspects()) or bool(self._blocked and self._blocked.found())

    def _judge(self) -> None:
        found = self.window.leaks()
        if self._blocked is not None:
            found += self._blocked.found()
        self.leaks = tuple(leak for leak in found if leak.kind not in self.allow)

    def _stop(self) -> None:
        if self._blocked is not None:
            self._blocked.end()
        self.window.end()
        ATTACHMENT.detach()

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # After an error much is open that would have been closed: it alone is worth telling.
        if self.end(judge=error is None):
            raise ResourceLeak(self.leaks, self._during)

    async def __aenter__(self) -> Self:
        self.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if await self.end_in_loop(judge=error is None):
            raise ResourceLeak(self.leaks, self._during)


def leak_check(
    allow: Iterable[str] = (), *, blocked: float | None = None, grace: float = GRACE
) -> LeakCheck:
    """Check that a block on the real system leaves nothing open, with ``with`` or ``async with``.

    Sessions, connections, servers, tasks, threads, child processes, descriptors, temporary files
    and more; ``docs/leaks.md`` has the list. What was made before the block is not judged.

    Args:
        allow: Kinds that may be left open, such as ``"task"``.
        blocked: Also accuse a callback that holds an event loop for this many seconds.
        grace: Seconds that threads, processes and sockets are given to end by themselves; only
            waited for when something is open.

    Raises:
        ResourceLeak: When something is left open; a `desvelo.failure.Leak` with ``leaks``.
        UsageError: When ``allow`` names no kind.

    >>> import socket
    >>> with leak_check():
    ...     socket.socket().close()
    >>> try:
    ...     with leak_check():
    ...         forgotten = socket.socket()
    ... except ResourceLeak as leak:
    ...     print(leak.leaks[0].kind, leak.leaks[0].how)
    socket never closed
    >>> forgotten.close()
    """
    return LeakCheck(allow, blocked=blocked, grace=grace)


def checked_kind(kind: str, origin: str) -> str:
    """Return a kind that there is; raises `UsageError` that names where another came from."""
    if kind not in NAMES:
        raise UsageError(f"{origin}: there is no kind {kind!r}; the kinds are {', '.join(NAMES)}")
    return kind
