"""A server that misbehaves on purpose, and a sleep that does not wait."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web


class Scripted:
    """Answers each request by the next step of its script, the last step for all others."""

    def __init__(self) -> None:
        self.script: list[Callable[[web.Request], Any]] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.url = ""
        self.arrived = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.headers.append(request.headers)
        self.arrived.set()
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        answer = step(request)
        response = await answer if asyncio.iscoroutine(answer) else answer
        assert isinstance(response, web.StreamResponse)
        return response


def status(code: int, **content: Any) -> Callable[[web.Request], web.Response]:
    """Answer with a status."""
    return lambda request: web.json_response(content, status=code)


def hang_up(request: web.Request) -> web.Response:
    """Close the connection instead of answering."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def never(request: web.Request) -> web.Response:
    """Take longer than any client waits."""
    await asyncio.sleep(60)
    return web.Response()


class Naps:
    """Stands in for `asyncio.sleep`: notes how long, and does not wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)
