"""Two leaders at once: a lease runs out while the first leader still believes that it leads.

The first takes the lease and then needs a few steps to write. If it is not scheduled for a
while, the lease ends, the second leader takes over and writes, and then the first one's old
value comes on top. A fencing number would have stopped it. Stock asyncio runs ready tasks first
come, first served; with that order lifted:

    desvelo explore examples/stale_leader.py --mode any-order
"""

import asyncio


class Cluster:
    def __init__(self):
        self.leader = None
        self.over = asyncio.Event()
        self.jobs = asyncio.Queue()
        self.log = []

    async def steps(self, count):
        for _ in range(count):
            await asyncio.sleep(0)

    async def first(self):
        self.leader = "first"
        await self.steps(5)  # prepare the value
        self.log.append("first")

    async def clock(self):
        await self.steps(12)
        if self.leader == "first":
            self.leader = "second"  # the lease has run out
        self.over.set()

    async def second(self):
        await self.over.wait()
        if self.leader == "second":
            self.jobs.put_nowait("second")
        self.jobs.put_nowait(None)

    async def writer(self):
        while (value := await self.jobs.get()) is not None:
            await self.steps(4)
            self.log.append(value)


def setup():
    return Cluster()


def operations(cluster):
    return {
        "first": cluster.first,
        "clock": cluster.clock,
        "second": cluster.second,
        "writer": cluster.writer,
    }


def check(cluster):
    assert cluster.log[-2:] != ["second", "first"], f"the old leader wrote last: {cluster.log}"
