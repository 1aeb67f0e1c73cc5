"""What is made in a simulated world, with its line, its maker and its virtual moment."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from desvelo.resources.creation import Creation, Line, next_number
from desvelo.resources.recorder import Recorder
from desvelo.world import inside
from desvelo.world.actors import ACTOR, WORLD
from desvelo.world.threads.blocked import line_number
from desvelo.world.whereabouts import is_foreign, is_installed, is_ours
from desvelo.world.world import World

_ASIDE, _OWN, _PACKAGE, _LOOP, _WORLD, _ENGINE = range(6)
"""Whose a file is; what stands aside is Python's own and the hooks."""
_HOOKS = tuple(
    str(Path(__file__).parents[2] / part) + os.sep for part in ("resources", "oracle/leaks")
)
_ENTRY = World._inside.__code__  # noqa: SLF001 - ours as well
"""Whatever called this runs the world, and is no part of it."""
_MOST_LINES = 2
_MARK = "_desvelo_made"

_origins: dict[str, int] = {}


def _origin(filename: str) -> int:
    if filename.startswith(_HOOKS):
        return _ASIDE
    if is_ours(filename):
        return _WORLD if filename == _ENTRY.co_filename else _ENGINE
    if filename == asyncio.base_events.__file__:
        return _LOOP
    if is_installed(filename):
        return _PACKAGE
    return _ASIDE if is_foreign(filename) else _OWN


Step = tuple[CodeType, int]
"""A code object and how far it had come: its line is looked up when it is asked for."""


class Made(Creation):
    """One moment of a simulated world."""

    __slots__ = ("_lines", "is_own", "steps")

    def __init__(self, at: float, steps: tuple[Step, ...], by: str, *, is_own: bool) -> None:
        self.number = next_number()
        self.at = at
        self.thread = 0
        self.through = ""
        self.spared = False
        self.by = by
        self.steps = steps
        self.is_own = is_own
        self._lines: tuple[Line, ...] | None = None

    def is_known(self) -> bool:
        """Tell whether any line led here, without looking them up."""
        return bool(self.steps)

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines that led here, innermost first."""
        if self._lines is None:
            self._lines = tuple(
                (code.co_filename, line_number(code, offset), code.co_name)
                for code, offset in self.steps
            )
        return self._lines

    @lines.setter
    def lines(self, lines: tuple[Line, ...]) -> None:
        self._lines = lines


class WorldRecorder(Recorder):
    """The registry of the world that runs; one after the other, as worlds are."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None
        self.phase = ""
        """What the world does by itself at the moment: ``setup()``, ``teardown()``."""
        self.leads_to: dict[int, tuple[int, int]] = {}
        """What a descriptor was opened on, so that a reused number is noticed."""
        self._files: dict[int, Callable[[], bool]] = {}
        """Whether the file of a descriptor was closed."""

    def begin(self, world: World) -> None:
        """Forget the last world, and record what this one makes."""
        self.clear()
        self.leads_to.clear()
        self._files.clear()
        self.world, self.phase = world, ""

    def end(self) -> None:
        """Record nothing more."""
        self.world = None
        self.clear()

    def listening(self) -> bool:
        """Tell whether what happens now, in this thread, happens in the world."""
        return self.world is not None and inside.current() is self.world

    def now(self) -> float:
        """Return virtual seconds."""
        return self.world.clock.now_ns / 1e9 if self.world is not None else 0.0

    def mark(self, resource: Any, depth: int) -> None:
        """Remember something that the world lists itself: it carries its creation along."""
        # There are many, and most are gone in a moment: the nearest line will do.
        setattr(resource, _MARK, self.capture(depth + 1, 1))

    def creation_of(self, resource: Any) -> Creation | None:
        """Return when something was made that lives, or is about to go."""
        made: Creation | None = getattr(resource, _MARK, None)
        return made or super().creation_of(resource)

    def _take_over(self, creation: Creation, maker: Any, through: str) -> None:
        known = self.creation_of(maker)
        if isinstance(known, Made) and isinstance(creation, Made) and known.is_own:
            creation.steps, creation.is_own, creation.through = known.steps, True, through
            creation.spared = known.spared

    def unknown(self, depth: int) -> Creation | None:
        """Return nothing: all that this world makes is known, so it is of an earlier one."""

    def opened(self, number: int, creation: Creation, _opened: Any = None) -> None:
        """Remember a descriptor, what it leads to, and the file that closes it."""
        super().opened(number, creation)
        status = os.fstat(number)
        self.leads_to[number] = (status.st_dev, status.st_ino)
        self._files[number] = _closing(_opened)

    def still_leads_there(self, number: int) -> bool:
        """Tell whether a descriptor is open, and is not one that has got a closed one's number.

        SQLite opens files in C, and the very file that Python has just written.
        """
        status = os.fstat(number)
        same = self.leads_to[number] == (status.st_dev, status.st_ino)
        return same and not self._files[number]()

    def capture(self, depth: int, most: int = _MOST_LINES) -> Creation:
        """Take note of this moment: the lines, whoever does it, and the virtual time.

        It runs for all that is made, and a frame that is asked for has to be built by Python
        first: the walk ends as soon as it has enough.
        """
        own: tuple[Step, ...] = ()
        package: Step | None = None
        start: FrameType = sys._getframe(depth)  # noqa: SLF001 - `inspect` is slow
        frame: FrameType | None = start
        known = _origins.get
        while frame is not None:
            code = frame.f_code
            origin = known(code.co_filename)
            if origin:
                if origin == _OWN:
                    own += ((code, frame.f_lasti),)
                    if len(own) == most:
                        break
                elif origin == _PACKAGE:
                    if package is None:
                        package = (code, frame.f_lasti)
                elif origin == _LOOP:
                    if code.co_name == "_run_once":
                        break
                elif code is _ENTRY:
                    break
            elif origin is None:
                _origins[code.co_filename] = _origin(code.co_filename)
                continue
            frame = frame.f_back
        actor = ACTOR.get()
        at = self.world.clock.now_ns / 1e9 if self.world is not None else 0.0
        by = self.phase if actor is WORLD else actor.lane
        if own:
            creation = Made(at, own, by, is_own=True)
            # What a module makes when it is imported is there for the whole process, although
            # this execution came first.
            creation.spared = "<module>" in (own[0][0].co_name, own[-1][0].co_name)
            return creation
        creation = Made(at, (package,) if package is not None else (), by, is_own=False)
        # What the world makes for itself is not the target's.
        creation.spared = package is None and _is_engine(start)
        self._trace_back(creation)
        return creation


def _closing(opened: Any) -> Callable[[], bool]:
    if not isinstance(opened, io.IOBase):
        return lambda: False
    reference = weakref.ref(opened)

    def is_closed() -> bool:
        file = reference()
        try:
            return file is None or file.closed
        except ValueError:  # somebody has taken the descriptor out of it
            return False

    return is_closed


def _is_engine(frame: FrameType | None) -> bool:
    while frame is not None:
        filename = frame.f_code.co_filename
        origin = _origins.get(filename, _ASIDE)
        if origin != _ASIDE or not filename.startswith(_HOOKS):
            return origin >= _WORLD
        frame = frame.f_back
    return True
