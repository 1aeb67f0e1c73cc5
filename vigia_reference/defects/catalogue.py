"""What is known about a defect, and how to find one by name."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vigia_reference.clinical.connect import BACKENDS
from vigia_reference.system import Parts

POSTGRESQL = ("psycopg", "asyncpg")
SYNC = ("sqlite", "psycopg")
EVERY_BACKEND = BACKENDS


@dataclass(frozen=True, slots=True)
class Defect:
    """One mistake that can be switched on.

    `operations` and `deviations` are the size of the smallest known reproduction: how many calls
    of the public interface, and how many choices that differ from plain first-in, first-out
    scheduling without faults.  `backends` and `isolation` say in which of the clinical stores it
    shows: through which drivers, and at which isolation levels when not at all of them.
    """

    name: str
    kind: str
    where: str
    breaks: str
    operations: int
    deviations: int
    parts: Callable[[Parts], Parts]
    backends: tuple[str, ...] = ()
    isolation: tuple[str, ...] = ()


class UnknownDefect(LookupError):
    """No defect has this name."""


def by_name(*defects: Defect) -> dict[str, Defect]:
    """Index *defects*; raises `ValueError` when two have one name."""
    index: dict[str, Defect] = {}
    for defect in defects:
        if defect.name in index:
            raise ValueError(f"Two defects are called {defect.name!r}")
        index[defect.name] = defect
    return index


def find(defects: Mapping[str, Defect], name: str) -> Defect:
    """Look *name* up; raises `UnknownDefect` with the nearest known name."""
    if name in defects:
        return defects[name]
    nearest = difflib.get_close_matches(name, defects, n=1, cutoff=0.0)
    hint = f"; the nearest name is {nearest[0]!r}" if nearest else ""
    raise UnknownDefect(f"There is no defect {name!r}{hint}")
