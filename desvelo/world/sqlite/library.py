"""The SQLite that this Python carries, by the C interface that its documentation guarantees.

Used of it are ``sqlite3_vfs_find``, ``sqlite3_vfs_register``, the layout of ``sqlite3_vfs``
(https://www.sqlite.org/c3ref/vfs.html) and ``sqlite3_randomness``.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

_POINTER = ctypes.c_void_p

SleepFunction = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_int)
"""``xSleep(vfs, microseconds)`` returns how long it slept."""
TimeFunction = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.POINTER(ctypes.c_int64))
"""``xCurrentTimeInt64(vfs, answer)``: milliseconds since noon in Greenwich, 4714 BC."""
RandomFunction = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_int, _POINTER)
"""``xRandomness(vfs, size, buffer)`` returns how many bytes it wrote."""


class System(ctypes.Structure):
    """``sqlite3_vfs``, version 3: what SQLite asks of the operating system."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("size_of_file", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("next", _POINTER),
        ("name", ctypes.c_char_p),
        ("data", _POINTER),
        ("open", _POINTER),
        ("delete", _POINTER),
        ("access", _POINTER),
        ("full_path", _POINTER),
        ("open_library", _POINTER),
        ("library_error", _POINTER),
        ("library_symbol", _POINTER),
        ("close_library", _POINTER),
        ("randomness", _POINTER),
        ("sleep", _POINTER),
        ("current_time", _POINTER),
        ("last_error", _POINTER),
        ("current_time_int64", _POINTER),
        ("set_system_call", _POINTER),
        ("get_system_call", _POINTER),
        ("next_system_call", _POINTER),
    )


class Library:
    """The functions of one loaded SQLite."""

    def __init__(self, loaded: ctypes.CDLL) -> None:
        self._find = loaded.sqlite3_vfs_find
        self._find.restype = ctypes.POINTER(System)
        self._find.argtypes = [ctypes.c_char_p]
        self._register = loaded.sqlite3_vfs_register
        self._register.argtypes = [ctypes.POINTER(System), ctypes.c_int]
        self._randomness = loaded.sqlite3_randomness
        self._randomness.restype = None
        self._randomness.argtypes = [ctypes.c_int, _POINTER]

    def default_system(self) -> Any:
        """Return a pointer to what connections get that ask for nothing else."""
        return self._find(None)

    def make_default(self, system: Any) -> None:
        """Give all connections made from now on this system."""
        self._register(system, 1)

    def forget_randomness(self) -> None:
        """Let the generator behind ``random()`` ask the default system for a new seed."""
        self._randomness(0, None)


@functools.cache
def library() -> Library | None:
    """Return the SQLite behind the module ``sqlite3``, or nothing where it cannot be reached.

    A Python that has SQLite built into itself may hide its functions.
    """
    try:
        import _sqlite3
        import sqlite3
    except ImportError:
        return None
    try:
        loaded = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
        loaded.sqlite3_libversion.restype = ctypes.c_char_p
        if loaded.sqlite3_libversion().decode() != sqlite3.sqlite_version:
            return None
        found = Library(loaded)
    except (OSError, AttributeError):
        return None
    system = found.default_system()
    return found if system and system.contents.version >= 2 else None
