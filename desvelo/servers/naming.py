"""Servers that a scenario uses but has not named, told before they could start or be reached."""

from __future__ import annotations

from desvelo.errors import UnsupportedInWorld
from desvelo.world.inside import current
from desvelo.world.whereabouts import calling_line


def refuse_unnamed(kind: str, server: object | None) -> None:
    """Raise `UnsupportedInWorld` where the world that runs now was not given this server.

    ``server`` is the one that is meant, or nothing when it has not been started yet.
    """
    world = current()
    if world is None:
        return
    if world.bridge is not None and (server is None or world.bridge.knows(server)):
        # Another database of a server that was named is found in the world for the first time.
        return
    raise UnsupportedInWorld(
        f"{kind}() at {calling_line()}: the server is not known in here; name it in the scenario, "
        f'as in servers = [{kind}] (a machine: world_options = {{"servers": [{kind}]}})'
    )
