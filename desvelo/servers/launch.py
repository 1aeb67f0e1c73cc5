"""Starting a server of our own: unprivileged, in a temporary folder, never outliving us.

A small shell stands between this process and the server. It holds the reading end of a pipe;
when the pipe closes, because the server is no longer wanted or because this process was killed,
it ends the server and removes the folder.
"""

from __future__ import annotations

import _socket
import atexit
import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from desvelo.errors import TargetError
from desvelo.world.timekeeping import real_perf_counter, real_sleep


class ServerUnavailable(TargetError):
    """No such server can be used here; the message says in one line how to get one."""


_KEEPER = """
cd "$DESVELO_FOLDER"
{ "$@" >log 2>&1 & echo $! >pid; wait $!; : >ended; } &
read -r _
kill -s "$DESVELO_SIGNAL" "$(cat pid)" 2>/dev/null
wait
cd / && rm -rf "$DESVELO_FOLDER"
"""


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses at this moment.

    >>> 1024 <= free_port() < 65536
    True
    """
    with contextlib.closing(_socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Unprivileged:
    """How to run programs that refuse to be run by root.

    As ``nobody`` where ``nobody`` can read them, else in a user namespace, in which root is
    nobody too. For other users it is nothing special.
    """

    def __init__(self, program: Path) -> None:
        self.prefix: list[str] = []
        self.user: int | None = None
        self.group: int | None = None
        if os.geteuid() != 0:
            return
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam("nobody")
            if self._runs([str(program), "--version"], entry.pw_uid, entry.pw_gid):
                self.user, self.group = entry.pw_uid, entry.pw_gid
                return
        unshare = shutil.which("unshare")
        if unshare and self._runs([unshare, "--user", str(program), "--version"], None, None):
            self.prefix = [unshare, "--user"]
            return
        raise ServerUnavailable(
            f"{program} refuses to run as root, and neither the user 'nobody' nor a user namespace "
            "can run it here; run the tests as another user"
        )

    @staticmethod
    def _runs(command: list[str], user: int | None, group: int | None) -> bool:
        try:
            done = subprocess.run(
                command,
                user=user,
                group=group,
                extra_groups=[] if user is not None else None,
                cwd="/",
                capture_output=True,
                check=False,
            )
        except OSError:
            return False
        return done.returncode == 0

    def own(self, folder: Path) -> None:
        """Give a folder to whoever the programs run as."""
        if self.user is not None and self.group is not None:
            os.chown(folder, self.user, self.group)

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a program to its end and return what it said."""
        return subprocess.run(
            [*self.prefix, *command],
            user=self.user,
            group=self.group,
            extra_groups=[] if self.user is not None else None,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def temporary_folder(name: str, owner: Unprivileged) -> Path:
    """Make a folder that only the server's user can look into.

    Raises `ServerUnavailable` when there is no place for one.
    """
    last: OSError | None = None
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/dev/shm")):  # noqa: S108 - where mkdtemp may work
        if owner.user is not None and not _all_may_enter(Path(parent)):
            continue
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"desvelo-{name}-", dir=parent))
            owner.own(folder)
        except OSError as error:
            last = error
            continue
        return folder
    raise ServerUnavailable(
        f"no temporary folder for {name}: {last or 'none that its user may enter'}; set TMPDIR to "
        "one that is writable"
    )


def _all_may_enter(folder: Path) -> bool:
    return all(place.stat().st_mode & 0o001 for place in (folder, *folder.parents))


class Launched:
    """A server process that ends when this one does, whichever way that is.

    ``signal`` is the name of the signal that ends the server at once.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, owner: Unprivileged, signal: str = "TERM"
    ) -> None:
        self.folder = folder
        reading, self._writing = os.pipe()
        environment = os.environ | {"DESVELO_FOLDER": str(folder), "DESVELO_SIGNAL": signal}
        try:
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", _KEEPER, "keeper", *owner.prefix, *command],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                user=owner.user,
                group=owner.group,
                extra_groups=[] if owner.user is not None else None,
                start_new_session=True,  # Ctrl-C is for us alone
            )
        except OSError as error:
            os.close(self._writing)
            raise ServerUnavailable(f"{command[0]} does not start: {error}") from error
        finally:
            os.close(reading)
        self._process = os.getpid()
        self._ended = False
        atexit.register(self.stop)

    def runs(self) -> bool:
        """Tell whether the server has not ended by itself."""
        if not self._ended and self.folder.joinpath("ended").exists():
            self._ended = True
        return self._keeper.poll() is None and not self._ended

    def server_process(self) -> int:
        """Return the number of the server's process, 0 when it is not known."""
        try:
            return int((self.folder / "pid").read_text("ascii"))
        except (OSError, ValueError):
            return 0

    def log(self) -> str:
        """Return what the server has said so far."""
        try:
            return (self.folder / "log").read_text("utf-8", "replace")
        except OSError:
            return ""

    def stop(self) -> None:
        """End the server and remove its folder; nothing to do when it is done already."""
        atexit.unregister(self.stop)
        if self._writing < 0:
            return
        os.close(self._writing)
        self._writing = -1
        if self._process == os.getpid():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._keeper.wait(10)


def until(ready: object, seconds: float, *, every: float = 0.003) -> bool:
    """Ask ``ready()`` again and again, in real time, until it says so; tell whether it did."""
    assert callable(ready)
    end = real_perf_counter() + seconds
    while True:
        if ready():
            return True
        if real_perf_counter() > end:
            return False
        real_sleep(every)


def last_line(text: str) -> str:
    r"""Return the last line that says something.

    >>> last_line("started\nFATAL: no room\n\n")
    'FATAL: no room'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
