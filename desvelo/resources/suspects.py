"""What seems to have been left open, and which of it belongs to something else that was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from desvelo.resources.creation import Creation
from desvelo.resources.kinds import NAMES
from desvelo.resources.reach import reachable

_PARTS = {"connector", "response", "connection", "transport", "task", "socket", "port", "file"}
"""What goes when its owner goes."""
_TOGETHER = 0.05
"""Seconds between the end of an owner and that of its parts."""


@dataclass(slots=True, eq=False)
class Suspect:
    """Something that seems to have been left open."""

    kind: str
    what: str
    how: str
    creation: Creation | None
    resource: Any = None
    """Nothing when it is gone, or was never an object."""
    gone_at: float | None = None
    number: int = -1
    """Of a descriptor without an object."""


def without_parts(suspects: list[Suspect]) -> list[Suspect]:
    """Leave out what belongs to another one: the socket of a session is not a leak of its own."""
    ranked = sorted(suspects, key=lambda one: _rank(one.kind))
    owners: list[Suspect] = []
    owned = reachable(_far_ends(suspects), 3)
    for one in ranked:
        if one.resource is not None and id(one.resource) in owned:
            continue
        if any(_goes_with(one, owner) for owner in owners):
            continue
        owners.append(one)
        if one.resource is not None:
            owned |= reachable([one.resource])
    return sorted(owners, key=lambda one: one.creation.number if one.creation else 0)


def _far_ends(suspects: list[Suspect]) -> Iterator[Any]:
    """Find accepted connections that are open because the other end, a suspect too, is."""
    near = {}
    accepted = []
    for one in suspects:
        if one.kind == "transport" and one.resource is not None:
            with contextlib.suppress(Exception):
                sock = one.resource.get_extra_info("socket")
                if getattr(one.resource, "_server", None) is not None:
                    accepted.append((one.resource, sock.getpeername()))
                else:
                    near[sock.getsockname()] = one
        elif one.kind == "socket" and one.resource is not None:
            with contextlib.suppress(OSError):
                near[one.resource.getsockname()] = one
    return (transport for transport, peer in accepted if near.get(peer) is not None)


def _goes_with(part: Suspect, owner: Suspect) -> bool:
    if part.creation is not None and part.creation is owner.creation:
        return True
    if _rank(part.kind) <= _rank(owner.kind) or part.creation is None or owner.creation is None:
        return False
    same = bool(part.creation.lines) and part.creation.lines == owner.creation.lines
    if part.gone_at is not None and owner.gone_at is not None and part.kind in _PARTS:
        together = abs(part.gone_at - owner.gone_at) < _TOGETHER
        return same or (together and part.creation.number > owner.creation.number)
    return same and part.kind in _PARTS | {"thread"}


def _rank(kind: str) -> int:
    return NAMES.index(kind)
