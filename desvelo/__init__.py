"""Desvelo finds race conditions and resource leaks in Python services, and replays them.

The code under test is real; the world around it (sockets, clock, threads of a pool) is
simulated, and every moment of choice in it is a decision that is explored, shrunk and
replayed. Start with `explore`; for Hypothesis machines see `ConcurrentMachine`.
"""

from desvelo.explore import explore
from desvelo.finding.finding import Finding

__all__ = ["Finding", "explore"]
__version__ = "0.1.0"
