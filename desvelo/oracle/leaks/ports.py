"""Who holds a simulated port, for the moment at which a server cannot start because it is taken."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from desvelo.failure import Failure
from desvelo.oracle.leaks.recording import WorldRecorder
from desvelo.resources.attaching import Hook, part
from desvelo.resources.ports import chain_of, is_port_in_use
from desvelo.world.network import describe_address

_NOTE = "_desvelo_held_by"


def port_hooks(recorder: WorldRecorder, network: Any) -> list[Hook]:
    """Return the hooks by which an error knows who listened when it was raised.

    Later is too late: whoever held the port may have let go of it meanwhile.
    """
    cls = part(network, "Network")

    def noting(original: Any) -> Any:
        @functools.wraps(original)
        def refuse_or_go_on(self: Any, sock: Any, *args: Any) -> Any:
            try:
                return original(self, sock, *args)
            except OSError as error:
                if is_port_in_use(error):
                    keys = args or sock.bound_keys
                    setattr(error, _NOTE, tuple(_held(recorder, self, keys)))
                raise

        return refuse_or_go_on

    return [Hook(cls, name, noting) for name in ("_claim", "listen")]


def _held(recorder: WorldRecorder, network: Any, keys: Any) -> Iterator[str]:
    ports = {port for _, port in keys}
    for sock in network.sockets.values():
        address = sock.address
        port = address[1] if isinstance(address, tuple) else address
        if not sock.listening or port not in ports:
            continue
        made = recorder.creation_of(sock)
        by = f" by {made.by}" if made is not None and made.by else ""
        where = f", made{by} at {made.text()}" if made is not None else ""
        age = f", {recorder.now() - made.at:.2f} s before" if made is not None else ""
        yield f"{describe_address(address)} is held by a socket that listens{where}{age}"


def who_holds(error: BaseException) -> tuple[str, ...]:
    """Say who listened at the port that an error names as taken; nothing for other errors."""
    for one in chain_of(error):
        held: tuple[str, ...] = getattr(one, _NOTE, ())
        if held:
            return held
    return ()


def with_holder(failure: Failure) -> Failure:
    """Add to a failure who held the port, when it failed for that."""
    held = who_holds(failure.error)
    return replace(failure, details=(*failure.details, *held)) if held else failure
