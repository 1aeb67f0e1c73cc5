"""Looking for a server: one of each place for a process, told when it cannot be had."""

from __future__ import annotations

import atexit
import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from desvelo.errors import UsageError
from desvelo.servers.launch import ServerUnavailable
from desvelo.servers.naming import refuse_unnamed

ALLOWED = "DESVELO_ALLOW_HOST"


class Server(Protocol):
    """What is looked for."""

    def stop(self) -> None:
        """Close what is open to it, and stop it when it was started here."""


S = TypeVar("S", bound=Server)


@dataclass
class Lookup(Generic[S]):
    """Finds or starts the servers of one kind, each once, and lets go of them at exit."""

    kind: str
    word: str
    """What an address is called: a DSN, a URL."""
    named: Callable[[str, str, str | None], S]
    """Makes the server of an address, given where that came from and the host that is allowed."""
    started: Callable[[], S]
    found: dict[str, S] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def find(self, address: str | None, allow_host: str | None) -> S:
        """Return the server of an address, of the variable that gives one, or one of our own.

        Raises `ServerUnavailable`, the same again each time, and `UsageError` for an address
        that cannot be used.
        """
        variable = f"DESVELO_{self.kind.upper()}_{self.word}"
        wanted = address or os.environ.get(variable, "")
        known = self.found.get(wanted)
        refuse_unnamed(self.kind, known)
        if known is not None:
            return known
        if wanted in self.failed:
            raise ServerUnavailable(self.failed[wanted])
        try:
            if wanted:
                source = f"the {self.word}" if address else variable
                server = self.named(wanted, source, allow_host or os.environ.get(ALLOWED))
            else:
                server = self.started()
        except ServerUnavailable as error:
            self.failed[wanted] = str(error)
            raise
        self.found[wanted] = server
        atexit.register(server.stop)
        return server


def refuse_elsewhere(host: str, source: str, allowed: str | None, harm: str) -> None:
    """Raise `UsageError` for a host that is not this machine and was not allowed by name."""
    if not is_loopback(host) and host != allowed:
        raise UsageError(
            f"{source} names the host {host}, which is not this machine; {harm}, so say that you "
            f"mean it: {ALLOWED}={host}"
        )


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine: a loopback address or the folder of a socket.

    >>> is_loopback("127.0.0.1"), is_loopback("/run/postgresql"), is_loopback("db.example.org")
    (True, True, False)
    """
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
