"""A shop that stores an order again when its client, who never saw the answer, asks again."""

import asyncio

from desvelo import fault

faults = (fault.reset.before_request, fault.reset.before_response)


class Shop:
    def __init__(self):
        self.orders = []
        self.server = None

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 80)

    async def serve(self, reader, writer):
        try:
            if line := await reader.readline():
                self.orders.append(line.decode().strip())
                writer.write(b"ok\n")
        except ConnectionError:
            pass  # the client has gone
        writer.close()

    async def stop(self):
        self.server.close()
        await self.server.wait_closed()


async def order(what):
    for _ in range(2):
        reader, writer = await asyncio.open_connection("127.0.0.1", 80)
        try:
            writer.write(what.encode() + b"\n")
            return await reader.readline()
        except ConnectionError:
            continue  # try once more
        finally:
            writer.close()
    return None


async def setup():
    shop = Shop()
    await shop.start()
    return shop


def operations(shop):
    return {"bread": lambda: order("bread"), "milk": lambda: order("milk")}


def check(shop):
    assert len(shop.orders) == len(set(shop.orders)), f"stored: {', '.join(shop.orders)}"


async def teardown(shop):
    await shop.stop()
