"""A server of the target's in a process of its own: started, waited for, and always reaped."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from desvelo.errors import TargetError, UsageError
from desvelo.measure.processes.owner import owner_of
from desvelo.servers.launch import free_port

PATIENCE = 20.0
"""Seconds until a server has to answer."""
DRAINING = 5.0
"""Seconds that a server has from SIGTERM to its end."""
ATTEMPTS = 3
"""How often another free port is tried, when somebody else was faster to take one."""

# Ends the server when the pipe closes without a word: then this process was killed.
_WATCHMAN = """
read -r _ && exit
kill -s TERM -- "-$1" 2>/dev/null
sleep 5
kill -s KILL -- "-$1" 2>/dev/null
"""


class Told(Protocol):
    """What of an interruption matters here."""

    def wait(self, seconds: float) -> bool:
        """Sleep, and return whether to give up."""


class ServerProcess:
    """A server that was started; ``seconds`` is how long that took."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self.seconds = 0.0
        self.killed = False
        """Whether it had to be killed because it did not end by itself."""
        self._stopped = False

    @property
    def pid(self) -> int:
        """The number of its first process, which is also that of its group."""
        return self._process.pid

    @property
    def death(self) -> str:
        """How it ended, with the last lines of its output; empty while it runs."""
        code = self._process.poll()
        if code is None:
            return ""
        lines = self.last_lines()
        told = f"; its last output: {' / '.join(lines)}" if lines else "; it printed nothing"
        return f"the server ended with {_in_words(code)}{told}"

    def last_lines(self, count: int = 5) -> list[str]:
        """Return the last lines that it printed."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
        return [line for line in text.splitlines() if line.strip()][-count:]

    def stop(self) -> None:
        """End it by SIGTERM, or by SIGKILL when it takes long, and reap it. Twice is once."""
        if self._stopped:
            return
        self._stopped = True
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(DRAINING)
            except subprocess.TimeoutExpired:
                self.killed = True
        # Whatever the server has started and left behind is in its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def own_server(
    command: Callable[[int], list[str]],
    folder: Path,
    *,
    port: int = 0,
    health: str = "/health",
    patience: float = PATIENCE,
    interruption: Told | None = None,
    checkout: Path | None = None,
) -> Iterator[ServerProcess]:
    """Run the server that ``command(port)`` starts for as long as the block lasts.

    ``port`` 0 is a free one. What the server prints is kept in ``server.log`` in ``folder``.
    With ``checkout`` its code is what lies in that folder.

    Raises `UsageError` when a port that was asked for by number is taken, `TargetError` when the
    server ends before it has answered ``health`` or does not answer within ``patience`` seconds.
    """
    if port:
        refuse_taken(port)
    log = folder / "server.log"
    for attempt in range(1, ATTEMPTS + 1):
        chosen = port or free_port()
        begun = time.monotonic()
        with _started(command(chosen), chosen, log, checkout) as server:
            failure = _wait_until_ready(server, health, patience, interruption)
            if not failure:
                server.seconds = time.monotonic() - begun
                yield server
                return
            if port or attempt == ATTEMPTS or not owner_of(chosen, besides=server.pid):
                raise TargetError(failure)


@contextlib.contextmanager
def _started(
    command: list[str], port: int, log: Path, checkout: Path | None
) -> Iterator[ServerProcess]:
    environment = dict(os.environ)
    if checkout is not None:
        paths = [str(checkout), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    with log.open("ab") as output:
        try:
            # A session of its own: Ctrl-C in a terminal is for us, and we end the server.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=checkout,
                env=environment,
            )
        except OSError as error:
            raise TargetError(f"the server cannot be started: {error}") from error
    server = ServerProcess(process, port, log)
    try:
        with _watched(process.pid):
            try:
                yield server
            finally:
                server.stop()
    finally:
        server.stop()


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[None]:
    watchman = subprocess.Popen(
        ["/bin/sh", "-c", _WATCHMAN, "watchman", str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert watchman.stdin is not None
    try:
        yield
    finally:
        with contextlib.suppress(BrokenPipeError):
            watchman.stdin.write(b"done\n")
            watchman.stdin.flush()
        watchman.stdin.close()
        watchman.wait()


def _wait_until_ready(
    server: ServerProcess, health: str, patience: float, interruption: Told | None
) -> str:
    """Return why the server is of no use, or an empty text as soon as it has answered."""
    end = time.monotonic() + patience
    while not server.death:
        if answers(server.url, health):
            stranger = owner_of(server.port, besides=server.pid)
            return f"port {server.port} was taken by {stranger}" if stranger else ""
        if time.monotonic() > end:
            return f"the server did not answer {health} within {patience:g} s"
        if interruption is None:
            time.sleep(0.01)
        elif interruption.wait(0.01):
            return "interrupted while the server was starting"
    return f"before it was ready, {server.death}"


def answers(url: str, health: str, timeout: float = 2.0) -> bool:
    """Return whether a server answers a GET of ``health`` with success.

    >>> answers("http://127.0.0.1:9", "/health")
    False
    """
    return not why_silent(url, health, timeout)


def why_silent(url: str, health: str, timeout: float = 2.0) -> str:
    """Return why a server is of no use; an empty text when it answers ``health`` with success.

    >>> why_silent("http://127.0.0.1:9", "/health")
    'http://127.0.0.1:9 does not answer: Connection refused'
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}{health}")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{url} does not answer: {getattr(error, 'strerror', None) or error}"
    finally:
        connection.close()
    return "" if 200 <= status < 300 else f"{url}{health} is answered with status {status}"


def refuse_taken(port: int) -> None:
    """Raise `UsageError` that names who has this port of the loopback interface."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except PermissionError as error:
            raise UsageError(f"port {port} cannot be used: {error}") from error
        except OSError as error:
            owner = owner_of(port) or "another process"
            raise UsageError(
                f"port {port} is taken by {owner}; stop it, or ask for no port to get a free one"
            ) from error


def _in_words(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
