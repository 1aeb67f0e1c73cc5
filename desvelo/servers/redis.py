"""Redis for scenarios: one server for each process, found or started on first use."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from desvelo.errors import ServerGone, UsageError
from desvelo.servers.launch import (
    Launched,
    ServerUnavailable,
    Unprivileged,
    free_port,
    last_line,
    temporary_folder,
    until,
)
from desvelo.servers.lookup import Lookup, refuse_elsewhere
from desvelo.world.held.redis_connection import RedisAddress, RedisConnection, RedisError

if TYPE_CHECKING:
    from desvelo.world.held.redis import RedisBackend

HOW_TO_GET = (
    "no Redis server was found: install your system's redis-server package "
    "(Debian: apt-get install redis-server), or set DESVELO_REDIS_URL"
)
_START_SECONDS = 10.0
_SETTINGS = {
    "bind": "127.0.0.1",
    # Nothing is kept.
    "save": "",
    "appendonly": "no",
    "daemonize": "no",
    # Nothing must happen by itself: no thread that frees memory later, no defragmentation.
    "lazyfree-lazy-user-del": "no",
    "lazyfree-lazy-user-flush": "no",
    "activerehashing": "no",
}


class RedisServer:
    """A Redis server that scenarios may use.

    ``host``, ``port`` and ``url`` say how to reach it; ``version`` is as it tells it, ``ours``
    whether it was started here.
    """

    kind = "redis"

    def __init__(self, address: RedisAddress, *, launched: Launched | None = None) -> None:
        self.address = address
        self.host, self.port, self.database = address.host, address.port, address.database
        self._launched = launched
        self._backend: RedisBackend | None = None
        facts = self.run("INFO", "server").decode().split()
        self.version = next(
            fact.partition(":")[2] for fact in facts if fact.startswith("redis_version:")
        )

    def __repr__(self) -> str:
        return f"<Redis {self.version} at {self.host}:{self.port}>"

    @property
    def ours(self) -> bool:
        """Whether it was started by this process, and may be emptied as it likes."""
        return self._launched is not None

    @property
    def url(self) -> str:
        """The address as redis-py takes it."""
        address = self.address
        login = (
            f"{quote(address.user, safe='')}:{quote(address.password, safe='')}@"
            if address.password
            else ""
        )
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis://{login}{host}:{self.port}/{self.database}"

    def run(self, *words: str | int | bytes) -> Any:
        """Run a command on a connection of its own, outside of any schedule.

        Returns its reply; raises `RedisError` when the server refuses.
        """
        connection = RedisConnection(self.address)
        try:
            return connection.command(*words)
        finally:
            connection.close()

    def empty(self) -> None:
        """Drop all data and scripts; raises `UsageError` for a server that is not ours."""
        if not self.ours:
            raise UsageError(
                f"{self!r} was not started here, and its data is not thrown away; "
                "delete what the scenario has written in its own setup()"
            )
        self.run("FLUSHALL", "SYNC")
        self.run("SCRIPT", "FLUSH", "SYNC")

    def held(self) -> RedisBackend:
        """Return what holds it for simulated worlds; the same one each time."""
        if self._backend is None:
            from desvelo.world.held.redis import RedisBackend

            self._backend = RedisBackend(self)
        return self._backend

    def stop(self) -> None:
        """Close what is open to it, and stop it when it was started here."""
        if self._backend is not None:
            self._backend.close()
        if self._launched is not None:
            self._launched.stop()


def redis(url: str | None = None, *, allow_host: str | None = None) -> RedisServer:
    """Return this process's Redis server; the first call finds or starts it.

    It is ``url`` or ``DESVELO_REDIS_URL`` when there is one, else ``redis-server`` on the
    ``PATH``, started on a free port without persistence. A URL must name this machine, unless
    ``allow_host`` or ``DESVELO_ALLOW_HOST`` names its host. Raises `ServerUnavailable`, which
    says in one line how to get one, and `UsageError` for a URL that cannot be used.
    """
    return _LOOKUP.find(url, allow_host)


def address_of(url: str, source: str = "the URL") -> RedisAddress:
    """Read a URL; raises `UsageError` when it is none.

    >>> address_of("redis://:secret@localhost/2")
    RedisAddress(host='127.0.0.1', port=6379, user='', database=2)
    """
    parts = urlsplit(url)
    if parts.scheme != "redis":
        raise UsageError(f"{source} is not of the form redis://user:password@host:port/number")
    try:
        port, database = parts.port or 6379, int(parts.path.strip("/") or 0)
    except ValueError as error:
        raise UsageError(f"{source} has a port or database that is no number: {error}") from error
    host = unquote(parts.hostname or "127.0.0.1")
    return RedisAddress(
        "127.0.0.1" if host == "localhost" else host,
        port,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        database,
    )


def _named(url: str, source: str, allowed: str | None) -> RedisServer:
    address = address_of(url, source)
    refuse_elsewhere(address.host, source, allowed, "scenarios would write to it")
    try:
        return RedisServer(address)
    except (RedisError, ServerGone) as error:
        raise ServerUnavailable(f"{source} does not work: {error}") from error


def _started(attempts: int = 3) -> RedisServer:
    program = shutil.which("redis-server")
    if program is None:
        raise ServerUnavailable(HOW_TO_GET)
    owner = Unprivileged(Path(program))
    folder = temporary_folder("redis", owner)
    address = RedisAddress("127.0.0.1", free_port())
    settings = [part for name, value in _SETTINGS.items() for part in (f"--{name}", value)]
    launched = Launched(
        [program, *settings, "--port", str(address.port), "--dir", str(folder)],
        folder,
        owner,
        "KILL",
    )
    until(lambda: _answers(address) or not launched.runs(), _START_SECONDS)
    try:
        return RedisServer(address, launched=launched)
    except (RedisError, ServerGone) as error:
        said = launched.log()
        launched.stop()
        if attempts > 1 and "Address already in use" in said:
            return _started(attempts - 1)
        raise ServerUnavailable(f"{program} does not start: {last_line(said)}") from error


def _answers(address: RedisAddress) -> bool:
    try:
        RedisConnection(address).close()
    except (ServerGone, RedisError):
        return False
    return True


_LOOKUP = Lookup("redis", "URL", _named, _started)
