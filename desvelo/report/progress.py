"""How far a run is, on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from desvelo.measure.context import Bar, Progress

EVERY = 5.0
"""Seconds between two lines about the same piece of work, where there is no terminal."""


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Show progress while the context lasts.

    Bars are drawn by rich, on a terminal only; without rich there are lines there too.
    """
    if sys.stderr.isatty():
        try:
            import rich.progress as rich
            from rich.console import Console
        except ImportError:
            yield Lines()
            return
        with rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TimeElapsedColumn(),
            console=Console(stderr=True),
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        ) as shown:
            yield Bars(shown)
    else:
        yield Lines()


class Bars:
    """Bars that rich draws."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown

    def start(self, label: str, total: float | None = None) -> Bar:
        """Begin a bar."""
        return _DrawnBar(self._shown, self._shown.add_task(label, total=total))


class _DrawnBar:
    def __init__(self, shown: Any, task: Any) -> None:
        self._shown, self._task = shown, task

    def advance(self, steps: float = 1) -> None:
        self._shown.advance(self._task, steps)

    def finish(self) -> None:
        self._shown.remove_task(self._task)


class Lines:
    """A line when a piece of work begins, and one every few seconds while it goes on."""

    def start(self, label: str, total: float | None = None) -> Bar:
        """Say that it begins."""
        return _LinedBar(label, total)


class _LinedBar:
    def __init__(self, label: str, total: float | None) -> None:
        self._label, self._total, self._done = label, total, 0.0
        self._lock = threading.Lock()
        self._due = time.monotonic() + EVERY
        sys.stderr.write(f"desvelo: {label}\n")

    def advance(self, steps: float = 1) -> None:
        with self._lock:
            self._done += steps
            now = time.monotonic()
            if now < self._due:
                return
            self._due = now + EVERY
        of = "" if self._total is None else f" of {self._total:,.0f}"
        sys.stderr.write(f"desvelo: {self._label}: {self._done:,.0f}{of}\n")

    def finish(self) -> None:
        pass
