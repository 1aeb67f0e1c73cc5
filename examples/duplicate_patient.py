"""A web service that registers a patient twice: it looks, awaits, and only then inserts.

The second client sends its request 20 ms after the first, when the first has long been
answered on an idle machine. A message of the first request that is late by that much is all
it takes. The server and the clients are plain aiohttp.

    desvelo explore examples/duplicate_patient.py
"""

import asyncio

from aiohttp import ClientSession, web


class Registry:
    def __init__(self):
        self.rows = []
        self.base = ""

    async def find(self, code):
        await asyncio.sleep(0)  # SELECT
        return [row for row in self.rows if row == code]

    async def insert(self, code):
        await asyncio.sleep(0.005)  # INSERT, and the disk
        self.rows.append(code)

    async def register(self, request):
        code = (await request.json())["code"]
        if await self.find(code):
            return web.json_response({"known": True}, status=200)
        await asyncio.sleep(0)  # write the audit log
        await self.insert(code)
        return web.json_response({"known": False}, status=201)


async def setup():
    registry = Registry()
    application = web.Application()
    application.router.add_post("/patients", registry.register)
    registry.runner = web.AppRunner(application)
    await registry.runner.setup()
    site = web.TCPSite(registry.runner, "127.0.0.1", 0)
    await site.start()
    host, port = registry.runner.addresses[0][:2]
    registry.base = f"http://{host}:{port}"
    return registry


def operations(registry):
    async def post(after):
        await asyncio.sleep(after)
        async with ClientSession() as session:
            async with session.post(f"{registry.base}/patients", json={"code": "P-1"}) as answer:
                return answer.status

    return {"first": lambda: post(0), "second": lambda: post(0.02)}


def check(registry):
    assert registry.rows == ["P-1"], f"registered {len(registry.rows)} times"


async def teardown(registry):
    await registry.runner.cleanup()
