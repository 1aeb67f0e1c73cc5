"""A disk that fails when it is told to: beneath SQLite, which says of it what it always says.

Every file that SQLite opens in the world gets a copy of its table of methods
(https://www.sqlite.org/c3ref/io_methods.html); as long as nothing is to fail, the functions in it
are the real ones, and cost nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from desvelo.world.inside import current

_POINTER = ctypes.c_void_p
FULL = 13
"""``SQLITE_FULL``: "database or disk is full"."""
SYNC_FAILED = 10 | 4 << 8
"""``SQLITE_IOERR_FSYNC``: "disk I/O error"."""

OpenFunction = ctypes.CFUNCTYPE(
    ctypes.c_int, _POINTER, _POINTER, ctypes.POINTER(_POINTER), ctypes.c_int, _POINTER
)
_WriteFunction = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, _POINTER, ctypes.c_int, ctypes.c_int64)
_SyncFunction = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_int)


class _Methods(ctypes.Structure):
    """``sqlite3_io_methods``; how much of it there is depends on its version."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("close", _POINTER),
        ("read", _POINTER),
        ("write", _POINTER),
        ("truncate", _POINTER),
        ("sync", _POINTER),
        ("others", _POINTER * 13),
    )


_SIZES = {1: 7, 2: 11, 3: 13}
"""Functions behind those that are named, by version."""

who_writes: Callable[[], str] | None = None
"""Returns the operation that a statement of this thread is executed for."""

_full: set[str] = set()
_unsynced: set[str] = set()
_copies: dict[int, _Methods] = {}
"""Our tables, by the address of the real one."""
_reals: dict[int, int] = {}
"""The real table's address, by the address of ours."""


def opening(real: int) -> Any:
    """Return what opens a file as ``real``, a function of the system, does, with our table."""
    call = OpenFunction(real)

    def open_file(system: Any, name: Any, file: Any, flags: int, out: Any) -> int:
        code = int(call(system, name, file, flags, out))
        if not code and file[0]:
            file[0] = ctypes.addressof(_copy_of(file[0]))
        return code

    return OpenFunction(open_file)


def _copy_of(address: int) -> _Methods:
    if address not in _copies:
        version = min(ctypes.c_int.from_address(address).value, 3)
        size = ctypes.sizeof(_Methods) - 8 * (13 - _SIZES[version])
        copy = _Methods()
        ctypes.memmove(ctypes.addressof(copy), address, size)
        copy.version = version
        _copies[address] = copy
        _reals[ctypes.addressof(copy)] = address
    _put_in_place()
    return _copies[address]


def fail_next_write(operation: str) -> None:
    """Let the next write for an operation find the disk full."""
    _full.add(operation)
    _put_in_place()


def fail_next_sync(operation: str) -> None:
    """Let the next fsync for an operation fail."""
    _unsynced.add(operation)
    _put_in_place()


def forget_failures(operation: str | None = None) -> None:
    """Let nothing fail any more for an operation, or for any."""
    for armed in (_full, _unsynced):
        armed.intersection_update(() if operation is None else armed - {operation})
    _put_in_place()


def _put_in_place() -> None:
    for address, copy in _copies.items():
        real = _Methods.from_address(address)
        copy.write = _address(_write_function) if _full else real.write
        copy.sync = _address(_sync_function) if _unsynced else real.sync


def _strikes(armed: set[str]) -> bool:
    world = current()
    name = who_writes() if world is not None and who_writes is not None else ""
    if world is None or name not in armed:
        return False
    armed.discard(name)
    return True


def _write(file: Any, data: Any, size: int, offset: int) -> int:
    if _strikes(_full):
        return FULL
    real = _Methods.from_address(_reals[_POINTER.from_address(file).value or 0])
    return int(_WriteFunction(real.write)(file, data, size, offset))


def _sync(file: Any, flags: int) -> int:
    if _strikes(_unsynced):
        return SYNC_FAILED
    real = _Methods.from_address(_reals[_POINTER.from_address(file).value or 0])
    return int(_SyncFunction(real.sync)(file, flags))


_write_function = _WriteFunction(_write)
_sync_function = _SyncFunction(_sync)


def _address(function: Any) -> int | None:
    return ctypes.cast(function, _POINTER).value
