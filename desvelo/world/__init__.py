"""The simulated world: stock asyncio on our selector, sockets, clock and pools."""

from desvelo.world.operation import Operation
from desvelo.world.trace import Row, Trace
from desvelo.world.world import LATENCY, MAX_POLLS, MODES, World

__all__ = ["LATENCY", "MAX_POLLS", "MODES", "Operation", "Row", "Trace", "World"]
