"""Child processes of `subprocess` and `multiprocessing`."""

from __future__ import annotations

import functools
import importlib
import os
from typing import Any

from desvelo.resources.attaching import Hook, Library, part, watch_class
from desvelo.resources.kinds import Kind
from desvelo.resources.recorder import Recorder


def state_of(pid: int) -> str:
    """Return ``running``, ``ended`` (but nobody has waited for it), or nothing when it is gone.

    The child's status is looked at and left where it is, for its owner to collect.
    """
    try:
        status = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return ""
    return "running" if status is None else "ended"


def describe_child(pid: int, command: str) -> str:
    """Say which it is, what became of it, and where it listens."""
    ended = "" if state_of(pid) == "running" else " (it has ended, and nobody waited for it)"
    return f"the child process {pid}, {command}{ended}{_ports_of(pid)}"


def _ports_of(pid: int) -> str:
    try:
        psutil = importlib.import_module("psutil")
        listening = [
            f"{connection.laddr.ip}:{connection.laddr.port}"
            for connection in psutil.Process(pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
    except Exception:
        return ""
    return f", which listens at {', '.join(listening)}" if listening else ""


def _command(process: Any) -> str:
    arguments = process.args
    if isinstance(arguments, (list, tuple)):
        arguments = " ".join(os.fsdecode(part) for part in arguments)
    text = " ".join(os.fsdecode(arguments).split())
    return f"`{text if len(text) <= 60 else text[:59] + '…'}`"


_POPEN = Kind(
    "process",
    lambda process: describe_child(process.pid, _command(process)),
    lambda process: process.returncode is None and state_of(process.pid) != "",
    "never waited for",
)
_WORKER = Kind(
    "process",
    lambda process: describe_child(process.pid, f"{process.name!r} of multiprocessing"),
    lambda process: process._popen.returncode is None and state_of(process.pid) != "",  # noqa: SLF001
    "never joined",
)


def _popen_hooks(recorder: Recorder, subprocess: Any) -> list[Hook]:
    return watch_class(recorder, part(subprocess, "Popen"), _POPEN)


def _worker_hooks(recorder: Recorder, process: Any) -> list[Hook]:
    def make(original: Any) -> Any:
        @functools.wraps(original)
        def start(self: Any) -> None:
            original(self)
            if recorder.active and recorder.listening():
                recorder.made(self, _WORKER, 2)

        return start

    return [Hook(part(process, "BaseProcess"), "start", make)]


LIBRARIES = [
    Library("subprocess", _popen_hooks),
    Library("multiprocessing.process", _worker_hooks),
]
