"""Where and when a resource was made: a few lines of the user's own code, taken cheaply.

A line is kept as a file's name, a number and a function's name: a traceback or a frame would keep
every local variable alive, and with it what we want to see collected.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from desvelo.world.whereabouts import display_path, is_foreign, is_installed

Line = tuple[str, int, str]
"""File, number, function."""

real_clock = time.perf_counter
MOST_LINES = 4
"""Lines of the user's code that are kept of each creation."""
_MOST_FRAMES = 80
_HERE = str(Path(__file__).parent) + os.sep
_DESVELO = str(Path(__file__).parent.parent) + os.sep

_OWN, _PACKAGE, _FOREIGN, _TOOL, _ENGINE = range(5)
_TOOLS = ("_pytest/", "pluggy/", "pytest_", "xdist/", "execnet/", "coverage/", "hypothesis/")
"""Packages that run tests: what they open is theirs."""
_TYPED = ("<stdin>", "<doctest ", "<console>", "<ipython", "<python-input")
"""Code without a file that somebody wrote all the same."""

_numbers = itertools.count(1)


@dataclass(slots=True)
class Creation:
    """One moment at which something was made."""

    number: int
    """Grows with every creation, so that "since then" is a comparison."""
    at: float
    thread: int
    lines: tuple[Line, ...]
    """Innermost first; of the user's own code where there is any, else of a package."""
    through: str = ""
    """What led here where no line of the user did: the task or the thread that it happened in."""
    spared: bool = False
    """Made for longer than one test, or by what runs the tests."""
    by: str = ""
    """Who did it, in a simulated world: an operation, or one of its phases."""

    def is_known(self) -> bool:
        """Tell whether any line led here."""
        return bool(self.lines)

    def age(self) -> float:
        """Return seconds of real time since then."""
        return real_clock() - self.at

    def text(self) -> str:
        """Say where, in one line."""
        if not self.lines:
            return "an unknown line"
        said = ", called from ".join(describe_line(line) for line in self.lines)
        return f"{said} ({self.through})" if self.through else said


def describe_line(line: Line) -> str:
    """Return ``file.py:12 in function``."""
    file, number, function = line
    return f"{display_path(file)}:{number} in {function}"


def next_number() -> int:
    """Return a number that is larger than those of all creations before."""
    return next(_numbers)


def lines_above(frame: FrameType | None, most: int = MOST_LINES) -> tuple[tuple[Line, ...], bool]:
    """Return the user's lines from a frame outwards, and whether a test runner was at work.

    The walk ends where the event loop begins: who runs the loop did not make what its callbacks
    make.
    """
    own: list[Line] = []
    package: Line | None = None
    for _ in range(_MOST_FRAMES):
        if frame is None:
            break
        code = frame.f_code
        origin = _origin(code.co_filename)
        if origin == _OWN:
            own.append((code.co_filename, frame.f_lineno, code.co_name))
            if len(own) == most:
                break
        elif origin == _PACKAGE:
            package = package or (code.co_filename, frame.f_lineno, code.co_name)
        elif origin in {_TOOL, _ENGINE}:
            return (tuple(own) or ((package,) if package else ())), not own and package is None
        elif code.co_name == "_run_once":
            break
        frame = frame.f_back
    return tuple(own) or ((package,) if package else ()), False


def own_lines(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Return those of the user's own code, innermost first as given, else the innermost."""
    given: list[Line] = []
    for line in lines:
        if line[2] == "_run_once" and _origin(line[0]) == _FOREIGN:
            break
        given.append(line)
    own = tuple(line for line in given if is_own(line))
    return own[:MOST_LINES] or tuple(given[:1])


def is_own(line: Line) -> bool:
    """Tell whether a line is the user's own, not a package's."""
    return _origin(line[0]) == _OWN


def capture(depth: int, most: int = MOST_LINES) -> Creation:
    """Take note of this moment, as seen from the caller ``depth`` frames up."""
    lines, tool = lines_above(sys._getframe(depth), most)  # noqa: SLF001 - `inspect` is slow
    return Creation(next(_numbers), real_clock(), threading.get_ident(), lines, spared=tool)


def current_task() -> asyncio.Task[object] | None:
    """Return the task that runs in this thread, if a loop does."""
    loop = asyncio._get_running_loop()  # noqa: SLF001 - the public one raises
    return asyncio.current_task(loop) if loop is not None else None


@functools.lru_cache(maxsize=4096)
def _origin(filename: str) -> int:
    if is_installed(filename):
        return _TOOL if display_path(filename).startswith(_TOOLS) else _PACKAGE
    if filename.startswith(_TYPED):
        return _OWN
    if filename.startswith(_DESVELO) and not filename.startswith(_HERE):
        return _ENGINE  # such as a server that is started once for all tests
    return _FOREIGN if is_foreign(filename) else _OWN
