"""Names and sockets as code inside the world sees them: the simulated network's."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from desvelo.errors import OutsideWorldError
from desvelo.world import sockets
from desvelo.world.actors import ACTOR
from desvelo.world.inside import current
from desvelo.world.network import Network, literal_address
from desvelo.world.whereabouts import calling_line

HOST_NAME = "desvelo"
"""What the simulated machine calls itself."""

_SERVICES = {"http": 80, "https": 443, "ws": 80, "wss": 443, "postgresql": 5432, "redis": 6379}
_real_init = sockets.real_socket.__init__
_real_getaddrinfo = socket.getaddrinfo
_real_gethostbyname = socket.gethostbyname
_real_gethostbyname_ex = socket.gethostbyname_ex
_real_gethostbyaddr = socket.gethostbyaddr
_real_getnameinfo = socket.getnameinfo
_real_gethostname = socket.gethostname
_real_socketpair = socket.socketpair


class AddressInfo(tuple[Any, ...]):
    """One answer of ``getaddrinfo``, whose hash does not depend on the hashes of strings."""

    __slots__ = ()

    def __hash__(self) -> int:
        family, _, _, _, where = self
        text = sum(ord(letter) * (place + 1) for place, letter in enumerate(where[0]))
        return int(family) * 1_000_003 + text + int(where[1])


def look_up(
    network: Network,
    host: Any,
    port: Any,
    family: int = 0,
    kind: int = 0,
    proto: int = 0,
    flags: int = 0,
) -> list[Any]:
    """Resolve a name as ``socket.getaddrinfo`` does, in a simulated network."""
    check_name_server(network, host)
    number = port_number(port)
    of_kind = socket.SocketKind(kind) if kind else socket.SOCK_STREAM
    answers = []
    for found, address in network.resolve(host, family, passive=bool(flags & socket.AI_PASSIVE)):
        where = (address, number) if found == socket.AF_INET else (address, number, 0, 0)
        form = socket.AddressFamily(found)
        answers.append(AddressInfo((form, of_kind, proto or socket.IPPROTO_TCP, "", where)))
    return answers


def check_name_server(network: Network, host: Any) -> None:
    """Raise what the resolver raises when no name server answers, if that is to be so."""
    if not network.unknown or not host or is_literal(host):
        return
    name = ACTOR.get().name
    if name in network.unknown and host not in ("localhost", b"localhost"):
        network.unknown.discard(name)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def port_number(port: Any) -> int:
    """Return the number of a port given as a number, digits or a service's name.

    >>> port_number("http"), port_number(b"8000"), port_number(None)
    (80, 8000, 0)
    """
    if port is None or port in ("", b""):
        return 0
    if isinstance(port, (str, bytes)):
        text = port.decode() if isinstance(port, bytes) else port
        if text.isdigit():
            return int(text)
        if text in _SERVICES:
            return _SERVICES[text]
        raise socket.gaierror(socket.EAI_SERVICE, f"Servname not supported: {text}")
    return int(port)


def is_literal(host: Any) -> bool:
    """Tell whether a host is an address already.

    >>> is_literal("127.0.0.1"), is_literal("fe80::1%eth0"), is_literal("example.org")
    (True, True, False)
    """
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    return literal_address(text) is not None


def _socket_init(self: Any, *arguments: Any, **options: Any) -> None:
    if current() is not None:
        raise OutsideWorldError(
            f"{type(self).__module__}.{type(self).__name__}() at {calling_line()}: it would open "
            "a real socket from inside the simulated world; reach sockets as socket.socket, or "
            "go through the event loop"
        )
    _real_init(self, *arguments, **options)


def _getaddrinfo(
    host: Any,
    port: Any,
    family: int = 0,
    type: int = 0,  # noqa: A002 - callers pass it by this name
    proto: int = 0,
    flags: int = 0,
) -> Any:
    world = current()
    if world is None:
        return _real_getaddrinfo(host, port, family, type, proto, flags)
    return world.getaddrinfo(host, port, family, type, proto, flags)


def _gethostbyname(hostname: str, /) -> str:
    world = current()
    if world is None:
        return _real_gethostbyname(hostname)
    check_name_server(world.network, hostname)
    return world.network.resolve(hostname, socket.AF_INET)[0][1]


def _gethostbyname_ex(hostname: str, /) -> tuple[str, list[str], list[str]]:
    if current() is None:
        return _real_gethostbyname_ex(hostname)
    return hostname, [], [_gethostbyname(hostname)]


def _gethostbyaddr(address: str, /) -> tuple[str, list[str], list[str]]:
    world = current()
    if world is None:
        return _real_gethostbyaddr(address)
    where = world.network.resolve(address)[0][1]
    return world.network.name_of(where), [], [where]


def _getnameinfo(sockaddr: Any, flags: int, /) -> tuple[str, str]:
    if current() is None:
        return _real_getnameinfo(sockaddr, flags)
    return str(sockaddr[0]), str(sockaddr[1])


def _gethostname() -> str:
    return _real_gethostname() if current() is None else HOST_NAME


def _socketpair(*arguments: Any, **options: Any) -> Any:
    if current() is None:
        return _real_socketpair(*arguments, **options)
    return sockets.socketpair(*arguments, **options)


def replacements() -> dict[str, Callable[..., Any]]:
    """Return what stands in for which function, by dotted name."""
    return {
        "socket.getaddrinfo": _getaddrinfo,
        "socket.gethostbyname": _gethostbyname,
        "socket.gethostbyname_ex": _gethostbyname_ex,
        "socket.gethostbyaddr": _gethostbyaddr,
        "socket.getnameinfo": _getnameinfo,
        "socket.gethostname": _gethostname,
        "socket.socketpair": _socketpair,
    }


ATTRIBUTES: tuple[tuple[Any, str, Any], ...] = (
    (socket, "socket", sockets.SimSocket),
    (sockets.real_socket, "__init__", _socket_init),
)
"""What is replaced in one place only: (owner, name, stand-in)."""
