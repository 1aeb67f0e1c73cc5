"""redis-py: clients and pools that hold connections and were not closed."""

from __future__ import annotations

from typing import Any

from desvelo.resources.attaching import Hook, Library, part, watch_class
from desvelo.resources.kinds import Kind, class_name
from desvelo.resources.recorder import Recorder


def _is_connected(client: Any) -> bool:
    connections = [client.connection] if client.connection is not None else []
    pool = client.connection_pool
    # The pools name what they hold; an embedded server's client has a pool of the same class.
    for name in ("_available_connections", "_in_use_connections"):
        connections += getattr(pool, name, ())
    return any(_has_a_socket(connection) for connection in connections)


def _has_a_socket(connection: Any) -> bool:
    known = getattr(connection, "is_connected", None)
    if known is not None:
        return bool(known)
    return getattr(connection, "_sock", None) is not None


_CLIENT = Kind("client", class_name, _is_connected)


def _hooks(recorder: Recorder, module: Any) -> list[Hook]:
    return watch_class(recorder, part(module, "Redis"), _CLIENT)


def _blocking_hooks(recorder: Recorder, module: Any) -> list[Hook]:
    # One that is dropped closes its connections by itself: only one that is kept is judged.
    return [
        hook
        for hook in watch_class(recorder, part(module, "Redis"), _CLIENT)
        if hook.name == "__init__"
    ]


LIBRARIES = [Library("redis.asyncio.client", _hooks), Library("redis.client", _blocking_hooks)]
