"""Who listens, for the moment at which a server cannot start because its port is in use."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import re
from collections.abc import Iterator

from desvelo.resources.recorder import Recorder
from desvelo.resources.watching.sockets import describe_socket, listens

_MOST_ERRORS = 10


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Walk from an error to those that it came from."""
    for _ in range(_MOST_ERRORS):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def is_port_in_use(error: BaseException | None) -> bool:
    """Tell whether an error, or one that it came from, says that an address is in use."""
    return any(
        isinstance(one, OSError) and one.errno == errno.EADDRINUSE for one in chain_of(error)
    )


def who_listens(recorder: Recorder, message: str) -> list[str]:
    """Say who listens in this process, and who outside of it at the ports of a message."""
    lines = [
        f"{describe_socket(sock)}, made at {creation.text()}, {creation.age():.2f} s ago"
        for sock, creation in (
            (entry.reference(), entry.creation)
            for entry in list(recorder.entries.values())
            if entry.kind.name == "socket"
        )
        if sock is not None and sock.fileno() != -1 and listens(sock)
    ]
    ports = {int(found) for found in re.findall(r"\b\d{2,5}\b", message)}
    lines += _outside(ports)
    return lines


def _outside(ports: set[int]) -> Iterator[str]:
    with contextlib.suppress(Exception):
        psutil = importlib.import_module("psutil")
        for connection in psutil.net_connections("inet"):
            taken = connection.status == psutil.CONN_LISTEN and connection.laddr.port in ports
            if taken and connection.pid not in {None, os.getpid()}:
                name = psutil.Process(connection.pid).name()
                where = f"{connection.laddr.ip}:{connection.laddr.port}"
                yield f"another process listens at {where}: {connection.pid}, {name}"
