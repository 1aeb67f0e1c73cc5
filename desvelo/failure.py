"""What went wrong in one execution, and what makes two failures the same."""

from __future__ import annotations

import asyncio
import re
import traceback
from dataclasses import dataclass, field
from types import TracebackType

from desvelo.world.whereabouts import display_path, is_foreign, is_installed, suspended_frame

KINDS = ("race", "deadlock", "leak", "error", "not-linearizable", "hang", "nondeterminism")

_NAMED_BY_KIND = ("deadlock", "leak", "not-linearizable", "hang", "nondeterminism")
"""Kinds whose errors have one type each: to name it too would say the same twice."""


@dataclass(frozen=True)
class Failure:
    """One failure: its kind, the error, where it came from, and what it is called."""

    kind: str
    error: BaseException
    site: str
    where: str = ""
    """Which part of the execution: an operation's name, ``check``, ``teardown``, ``loop``."""
    details: tuple[str, ...] = field(default=())
    circular: bool = False
    """A deadlock in which all who wait do so for what one of them has."""

    def identity(self) -> tuple[str, str, str]:
        """Return what must survive shrinking: kind, type and site, not the message."""
        return (self.kind, type(self.error).__name__, self.site)

    def summary(self) -> str:
        """Say it in one line."""
        text = str(self.error).strip().splitlines()
        message = text[0] if text else ""
        if self.kind in _NAMED_BY_KIND and message:
            return headline(message)
        return f"{type(self.error).__name__}: {message}" if message else type(self.error).__name__


def headline(message: str) -> str:
    """Return what a deadlock's message says first, without who waits where for what.

    >>> headline("a and b wait for each other: a waits at s.py:3 in first; ...")
    'a and b wait for each other'
    """
    found = re.match(r".+? wait for (?:each other|ever)(?=: )", message)
    return found.group() if found is not None else message


class Deadlock(Exception):
    """Operations wait for each other, and nothing can happen any more."""


class Hang(Exception):
    """An execution goes on and on without ending."""


class Leak(Exception):
    """Something was opened and never closed."""


class Nondeterminism(Exception):
    """Two runs of the same schedule differ."""


def failure_of(error: BaseException, where: str) -> Failure:
    """Judge an exception of the target: a broken assertion is a race, the rest are errors."""
    kind = "race" if isinstance(error, AssertionError) else "error"
    return Failure(kind, error, site_of(error), where)


def site_of(error: BaseException) -> str:
    """Return ``file.py:12 in function`` of the innermost line of the user's own code."""
    frames = []
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not is_foreign(code.co_filename):
            frames.append((is_installed(code.co_filename), code, trace.tb_lineno))
        trace = trace.tb_next
    for wanted in (False, True):
        for installed, code, line in reversed(frames):
            if installed is wanted:
                return f"{display_path(code.co_filename)}:{line} in {code.co_name}"
    return "unknown"


def waiting_at(task: asyncio.Task[object]) -> str:
    """Say where a suspended task stands: the innermost line of the user's own code."""
    frame = suspended_frame(task.get_coro())
    if frame is None:
        return "an unknown line"
    code = frame.f_code
    return f"{display_path(code.co_filename)}:{frame.f_lineno} in {code.co_name}"


def describe_traceback(error: BaseException) -> str:
    """Return the traceback with the frames of the machinery left out.

    Addresses are blanked: two runs of one schedule must say the same.
    """
    lines = []
    for frame in traceback.extract_tb(error.__traceback__):
        if not is_foreign(frame.filename):
            lines.append(f"  {display_path(frame.filename)}:{frame.lineno} in {frame.name}")
            if frame.line:
                lines.append(f"    {frame.line}")
    return without_addresses("\n".join([*lines, f"{type(error).__name__}: {error}"]))


MOST_LINES = 8
"""Lines of an error's text that a story quotes."""


def failing_lines(error: BaseException) -> list[str]:
    """Return the way to an error, one line for each of the user's functions, and what it says.

    >>> try:
    ...     raise ValueError("no such code")
    ... except ValueError as error:
    ...     failing_lines(error)[-1]
    'ValueError: no such code'
    """
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not is_foreign(f.filename)]
    own = [frame for frame in frames if not is_installed(frame.filename)] or frames[-1:]
    lines = []
    if len(own) > 1:
        lines += [f"{display_path(f.filename)}:{f.lineno} in {f.name}" for f in own[-3:-1]]
    if own and own[-1].line:
        lines.append(" ".join(own[-1].line.split()))
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    lines += [line for line in said.splitlines() if line.strip()][:MOST_LINES]
    return [without_addresses(line) for line in lines]


def without_addresses(text: str) -> str:
    """Blank addresses, which differ between two runs of one schedule.

    >>> without_addresses("<Row object at 0x7f0011223344>")
    '<Row object at 0x…>'
    """
    return re.sub(r"0x[0-9a-f]{6,}", "0x…", text)
