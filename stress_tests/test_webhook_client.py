"""Does the client tell the truth about servers that answer late, twice, badly or never?

A scripted server answers as it was told; the client sends single events and batches from its
first use on, without ``async with``. Whatever it reports as sent was accepted with that id, what
was refused is reported as refused, no event reaches the server under two ids, and closing the
client leaves nothing open. A second machine asks whether limits on requests hold.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

import pytest
from aiohttp import web
from hypothesis import strategies as st

from desvelo import ConcurrentMachine, World, at_rest, current_target, fault, operation
from strategies import webhook_ids
from strategies.payloads import envelope, plain_completed

ANSWERS = ("accept", "refuse", "busy", "late", "never", "twice", "garbage", "hang up")
"""How the scripted server can answer: the simplest first."""

TIMEOUT = 2.0


TWICE = (
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
)
"""An answer ahead of the one that is due; on a connection that stays open no client could tell
the second from the answer to its next request."""


class ScriptedServer:
    """A webhook server that answers each attempt as the event's own script says."""

    def __init__(self) -> None:
        self.accepted: dict[str, set[str]] = {}
        """Ids under which each event was accepted, by image."""
        self._attempts: dict[str, int] = {}
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/webhook", self.answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=10)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 8000).start()

    async def stop(self) -> None:
        # Whoever still waits for a late answer gets it now.
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        event = await request.json()
        image = event["payload"]["image_path"]
        script = event["payload"]["script"]
        attempt = self._attempts.get(image, 0)
        self._attempts[image] = attempt + 1
        how = script[min(attempt, len(script) - 1)]
        if how == "refuse":
            return web.json_response({"success": False, "message": "no"}, status=400)
        if how == "busy":
            return web.json_response({"success": False, "message": "busy"}, status=503)
        if how == "hang up":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        self.accepted.setdefault(image, set()).add(event["webhook_id"])
        if how == "late":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), 3 * TIMEOUT)
        if how == "never":
            await self._closing.wait()
        if how == "twice" and request.transport is not None:
            request.transport.write(TWICE)
            request.protocol.keep_alive(False)
        if how == "garbage":
            return web.Response(text="<html>", content_type="text/html")
        return web.json_response({"success": True, "message": "ok", "data": {}})


def scripts() -> st.SearchStrategy[list[str]]:
    """Return how the attempts of one event are answered; the last answer repeats."""
    return st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=3)


class WebhookClient(ConcurrentMachine):
    """A client that is used at once, from the first event on, against a scripted server."""

    faults = (
        fault.reset,
        fault.reset.in_response,
        fault.refuse,
        fault.partial,
        fault.drip,
        fault.lose_ack,
        fault.half_close,
        fault.duplicate,
        fault.lookup_fails,
    )
    longest_elapse = 10.0

    async def setup(self) -> None:
        self.server = ScriptedServer()
        await self.server.start()
        self.client = current_target().client(
            "http://127.0.0.1:8000/webhook", timeout=TIMEOUT, retry_count=2
        )
        self.reported: dict[str, bool] = {}

    async def shutdown(self) -> None:
        await self.client.close()
        await self.server.stop()

    @operation(script=scripts(), webhook_id=webhook_ids())
    async def send(self, script: list[str], webhook_id: str) -> bool:
        event = scripted(script, webhook_id)
        return self.note([event], [await self.client.send_async(event)])

    @operation(several=st.lists(scripts(), min_size=2, max_size=3), webhook_id=webhook_ids())
    async def batch(self, several: list[list[str]], webhook_id: str) -> bool:
        events = [scripted(one, f"{webhook_id}/{n}") for n, one in enumerate(several)]
        responses = await self.client.send_batch_async(events)
        assert len(responses) == len(events), f"{len(responses)} answers to {len(events)} events"
        return self.note(events, responses)

    def note(self, events: list[dict[str, Any]], responses: Iterable[Any]) -> bool:
        """Remember what the client reported of each event."""
        answers = [bool(response.success) for response in responses]
        for event, success in zip(events, answers, strict=True):
            self.reported[event["payload"]["image_path"]] = success
        return all(answers)

    @at_rest()
    def what_is_reported_as_sent_was_accepted(self) -> None:
        for image, success in self.reported.items():
            if success:
                assert image in self.server.accepted, f"{image} is reported as sent, and was not"

    @at_rest()
    def every_attempt_of_an_event_has_one_id(self) -> None:
        for image, ids in self.server.accepted.items():
            assert len(ids) == 1, f"{image} was delivered as {len(ids)} different events"


def scripted(script: list[str], webhook_id: str) -> dict[str, Any]:
    """Return an event that carries the script of its own answers."""
    payload = {**plain_completed("TEST-001"), "image_path": f"/images/{webhook_id}.jpg"}
    return envelope("detection.completed", {**payload, "script": script}, webhook_id)


class RateLimit(ConcurrentMachine):
    """Requests under a limit of one per window."""

    faults = fault.CLOCK
    cancellable = False
    limit = 1
    longest_elapse = 100.0

    async def setup(self) -> None:
        self.target = current_target()
        self.system = self.target.system(rate_limits=self.target.limits(webhook=self.limit))
        await self.system.start()
        self.clients = [self.system.client(retry_count=1) for _ in range(2)]
        self.admitted: list[float] = []

    async def shutdown(self) -> None:
        for client in self.clients:
            await client.close()
        await self.system.stop()

    @operation(number=st.integers(0, 1), webhook_id=webhook_ids())
    async def send(self, number: int, webhook_id: str) -> int:
        began = asyncio.get_running_loop().time()
        event = envelope("detection.completed", plain_completed("TEST-001"), webhook_id)
        response = await self.clients[number].send_async(event)
        assert response.status_code in (200, 429), f"neither admitted nor refused: {response}"
        if response.success:
            self.admitted.append(began)
        return int(response.status_code)

    @at_rest()
    def no_window_admits_more_than_the_limit(self) -> None:
        # Fixed windows of 60 s: any stretch of less than one window meets two at the most.
        times = sorted(self.admitted)
        for start in times:
            inside = [moment for moment in times if start <= moment < start + 1]
            assert len(inside) <= self.limit, f"{len(inside)} requests admitted within a second"


def test_a_client_can_be_used_again_in_another_loop() -> None:
    """One client, two event loops, one after the other, as with two calls of asyncio.run."""
    client = current_target().client("http://127.0.0.1:8000/webhook", timeout=TIMEOUT)

    async def use(webhook_id: str) -> None:
        server = ScriptedServer()
        await server.start()
        try:
            response = await client.send_async(scripted(["accept"], webhook_id))
            assert response.success, f"the client failed in this loop: {response.message}"
        finally:
            await client.close()
            await server.stop()

    for number in range(2):
        with World() as world:
            world.run(use(f"event-{number}"))


TestWebhookClient = pytest.mark.stress(phase="webhook")(WebhookClient.TestCase)
TestRateLimit = pytest.mark.stress(phase="webhook")(RateLimit.TestCase)
