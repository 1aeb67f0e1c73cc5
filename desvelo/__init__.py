"""Desvelo finds race conditions and resource leaks in Python services, and replays them.

The code under test is real; the world around it (sockets, clock, threads of a pool) is
simulated, and every moment of choice in it is a decision that is explored, shrunk and
replayed. Start with `explore`; for Hypothesis machines see `ConcurrentMachine`.
"""

from desvelo.explore import explore
from desvelo.finding.finding import Finding
from desvelo.machine import fault
from desvelo.machine.concurrent import ConcurrentMachine
from desvelo.machine.rules import at_rest, operation
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
    "operation",
]
__version__ = "0.1.0"
