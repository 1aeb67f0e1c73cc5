"""A worker polls for a job; the producer takes back what nobody has fetched in time."""

import asyncio


def setup():
    return {"jobs": [], "done": 0}


def operations(state):
    async def worker():
        while not state["done"]:
            if state["jobs"]:
                state["jobs"].pop()
                state["done"] += 1
            await asyncio.sleep(0)

    async def producer():
        state["jobs"].append("scan")
        for _ in range(3):
            await asyncio.sleep(0)
        if state["jobs"]:
            state["jobs"].clear()

    return {"worker": worker, "producer": producer}
