"""Desvelo finds race conditions and resource leaks in Python services, and replays them.

The code under test is real; the world around it (sockets, clock, threads of a pool) is
simulated, and every moment of choice in it is a decision that is explored, shrunk and
replayed. Start with `explore`; for Hypothesis machines see `ConcurrentMachine`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from desvelo import fault
    from desvelo.exploration import explore
    from desvelo.finding.finding import Finding
    from desvelo.machine.concurrent import ConcurrentMachine
    from desvelo.machine.rules import at_rest, operation
    from desvelo.resources.check import leak_check
    from desvelo.targets import current_target
    from desvelo.world import World

__all__ = [
    "ConcurrentMachine",
    "Finding",
    "World",
    "at_rest",
    "current_target",
    "explore",
    "fault",
    "leak_check",
    "operation",
]
__version__ = "0.1.0"

_PLACES = {
    "ConcurrentMachine": "desvelo.machine.concurrent",
    "Finding": "desvelo.finding.finding",
    "World": "desvelo.world",
    "at_rest": "desvelo.machine.rules",
    "current_target": "desvelo.targets",
    "explore": "desvelo.exploration",
    "leak_check": "desvelo.resources.check",
    "operation": "desvelo.machine.rules",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: pytest loads our plugin in every run."""
    if name == "fault":
        return importlib.import_module("desvelo.fault")
    if name not in _PLACES:
        raise AttributeError(f"module 'desvelo' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value
    return value
