"""The planted defects: mistakes that were made in real systems, one class each.

The system itself knows nothing of them.  A defect swaps one or two of its parts for subclasses
that override as little as the mistake needs.

>>> get("lost-counter-update").where
'PatientStore.save_detection'
>>> get("lost-counter-update").parts(Parts()).store.__name__
'LostCounterUpdate'
"""

from vigia_reference.defects.catalogue import Defect, UnknownDefect, by_name, find
from vigia_reference.defects.client import CLIENT_DEFECTS
from vigia_reference.defects.clock import CLOCK_DEFECTS
from vigia_reference.defects.database import DATABASE_DEFECTS
from vigia_reference.defects.delivery import DELIVERY_DEFECTS
from vigia_reference.defects.leaks import LEAK_DEFECTS
from vigia_reference.defects.network import NETWORK_DEFECTS
from vigia_reference.defects.redis import REDIS_DEFECTS
from vigia_reference.defects.shutdown import SHUTDOWN_DEFECTS
from vigia_reference.defects.store import STORE_DEFECTS
from vigia_reference.defects.threads import THREAD_DEFECTS
from vigia_reference.system import Parts

DEFECTS: dict[str, Defect] = by_name(
    *STORE_DEFECTS,
    *DELIVERY_DEFECTS,
    *CLIENT_DEFECTS,
    *REDIS_DEFECTS,
    *DATABASE_DEFECTS,
    *THREAD_DEFECTS,
    *LEAK_DEFECTS,
    *NETWORK_DEFECTS,
    *CLOCK_DEFECTS,
    *SHUTDOWN_DEFECTS,
)
"""All defects by name."""


def get(name: str) -> Defect:
    """The defect of this name; raises `UnknownDefect`, which names the nearest one."""
    return find(DEFECTS, name)


__all__ = ["DEFECTS", "Defect", "Parts", "UnknownDefect", "get"]
