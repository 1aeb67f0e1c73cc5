"""A hand-made semaphore: a waiter that is cancelled just after it was woken loses the slot."""

import asyncio
import collections


class Slots:
    def __init__(self, free):
        self.free = free
        self.waiting = collections.deque()

    async def take(self):
        if self.free:
            self.free -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self.waiting.append(waiter)
        await waiter

    def give(self):
        while self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.free += 1


def setup():
    return Slots(1)


def operations(slots):
    async def upload():
        await slots.take()
        try:
            await asyncio.sleep(0.05)
        finally:
            slots.give()

    async def impatient():
        try:
            async with asyncio.timeout(0.02):
                await slots.take()
        except TimeoutError:
            return "gave up"
        slots.give()
        return "done"

    return {"upload": upload, "impatient": impatient}


def check(slots):
    assert slots.free == 1, f"{slots.free} slots are free, and nobody uses one"
