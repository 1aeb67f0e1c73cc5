"""Does a connection pool keep its places when those who wait for one are cancelled?

Callers share one connection, so that most of them wait for it. Whoever is cancelled while he waits,
also in the very moment in which it is given to him, must leave it to the next one. At rest it can
be had, and after shutdown nothing is open.
"""

from __future__ import annotations

import asyncio

from hypothesis import strategies as st

from desvelo import at_rest, current_target, operation
from stress_tests.budget import case_of
from stress_tests.clinical import Aiosqlite

LONGEST_WAIT = 30.0
"""Virtual seconds after which a place counts as lost: nobody keeps one for a whole second."""


class CancelledWaiters(Aiosqlite):
    """Callers of the pool itself, each of whom keeps its connection for a while."""

    connections = 1

    async def setup(self) -> None:
        self.target = current_target()
        self.store = self.target.clinical_store(self.backend, self.place(), size=self.connections)
        self.pool = self.store.pool
        await self.pool.open(self.connections)

    @operation(seconds=st.sampled_from((0.01, 0.0)))
    async def use(self, seconds: float) -> None:
        async with asyncio.timeout(LONGEST_WAIT), self.pool.connection():
            await asyncio.sleep(seconds)

    @at_rest()
    async def the_connection_can_be_had(self) -> None:
        async with asyncio.timeout(LONGEST_WAIT), self.pool.connection():
            pass


TestCancelledWaiters = case_of(CancelledWaiters, 0.25)
