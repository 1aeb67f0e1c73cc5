"""A download that forgets to close its session when the server answers too late."""

import asyncio

import aiohttp
from aiohttp import web


async def setup():
    async def scan(request):
        await asyncio.sleep(0.03)
        return web.Response(text="pixels")

    app = web.Application()
    app.router.add_get("/scan", scan)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 8080).start()
    return runner


async def download():
    session = aiohttp.ClientSession()
    try:
        async with asyncio.timeout(0.05):
            response = await session.get("http://127.0.0.1:8080/scan")
            text = await response.text()
    except TimeoutError:
        return None
    await session.close()
    return text


def operations(runner):
    return {"download": download}


async def teardown(runner):
    await runner.cleanup()
