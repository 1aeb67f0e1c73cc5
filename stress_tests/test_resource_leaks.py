"""Is everything given back: sessions, connections, tasks, threads, files, listeners?

A client sends to a gateway that refuses at length, answers late, or hangs up; clients are closed
and made anew while others send. A system fetches photos that are fine, cut off, late or missing,
and people wait for events that may never come. Everything may be cancelled, and connections break.
What is still open when all has been closed, or was never given back meanwhile, is a leak; while the
system runs, nothing in it grows.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import strategies as st

from desvelo import ConcurrentMachine, at_rest, current_target, fault, operation
from strategies import webhook_ids
from strategies.payloads import envelope, plain_completed
from stress_tests.budget import case_of
from stress_tests.scratch import FOLDER

GATEWAY = "http://127.0.0.1:8001"
ANSWERS = ("accept", "refuse", "late", "hang up")
"""What the gateway does with an event: the simplest first."""

LONG_PAGE = b"<html>" + b"no " * 2**18
"""Longer than what is buffered for whoever does not read it."""

FEW = 4
"""More than this is growth; fewer are told at the end, with the line that made them."""


class Gateway:
    """A server of somebody else: takes events, and has photos."""

    def __init__(self) -> None:
        self.photos: dict[str, bytes] = {}
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/webhook", self.take)
        app.router.add_get("/{how}/{name}", self.give)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=10
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 8001).start()

    async def stop(self) -> None:
        self._closing.set()
        assert self._runner is not None
        await self._runner.cleanup()

    async def take(self, request: web.Request) -> web.Response:
        sent = await request.json()
        return await self.answer(request, sent["payload"]["how"], b"{}")

    async def give(self, request: web.Request) -> web.Response:
        photo = self.photos[request.match_info["name"]]
        return await self.answer(request, request.match_info["how"], photo)

    async def answer(self, request: web.Request, how: str, body: bytes) -> web.Response:
        if how == "late":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), 40)
        if how == "hang up" and request.transport is not None:
            request.transport.close()
        if how == "refuse":
            return web.Response(status=400, body=LONG_PAGE)
        return web.Response(body=body)


class ClientResources(ConcurrentMachine):
    """Two clients, closed and made anew while they send."""

    faults = (fault.reset, fault.refuse, fault.partial)
    longest_elapse = 10.0

    async def setup(self) -> None:
        self.gateway = Gateway()
        await self.gateway.start()
        self.clients = [await self.new_client() for _ in range(2)]

    async def shutdown(self) -> None:
        for client in self.clients:
            await client.close()
        await self.gateway.stop()

    async def new_client(self) -> Any:
        client = current_target().client(f"{GATEWAY}/webhook", timeout=2, retry_count=2)
        return await client.__aenter__()

    @operation(number=st.integers(0, 1), how=st.sampled_from(ANSWERS), webhook_id=webhook_ids())
    async def send(self, number: int, how: str, webhook_id: str) -> str:
        client = self.clients[number]
        response = await client.send_async(event(how, webhook_id))
        if client is self.clients[number]:
            assert "is closed" not in response.message, f"open, but answers: {response.message}"
        return str(response.message)

    @operation(
        number=st.integers(0, 1),
        several=st.lists(st.sampled_from(ANSWERS), min_size=2, max_size=3),
        webhook_id=webhook_ids(),
    )
    async def batch(self, number: int, several: list[str], webhook_id: str) -> None:
        events = [event(how, f"{webhook_id}/{n}") for n, how in enumerate(several)]
        await self.clients[number].send_batch_async(events)

    @operation(number=st.integers(0, 1))
    async def renew(self, number: int) -> None:
        new = await self.new_client()
        old, self.clients[number] = self.clients[number], new
        await old.close()


def event(how: str, webhook_id: str) -> dict[str, Any]:
    """Return an event that says how it is answered."""
    return envelope("detection.completed", {**plain_completed("TEST-001"), "how": how}, webhook_id)


class SystemResources(ConcurrentMachine):
    """A system that fetches photos, and people who wait for events."""

    faults = (fault.reset, fault.refuse, fault.partial)
    longest_elapse = 10.0
    expected_errors = (Exception,)

    async def setup(self) -> None:
        self.target = current_target()
        for left in self.photos_on_disk():
            left.unlink()
        self.gateway = Gateway()
        await self.gateway.start()
        self.system = self.target.system(media_folder=str(FOLDER), prepare=first_bytes)
        await self.system.start()
        self.client = self.system.client(timeout=5)

    async def shutdown(self) -> None:
        await self.client.close()
        await self.system.stop()
        await self.gateway.stop()

    @operation(
        how=st.sampled_from(("accept", "refuse", "late", "hang up")),
        name=st.sampled_from(("photo.png", "broken.jpg", "film.gif")),
    )
    async def fetch(self, how: str, name: str) -> int:
        self.gateway.photos[name] = b"" if name == "broken.jpg" else b"photo"
        return len(await self.system.media.photo(f"{GATEWAY}/{how}/{name}"))

    @operation(code=st.sampled_from(("TEST-001", "TEST-002")), webhook_id=webhook_ids())
    async def deliver(self, code: str, webhook_id: str) -> bool:
        payload = {**plain_completed(code), "image_path": f"/images/{webhook_id}.jpg"}
        response = await self.client.send_async(
            envelope("detection.completed", payload, webhook_id)
        )
        return bool(response.success)

    @operation(code=st.sampled_from(("TEST-001", "TEST-002")), seconds=st.sampled_from((1, 5)))
    async def wait_for(self, code: str, seconds: int) -> str:
        def wanted(event: Any) -> bool:
            return bool(event.payload["patient_code"] == code)

        return str((await self.system.listeners.wait_for(wanted, timeout=seconds)).webhook_id)

    def photos_on_disk(self) -> list[Path]:
        """Return what downloads have left."""
        return sorted(path for path in FOLDER.iterdir() if path.suffix in {".png", ".jpg"})

    @at_rest()
    def nobody_listens_any_more(self) -> None:
        left = self.target.listeners(self.system)
        assert left == 0, f"{left} listeners are left, and nobody waits"

    @at_rest()
    def photos_do_not_pile_up(self) -> None:
        left = [path.name for path in self.photos_on_disk()]
        assert len(left) <= FEW, f"nobody works on these photos, and they are still there: {left}"

    @at_rest()
    def a_few_threads_are_enough(self) -> None:
        names = [one.name for one in threading.enumerate() if one.name.startswith("workers")]
        assert len(names) <= FEW, f"{len(names)} threads do the system's work: {names}"


def first_bytes(path: Path) -> bytes:
    """Prepare a photo: here, only read it."""
    content = path.read_bytes()
    if not content:
        raise ValueError("no photo")
    return content[:8]


TestClientResources = pytest.mark.stress(phase="memory")(case_of(ClientResources, 0.35))
TestSystemResources = pytest.mark.stress(phase="memory")(case_of(SystemResources, 0.3))
