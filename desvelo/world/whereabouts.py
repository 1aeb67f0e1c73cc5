"""Where in the user's code something was called: the first line that is not ours nor Python's."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from types import FrameType

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STDLIB = os.path.abspath(sysconfig.get_path("stdlib")) + os.sep
_SITE = tuple(
    os.path.abspath(path) + os.sep
    for path in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
)


@functools.lru_cache(maxsize=4096)
def is_foreign(filename: str) -> bool:
    """Tell whether a file is Desvelo's own, the standard library's or a generated one."""
    if filename.startswith("<"):
        return True
    path = os.path.abspath(filename)
    if path.startswith(_OURS):
        return True
    return path.startswith(_STDLIB) and not path.startswith(_SITE)


@functools.lru_cache(maxsize=4096)
def is_ours(filename: str) -> bool:
    """Tell whether a file is Desvelo's own."""
    return os.path.abspath(filename).startswith(_OURS)


@functools.lru_cache(maxsize=4096)
def is_installed(filename: str) -> bool:
    """Tell whether a file belongs to an installed package."""
    return os.path.abspath(filename).startswith(_SITE)


def user_frame(frame: FrameType | None) -> FrameType | None:
    """Return the innermost frame of the user's own code, else of an installed package."""
    package: FrameType | None = None
    while frame is not None:
        filename = frame.f_code.co_filename
        if not is_foreign(filename):
            if not is_installed(filename):
                return frame
            package = package or frame
        frame = frame.f_back
    return package


def suspended_frame(awaited: object) -> FrameType | None:
    """Return the innermost frame of the user's own code where a coroutine waits.

    If there is none, the one of an installed package.
    """
    found: FrameType | None = None
    package: FrameType | None = None
    while awaited is not None:
        frame: FrameType | None = (
            getattr(awaited, "cr_frame", None)
            or getattr(awaited, "gi_frame", None)
            or getattr(awaited, "ag_frame", None)
        )
        if frame is not None and not is_foreign(frame.f_code.co_filename):
            if is_installed(frame.f_code.co_filename):
                package = frame
            else:
                found = frame
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return found or package


def calling_line() -> str:
    """Return ``file.py:12 in function`` of the user's line that led to this call."""
    frame = user_frame(sys._getframe(1))
    if frame is None:
        return "an unknown line"
    return f"{display_path(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_name}"


@functools.lru_cache(maxsize=4096)
def display_path(filename: str) -> str:
    """Shorten a path: below the current folder relative to it, a package from its name on."""
    path = os.path.abspath(filename)
    for root in (*_SITE, _STDLIB, os.getcwd() + os.sep):
        if path.startswith(root):
            return path[len(root) :].replace(os.sep, "/")
    return os.path.basename(path)
