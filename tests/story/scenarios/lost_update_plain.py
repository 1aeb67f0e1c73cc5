"""Three visits counted at once: the count is wrong in plain order already."""

import asyncio


class Counter:
    visits = 0


def setup():
    Counter.visits = 0
    return Counter()


def operations(counter):
    async def visit():
        seen = counter.visits
        await asyncio.sleep(0.001)
        counter.visits = seen + 1

    return {f"visit_{number}": visit for number in range(1, 4)}


def check(counter):
    assert counter.visits == 3, f"{counter.visits} of 3 visits were counted"
