"""What a phase is given: the target, the settings, a folder, a way to tell how far it is, an end.

Each phase gets a `Context` of its own, so that phases that run side by side do not mix theirs.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from desvelo.errors import TargetError

if TYPE_CHECKING:
    from desvelo.measure.plan import Settings


class Bar(Protocol):
    """One piece of work that is under way."""

    def advance(self, by: float = 1) -> None:
        """Tell that so much more is done."""

    def finish(self) -> None:
        """End it, done or not."""


class Progress(Protocol):
    """Where a phase tells how far it is."""

    def start(self, label: str, total: float | None) -> Bar:
        """Begin a piece of work; ``total`` is None when nobody knows how much there is."""


class Silent:
    """Progress that nobody looks at, and its bars."""

    def start(self, label: str, total: float | None) -> Silent:
        """Begin nothing."""
        return self

    def advance(self, by: float = 1) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


class Interruption:
    """Whether a run is to end early; set by any thread, looked at by all.

    >>> interruption = Interruption()
    >>> with interruption.callback(lambda: print("told")):
    ...     interruption.set()
    told
    >>> interruption.is_set()
    True
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._guard = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []

    def set(self) -> None:
        """Ask every phase to end soon, and to return what it has."""
        with self._guard:
            told = [] if self._event.is_set() else list(self._callbacks)
            self._event.set()
        for callback in told:
            callback()

    def is_set(self) -> bool:
        """Return whether the phase is to end."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep for so long, or until the phase is to end; return whether it is."""
        return self._event.wait(seconds)

    @contextlib.contextmanager
    def callback(self, told: Callable[[], object]) -> Iterator[None]:
        """Call ``told`` once when the phase is to end, at once when it already is.

        It is called in the thread that interrupts, after `is_set` has become true.
        """
        with self._guard:
            late = self._event.is_set()
            if not late:
                self._callbacks.append(told)
        if late:
            told()
        try:
            yield
        finally:
            with self._guard:
                if told in self._callbacks:
                    self._callbacks.remove(told)


@dataclass
class Context:
    """One phase's surroundings.

    ``target`` is the adapter; ``folder`` exists, is empty, the phase's own, and removed by whoever
    made it.
    """

    target: Any
    settings: Settings
    folder: Path
    progress: Progress = field(default_factory=Silent)
    interruption: Interruption = field(default_factory=Interruption)

    def offered(self, method: str) -> Callable[..., Any]:
        """Return a method of the target; raises `TargetError` when it has none of that name.

        >>> Context(object(), None, Path(".")).offered("stored_keys")
        Traceback (most recent call last):
            ...
        desvelo.errors.TargetError: the target object has no stored_keys(), which this phase needs
        """
        found: Callable[..., Any] | None = getattr(self.target, method, None)
        if found is None:
            name = getattr(self.target, "name", type(self.target).__name__)
            raise TargetError(f"the target {name} has no {method}(), which this phase needs")
        return found
