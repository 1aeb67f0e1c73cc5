"""Counting the suspension points of an operation, where it may be cancelled."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import CodeType, FrameType
from typing import Any


class Suspending(Coroutine[Any, Any, Any]):
    """A coroutine that counts how often it has let others run.

    It stands between a task and the operation's own coroutine, and looks like that one to those
    who follow a task down to the line where it waits. Before its first line it has been suspended
    once: a task can be cancelled there.
    """

    __slots__ = ("_inner", "count")

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self._inner = inner
        self.count = 1

    def send(self, value: Any) -> Any:
        """Go on, up to the next suspension."""
        waits_for = self._inner.send(value)
        self.count += 1
        return waits_for

    def throw(self, *error: Any) -> Any:
        """Go on with an error, up to the next suspension."""
        waits_for = self._inner.throw(*error)
        self.count += 1
        return waits_for

    def close(self) -> None:
        """Close the operation's coroutine."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    @property
    def cr_await(self) -> Any:
        """What the operation awaits, as `inspect` shows it."""
        return getattr(self._inner, "cr_await", None)

    @property
    def cr_frame(self) -> FrameType | None:
        """The operation's frame."""
        return getattr(self._inner, "cr_frame", None)

    @property
    def cr_code(self) -> CodeType:
        """The operation's code."""
        return self._inner.cr_code  # type: ignore[attr-defined,no-any-return] # of a coroutine

    @property
    def cr_running(self) -> bool:
        """Whether it runs now."""
        return bool(getattr(self._inner, "cr_running", False))
