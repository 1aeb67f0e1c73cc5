"""A connection pool that loses a connection when a waiter is cancelled as it is served.

`release` hands the connection to the waiter by way of a future. If the waiter is cancelled in
the same iteration of the loop, after the hand-over and before it runs, its `await` raises and
the connection belongs to nobody. Libraries were released with this: pools, and semaphores and
queues of asyncio itself. Release and cancellation have to reach the loop in one poll.

    desvelo explore examples/leaky_pool.py
"""

import asyncio
from collections import deque


class Pool:
    def __init__(self, *connections):
        self.free = deque(connections)
        self.waiters = deque()

    async def acquire(self):
        if self.free:
            return self.free.popleft()
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter in self.waiters:
                self.waiters.remove(waiter)
            raise

    def release(self, connection):
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self.free.append(connection)


class Service:
    def __init__(self):
        self.pool = Pool("connection 1")
        self.request = None

    async def query(self, seconds):
        connection = await self.pool.acquire()
        try:
            await asyncio.sleep(seconds)
        finally:
            self.pool.release(connection)

    async def report(self):
        await self.query(0.03)

    async def page(self):
        self.request = asyncio.create_task(self.query(0.001))
        await asyncio.wait([self.request])

    def browser_closes(self):
        if self.request is not None:
            self.request.cancel()


def setup():
    return Service()


def operations(service):
    return {
        "report": service.report,
        "page": service.page,
        "browser_closes": service.browser_closes,
    }


def check(service):
    assert len(service.pool.free) == 1, "the connection was lost"
