"""A server that stores each code once, through the executor, and two clients."""

import asyncio

import aiohttp
from aiohttp import web


class Store:
    def __init__(self):
        self.rows = []

    def has(self, code):
        return code in self.rows

    def insert(self, code):
        self.rows.append(code)


async def setup():
    store = Store()

    async def create(request):
        loop = asyncio.get_running_loop()
        code = (await request.json())["code"]
        if await loop.run_in_executor(None, store.has, code):
            return web.json_response({"created": False})
        await loop.run_in_executor(None, store.insert, code)
        return web.json_response({"created": True})

    app = web.Application()
    app.router.add_post("/patients", create)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 8080).start()
    return store, runner


def operations(state):
    async def post(delay):
        await asyncio.sleep(delay)
        async with (
            aiohttp.ClientSession("http://127.0.0.1:8080") as session,
            session.post("/patients", json={"code": "TEST-001"}) as response,
        ):
            return await response.json()

    return {"first": lambda: post(0), "second": lambda: post(0.02)}


def check(state):
    store, _ = state
    assert len(store.rows) == 1, f"{len(store.rows)} rows for one code"


async def teardown(state):
    _, runner = state
    await runner.cleanup()
