"""psycopg inside the world: it waits by the schedule, on connections that are relayed.

psycopg speaks to PostgreSQL through libpq and waits in a few functions of ``psycopg.waiting``;
these have stand-ins here. Connections to a server of the world are led to its relay. SQLAlchemy
and psycopg_pool stand on the same functions.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from desvelo.errors import UnsupportedInWorld
from desvelo.world.held.relay import Relay, RelayedSocket, open_relayed
from desvelo.world.inside import current
from desvelo.world.threads.points import wait_until
from desvelo.world.whereabouts import calling_line

if TYPE_CHECKING:
    from desvelo.world.held.bridge import Bridge
    from desvelo.world.world import World

_READ, _WRITE = 1, 2
"""As psycopg has them, for what is waited for and for what is ready."""

_relays: dict[tuple[str, int], Relay] = {}


class Relayed:
    """The relayed connections of one world."""

    def __init__(self, world: World, bridge: Bridge) -> None:
        self._world = world
        self._bridge = bridge
        self._sockets: dict[int, RelayedSocket] = {}

    def redirect(self, conninfo: str) -> str:
        """Return the connection string that leads to the relay of a server."""
        host, port = _place_in(conninfo)
        server = self._bridge.server_named(host, port)
        if server is None:
            raise UnsupportedInWorld(
                f"psycopg.connect() to {host}:{port} at {calling_line()}: no server of this "
                "scenario is there; name it, as in servers = [postgres]"
            )
        relay = _relays.get((server.host, server.port))
        if relay is None:
            relay = _relays[server.host, server.port] = Relay(server.host, server.port)
        return _led_to(conninfo, relay.folder, relay.port)

    def at(self, descriptor: int) -> RelayedSocket:
        """Return the connection of a driver's descriptor, after having read what it wrote."""
        found = self._sockets.get(descriptor)
        if found is not None:
            found.pump()
        if found is None or found.closed:
            for relay in _relays.values():
                found = open_relayed(self._world.network, relay, descriptor)
                if found is not None:
                    self._sockets[descriptor] = found
                    return found
            raise UnsupportedInWorld(
                f"psycopg waits for descriptor {descriptor} at {calling_line()}, which was not "
                "opened by psycopg.connect() in this world"
            )
        return found

    def look(self) -> None:
        """See which connections have been closed by their drivers."""
        for descriptor, sock in list(self._sockets.items()):
            sock.pump()
            if sock.closed:
                del self._sockets[descriptor]


@functools.lru_cache(maxsize=256)
def _place_in(conninfo: str) -> tuple[str, int]:
    """Return the host and port that a connection string names."""
    from psycopg.conninfo import conninfo_to_dict

    wanted = conninfo_to_dict(conninfo)
    host = wanted.get("hostaddr") or wanted.get("host") or "localhost"
    return str(host), int(wanted.get("port") or 5432)


@functools.lru_cache(maxsize=256)
def _led_to(conninfo: str, folder: str, port: int) -> str:
    """Return the connection string for the same session at a relay."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    options = {name: value for name, value in conninfo_to_dict(conninfo).items() if value}
    options.pop("hostaddr", None)
    options |= {"host": folder, "port": port, "sslmode": "disable", "gssencmode": "disable"}
    return make_conninfo("", **options)


def _relayed() -> Relayed | None:
    world = current()
    return world.bridge.relayed if world is not None and world.bridge is not None else None


def _connecting(real: Callable[..., Any]) -> Callable[..., Any]:
    def connect(conninfo: str, *arguments: Any, **options: Any) -> Any:
        world = current()
        if world is None:
            return real(conninfo, *arguments, **options)
        if world.bridge is None:
            raise UnsupportedInWorld(
                f"psycopg.connect() at {calling_line()}: libpq would open a real socket; "
                "name its server in the scenario, as in servers = [postgres]"
            )
        return real(world.bridge.relayed.redirect(conninfo), *arguments, **options)

    return connect


def _waiting(real: Callable[..., Any]) -> Callable[..., Any]:
    def wait(gen: Any, fileno: int, interval: float = 0.0, timeout: float | None = None) -> Any:
        relayed = _relayed()
        if relayed is None:
            return real(gen, fileno, interval, timeout)
        return _run(_steps(gen, fileno, relayed), timeout)

    return wait


def _waiting_for_connection(real: Callable[..., Any]) -> Callable[..., Any]:
    def wait_conn(gen: Any, interval: float = 0.0, timeout: float | None = None) -> Any:
        relayed = _relayed()
        if relayed is None:
            return real(gen, interval, timeout)
        return _run(_steps(gen, None, relayed), timeout)

    return wait_conn


def _waiting_async(real: Callable[..., Any]) -> Callable[..., Any]:
    async def wait_async(
        gen: Any, fileno: int, interval: float = 0.0, timeout: float | None = None
    ) -> Any:
        relayed = _relayed()
        if relayed is None:
            return await real(gen, fileno, interval, timeout)
        return await _run_async(_steps(gen, fileno, relayed), timeout)

    return wait_async


def _waiting_for_connection_async(real: Callable[..., Any]) -> Callable[..., Any]:
    async def wait_conn_async(gen: Any, interval: float = 0.0, timeout: float | None = None) -> Any:
        relayed = _relayed()
        if relayed is None:
            return await real(gen, interval, timeout)
        return await _run_async(_steps(gen, None, relayed), timeout)

    return wait_conn_async


def _steps(gen: Any, fileno: int | None, relayed: Relayed) -> Generator[RelayedSocket, None, Any]:
    """Run libpq's steps; yield the connection whenever there is nothing to do but wait."""
    try:
        wanted = next(gen)
        while True:
            descriptor, what = (fileno, wanted) if fileno is not None else wanted
            sock = relayed.at(descriptor)
            # What the driver writes is taken from it at once: it may always write more.
            if not what & _WRITE:
                while not sock.has_news():
                    yield sock
            if what & _READ:
                sock.hand_over()
            wanted = gen.send(what)
    except StopIteration as end:
        return end.value


def _run(steps: Generator[RelayedSocket, None, Any], timeout: float | None) -> Any:
    """Wait in a thread; ``timeout`` is in virtual seconds and for each wait."""
    try:
        while True:
            sock = next(steps)
            if not wait_until(
                sock.has_news,
                "the answer of PostgreSQL",
                timeout=timeout,
                waits_for=functools.partial(_what_is_awaited, sock),
            ):
                raise _timed_out()
    except StopIteration as end:
        return end.value


async def _run_async(steps: Generator[RelayedSocket, None, Any], timeout: float | None) -> Any:
    """Wait in a task."""
    loop = asyncio.get_running_loop()
    try:
        while True:
            sock = next(steps)
            woken, descriptor = loop.create_future(), sock.fileno()
            loop.add_reader(descriptor, _wake, woken)
            try:
                if timeout is None:
                    await woken
                else:
                    await asyncio.wait_for(woken, timeout)
            except TimeoutError:
                raise _timed_out() from None
            finally:
                loop.remove_reader(descriptor)
    except StopIteration as end:
        return end.value


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


def _what_is_awaited(sock: RelayedSocket) -> str:
    world = current()
    if world is None or world.bridge is None:
        return "the answer of PostgreSQL"
    return world.bridge.awaited_by(sock) or "the answer of PostgreSQL"


def _timed_out() -> BaseException:
    from psycopg import errors

    kind = getattr(errors, "_WaitTimeout", errors.ConnectionTimeout)
    return kind("timeout expired")


def _closing(real: Callable[..., Any]) -> Callable[..., Any]:
    def close(self: Any) -> Any:
        outcome = real(self)
        relayed = _relayed()
        if relayed is not None:
            relayed.look()
        return outcome

    return close


def _closing_async(real: Callable[..., Any]) -> Callable[..., Any]:
    async def close(self: Any) -> Any:
        outcome = await real(self)
        relayed = _relayed()
        if relayed is not None:
            relayed.look()
        return outcome

    return close


def _cancelling(real: Callable[..., Any]) -> Callable[..., Any]:
    def cancel(self: Any) -> None:
        if _relayed() is None:
            real(self)
        elif hasattr(self, "wait") and not asyncio.iscoroutinefunction(self.wait):
            self.cancel_safe()
        else:
            raise UnsupportedInWorld(
                f"AsyncConnection.cancel() at {calling_line()}: it blocks until the server has "
                "answered; await cancel_safe() instead"
            )

    return cancel


def stand_ins(done: set[str]) -> list[tuple[Any, str, Any]]:
    """Return (owner, name, stand-in) once psycopg has been loaded, else nothing."""
    if "psycopg" in done or "psycopg.connection_async" not in sys.modules:
        return []
    done.add("psycopg")
    import psycopg
    from psycopg import conninfo, generators, waiting

    makers: tuple[tuple[Any, str, Callable[[Callable[..., Any]], Callable[..., Any]]], ...] = (
        (generators, "connect", _connecting),
        (waiting, "wait", _waiting),
        (waiting, "wait_conn", _waiting_for_connection),
        (waiting, "wait_async", _waiting_async),
        (waiting, "wait_conn_async", _waiting_for_connection_async),
        (psycopg.Connection, "close", _closing),
        (psycopg.AsyncConnection, "close", _closing_async),
        (psycopg.BaseConnection, "cancel", _cancelling),
    )
    found = [(owner, name, make(getattr(owner, name))) for owner, name, make in makers]
    if hasattr(conninfo, "_parse_conninfo"):
        # It asks libpq for all of its 45 options, twice for each connection; the answer depends
        # on nothing but the text.
        found.append(
            (conninfo, "_parse_conninfo", functools.lru_cache(256)(conninfo._parse_conninfo))
        )
    return found
