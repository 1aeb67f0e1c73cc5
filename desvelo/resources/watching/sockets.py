"""Sockets of the standard library, and whether they listen."""

from __future__ import annotations

import functools
import socket
from typing import Any

from desvelo.resources.attaching import Hook, Library, part
from desvelo.resources.kinds import Kind
from desvelo.resources.recorder import Recorder


def describe_socket(sock: socket.socket) -> str:
    """Say what it is and whom it talks to."""
    kind = "TCP" if sock.type == socket.SOCK_STREAM else "UDP"
    if sock.family == getattr(socket, "AF_UNIX", None):
        kind = "Unix"
    if listens(sock):
        return f"a {kind} socket that listens at {_address(sock.getsockname())}"
    text = f"a {kind} socket"
    try:
        here = _address(sock.getsockname())
        text += f" at {here}" if here else ""
        text += f", connected to {_address(sock.getpeername()) or 'its pair'}"
    except OSError:
        pass
    return text


def listens(sock: socket.socket) -> bool:
    """Tell whether the kernel accepts connections for it."""
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def _address(address: Any) -> str:
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return address.decode(errors="replace") if isinstance(address, bytes) else str(address)


SOCKET = Kind("socket", describe_socket, lambda sock: sock.fileno() != -1)


def _hooks(recorder: Recorder, module: Any) -> list[Hook]:
    # `_socket.socket` makes descriptors, but all that Python code sees passes this class. It has
    # no finalizer of its own that could be wrapped: the one in C says where a socket was dropped
    # by looking at the frame above, which must stay the user's. So its closing is noted instead.
    cls = part(module, "socket")
    return [
        Hook(cls, "__init__", lambda original: _recording(recorder, original)),
        Hook(cls, "close", lambda original: _closing(recorder, original)),
        Hook(cls, "detach", lambda original: _closing(recorder, original or cls.detach)),
    ]


def _recording(recorder: Recorder, original: Any) -> Any:
    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807 - it takes its place
        original(self, *args, **options)
        if recorder.active and recorder.listening():
            recorder.made(self, SOCKET, 2).tells = True

    return __init__


def _closing(recorder: Recorder, original: Any) -> Any:
    @functools.wraps(original)
    def close(self: Any) -> Any:
        recorder.closed(self)
        return original(self)

    return close


LIBRARIES = [Library("socket", _hooks)]
