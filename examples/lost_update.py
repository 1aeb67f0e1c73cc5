"""A counter that loses an update, but only when one request happens to come later.

Both requests read the stock, save it in three steps, and are fine one after the other. The
order checks a coupon first, so in plain asyncio it reads the stock long after the return has
written it: the bug never shows, however often it is run.

    desvelo explore examples/lost_update.py
"""

import asyncio


class Shop:
    def __init__(self):
        self.stock = 10

    async def save(self, stock):
        for _ in range(3):  # validate, write, write the journal
            await asyncio.sleep(0)
        self.stock = stock

    async def take_back(self):
        stock = self.stock
        await self.save(stock + 1)

    async def order(self):
        for _ in range(6):  # the coupon's rules
            await asyncio.sleep(0)
        stock = self.stock
        await self.save(stock - 1)


def setup():
    return Shop()


def operations(shop):
    return {"take_back": shop.take_back, "order": shop.order}


def check(shop):
    assert shop.stock == 10, f"10 in stock, one sold and one returned, leaves {shop.stock}"
