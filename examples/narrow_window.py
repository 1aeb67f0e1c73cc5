"""A cache that is filled with what was true a moment ago: one exact poll out of twelve.

The reader misses the cache, reads the table and fills the cache in the next step. A writer
that changes the table and clears the cache between the two leaves the old value there for
good. It has to come in exactly that iteration.

    desvelo explore examples/narrow_window.py
"""

import asyncio


class Prices:
    def __init__(self):
        self.table = {"bread": 2}
        self.cache = {}

    async def read(self, name):
        for _ in range(9):  # authentication
            await asyncio.sleep(0)
        if name not in self.cache:
            price = self.table[name]
            await asyncio.sleep(0)
            self.cache[name] = price
        await asyncio.sleep(0)
        return self.cache[name]

    def change(self, name, price):
        self.table[name] = price
        self.cache.pop(name, None)


def setup():
    return Prices()


def operations(prices):
    return {
        "change": lambda: prices.change("bread", 3),
        "read": lambda: prices.read("bread"),
    }


def check(prices):
    cached = prices.cache.get("bread", prices.table["bread"])
    assert cached == prices.table["bread"], f"the cache says {cached} for good"
