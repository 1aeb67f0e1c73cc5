"""Two leaders at once: a lease runs out while the first leader still believes that it leads.

The first takes the lease and then needs a few steps to write. If it is not scheduled for a
while, the lease ends, the second leader takes over and writes, and then the first one's old
value comes on top. A fencing number would have stopped it.

    desvelo explore examples/stale_leader.py --mode any-order
"""

import asyncio


class Cluster:
    def __init__(self):
        self.lease = asyncio.Event()
        self.expired = asyncio.Event()
        self.jobs = asyncio.Queue()
        self.log = []

    async def steps(self, count):
        for _ in range(count):
            await asyncio.sleep(0)

    async def first(self):
        self.lease.set()
        await self.steps(5)  # prepare the value
        self.log.append(1)

    async def clock(self):
        await self.lease.wait()
        await self.steps(8)
        self.expired.set()

    async def second(self):
        await self.expired.wait()
        self.jobs.put_nowait(2)

    async def writer(self):
        value = await self.jobs.get()
        await self.steps(6)
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
    assert cluster.log == [1, 2], f"the old leader wrote last: {cluster.log}"
