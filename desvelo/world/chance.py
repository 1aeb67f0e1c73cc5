"""Randomness as code inside the world sees it: seeded, whichever door it comes through."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import uuid
from typing import Any

from desvelo.world.inside import current

_real_urandom = os.urandom
_real_seed = random.Random.seed
_NODE = 0x02DE5E10
"""The network card that ``uuid1`` sees."""

_UUID_MEMORY = ("_last_timestamp", "_last_timestamp_v6", "_last_timestamp_v7")


def urandom(size: int, /) -> bytes:
    """Return random bytes: the world's inside it, the kernel's outside."""
    world = current()
    return _real_urandom(size) if world is None else world.random_bytes(size)


def _seed(self: random.Random, a: Any = None, version: int = 2) -> None:
    world = current()
    if a is None and world is not None:
        a = world.random_bytes(16)
    _real_seed(self, a, version)


_shared: random.Random = random.seed.__self__  # type: ignore[attr-defined] # a bound method


def _seed_shared(a: Any = None, version: int = 2) -> None:
    _seed(_shared, a, version)


def _getnode() -> int:
    return _NODE


def replacements() -> dict[str, Any]:
    """Return what stands in for which function, by dotted name."""
    return {"os.urandom": urandom, "random.seed": _seed_shared}


class Generators:
    """Generators that modules made for themselves when they were imported, such as aiohttp's.

    Each is seeded anew for each world; the state it had is put back at the end.
    """

    def __init__(self) -> None:
        self._states: dict[int, tuple[random.Random, Any]] = {}

    def keep(self, generator: random.Random) -> None:
        """Take one over; its state is remembered."""
        if id(generator) not in self._states and generator is not _shared:
            self._states[id(generator)] = generator, generator.getstate()

    def seed(self, seed: int) -> None:
        """Let all begin at one point."""
        for generator, _ in self._states.values():
            generator.seed(seed)

    def restore(self) -> None:
        """Put back the states that were there before."""
        while self._states:
            generator, state = next(iter(self._states.values()))
            generator.setstate(state)
            del self._states[id(generator)]


GENERATORS = Generators()


ATTRIBUTES: tuple[tuple[Any, str, Any], ...] = (
    (random, "_urandom", urandom),
    (random.Random, "seed", _seed),
    (uuid, "getnode", _getnode),
)
"""What is replaced in one place only: (owner, name, stand-in)."""


class SharedChance:
    """The state that the process shares: seeded for one world and given back after it."""

    def __init__(self, seed: int) -> None:
        self._random = random.getstate()
        self._names = tempfile._name_sequence  # type: ignore[attr-defined] # no public reset
        self._uuid = {name: getattr(uuid, name) for name in _UUID_MEMORY if hasattr(uuid, name)}
        numpy = sys.modules.get("numpy.random")
        self._numpy: Any = (numpy, numpy.get_state()) if numpy is not None else None
        random.seed(seed)
        GENERATORS.seed(seed)
        tempfile._name_sequence = None  # type: ignore[attr-defined] # as above
        for name in self._uuid:
            setattr(uuid, name, None)
        if numpy is not None:
            numpy.seed(seed & 0xFFFFFFFF)

    def restore(self) -> None:
        """Put back what was there before."""
        random.setstate(self._random)
        tempfile._name_sequence = self._names  # type: ignore[attr-defined] # as above
        for name, value in self._uuid.items():
            setattr(uuid, name, value)
        if self._numpy is not None:
            numpy, state = self._numpy
            numpy.set_state(state)
