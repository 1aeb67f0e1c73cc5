"""The policies under one roof; each algorithm is in a module of its own name."""

from __future__ import annotations

from desvelo.schedule.delays import Delays
from desvelo.schedule.fifo import Fifo, Interruptible
from desvelo.schedule.pct import Pct
from desvelo.schedule.policies import POLICIES, make_policy, policy_names
from desvelo.schedule.pos import Pos
from desvelo.schedule.random_walk import RandomWalk
from desvelo.schedule.recorded import Recorded
from desvelo.schedule.scale import Scale
from desvelo.schedule.sequential import Sequential
from desvelo.schedule.sticky import Sticky

__all__ = [
    "POLICIES",
    "Delays",
    "Fifo",
    "Interruptible",
    "Pct",
    "Pos",
    "RandomWalk",
    "Recorded",
    "Scale",
    "Sequential",
    "Sticky",
    "make_policy",
    "policy_names",
]
