"""The smallest aiohttp server, for generators to be measured by: python load_server.py --port N.

With ``--delay`` an answer takes so long, and once a second everything stands still for ``--stall``.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator

from aiohttp import web

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--delay", type=float, default=0.0, help="seconds")
parser.add_argument("--stall", type=float, default=0.0, help="seconds")
chosen = parser.parse_args()


async def webhook(request: web.Request) -> web.Response:
    await request.read()
    if chosen.delay:
        await asyncio.sleep(chosen.delay)
    return web.json_response({"success": True, "data": {"results": []}})


async def health(request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def stalling(app: web.Application) -> AsyncIterator[None]:
    async def stall() -> None:
        while True:
            await asyncio.sleep(1.0)
            time.sleep(chosen.stall)  # noqa: ASYNC251 - that nothing else runs is the point

    task = asyncio.create_task(stall()) if chosen.stall else None
    yield
    if task is not None:
        task.cancel()


app = web.Application()
app.add_routes([web.post("/webhook", webhook), web.get("/health", health)])
app.cleanup_ctx.append(stalling)
web.run_app(app, host="127.0.0.1", port=chosen.port, access_log=None, print=None)
