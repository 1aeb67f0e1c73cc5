"""Does everything end in time and stay in order, whatever the clock on the wall does?

Somebody sets the wall clock forward and back, over the hour that summer time's end repeats, while
the monotonic clock goes on. Tokens are used until they end and beyond, detections and updates come
one after the other, and requests are counted. No token passes after its end, neither by the wall
nor by its lifetime, and none is refused before; clients notice none of it. What was stored last is
told first, the last update stands, no window lasts longer or shorter, nothing is cached for longer
than it may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from desvelo import ConcurrentMachine, at_rest, current_target, operation
from strategies import webhook_ids
from strategies.payloads import envelope, plain_completed
from stress_tests.budget import case_of
from stress_tests.test_webhook_client import RateLimit

SUMMER_ENDS = datetime(2025, 10, 26, 1, tzinfo=UTC)
"""In Madrid the clocks go from 3:00 back to 2:00 at this moment."""

JUMPS = (-3600.0, 3600.0, -90.0, 90.0)
"""Seconds by which the wall clock is set: a wrong zone, a correction."""

CODE = "VG-2025-001"
KEY = "the key of the ward"
KEPT_FOR = 1200.0
CACHED_FOR = 3600.0
LIFETIME = 5.0


@dataclass(frozen=True)
class Span:
    """A stretch of monotonic time."""

    began: float
    ended: float


@dataclass(frozen=True)
class Issued:
    """A token, the end that it was given, and when it was asked for."""

    text: str
    expires_at: datetime
    asked: Span


class WallClock(ConcurrentMachine):
    """A wall clock that is set, and what is known of it afterwards."""

    def start_clock(self) -> None:
        """Put the wall clock shortly before the end of summer time."""
        self.read_at: list[tuple[float, datetime]] = []
        self.set_by((SUMMER_ENDS - timedelta(seconds=30) - datetime.now(UTC)).total_seconds())

    @operation(seconds=st.sampled_from(JUMPS))
    async def set_clock(self, seconds: float) -> None:
        self.set_by(seconds)

    def set_by(self, seconds: float) -> None:
        """Set the wall clock, and note what it showed before and after."""
        self.read()
        self.world.clock.wall_offset_ns += round(seconds * 1e9)
        self.read()

    def now(self) -> float:
        """Return the monotonic time."""
        return float(self.world.loop.time())

    def read(self) -> float:
        """Note what the wall clock shows; return the monotonic time."""
        now = self.now()
        self.read_at.append((now, datetime.now(UTC)))
        return now

    def shown(self, span: Span) -> list[datetime]:
        """Return what the wall clock showed when it was looked at: its extremes are among it."""
        return [wall for moment, wall in self.read_at if span.began <= moment <= span.ended]


class Tokens(WallClock):
    """Tokens that are used while they live and beyond, and a client that sees to its own."""

    cancellable = False

    async def setup(self) -> None:
        self.start_clock()
        self.system = current_target().system(api_key=KEY, token_lifetime=LIFETIME)
        await self.system.start()
        self.client = self.system.token_client()
        self.http = aiohttp.ClientSession(base_url=self.system.url)
        self.token = await self.ask_for_token()

    async def shutdown(self) -> None:
        await self.http.close()
        await self.client.close()
        await self.system.stop()

    async def ask_for_token(self) -> Issued:
        """Exchange the key for a token."""
        began = self.read()
        answer = await self.ask("POST", "/token", KEY)
        told = await answer.json()
        end = datetime.fromisoformat(told["expires_at"])
        return Issued(told["token"], end, Span(began, self.read()))

    @operation()
    async def use_token(self) -> int:
        token, began = self.token, self.read()
        status = (await self.ask("GET", f"/patients?code={CODE}", token.text)).status
        used = Span(began, self.read())
        if status == 200:
            assert used.began < token.asked.ended + LIFETIME, "a token outlived its lifetime"
            assert min(self.shown(used)) < token.expires_at, "a token passed after its end"
        else:
            since = Span(token.asked.began, used.ended)
            assert status == 401, f"neither let in nor refused: {status}"
            assert (
                used.ended >= token.asked.began + LIFETIME
                or max(self.shown(since)) >= token.expires_at
            ), "a token was refused before its end"
        return status

    @operation(webhook_id=webhook_ids())
    async def send(self, webhook_id: str) -> None:
        began = self.read()
        event = envelope("detection.completed", plain_completed(CODE), webhook_id)
        response = await self.client.send_async(event)
        # Set twice, the clock may have ended each token as soon as it was got.
        times_set = len(self.shown(Span(began, self.read()))) // 2 - 1
        assert response.success or times_set > 1, f"the client gave up: {response}"

    async def ask(self, method: str, path: str, key: str) -> aiohttp.ClientResponse:
        """Return an answer of the server, which has been read."""
        headers = {"Authorization": f"Bearer {key}"}
        async with self.http.request(method, path, headers=headers) as answer:
            await answer.read()
            return answer


class Times(WallClock):
    """Detections and updates of one patient, and those who look."""

    cancellable = False
    longest_elapse = 4000.0

    async def setup(self) -> None:
        self.target = current_target()
        self.start_clock()
        self.system = self.target.system(keep_answers_for=KEPT_FOR)
        await self.system.start()
        self.client = self.system.client()
        self.events: dict[str, dict[str, Any]] = {}
        self.saved: dict[str, Span] = {}
        self.updated: dict[str, Span] = {}
        self.cached_at: dict[str, float] = {}
        self.last_call = 0.0
        await self.detected("/images/first.jpg", "the first")

    async def shutdown(self) -> None:
        await self.client.close()
        await self.system.stop()

    @operation(webhook_id=webhook_ids())
    async def detect(self, webhook_id: str) -> None:
        await self.detected(f"/images/{webhook_id}.jpg", webhook_id)

    async def detected(self, image: str, webhook_id: str) -> None:
        """Send a detection, and remember when."""
        payload = {**plain_completed(CODE), "image_path": image}
        event = envelope("detection.completed", payload, webhook_id)
        self.saved[image] = await self.send(event)
        self.events[image] = event

    @operation(number=st.integers(0, 2))
    async def repeat(self, number: int) -> None:
        """Send an event again whose answer is still kept."""
        kept = [
            event
            for image, event in self.events.items()
            if self.now() < self.saved[image].ended + KEPT_FOR - 60
        ]
        if kept:
            await self.send(kept[number % len(kept)])

    @operation(webhook_id=webhook_ids())
    async def update(self, webhook_id: str) -> None:
        """Say a news of a patient, and not when it happened."""
        changes = {"ward": {"old": None, "new": webhook_id}}
        payload = {"patient_code": CODE, "update_type": "status_change", "changes": changes}
        event = envelope("patient.updated", payload, webhook_id)
        self.updated[webhook_id] = await self.send(event)

    @rule()
    def time_to_live_goes_by(self) -> None:
        self.run_in_world(self.world.elapse, CACHED_FOR)

    @operation()
    async def look_up(self) -> None:
        await self.system.records.patient(CODE)
        self.last_call = self.now()

    async def send(self, event: dict[str, Any]) -> Span:
        """Send an event without saying when it happened; return how long that took."""
        event.pop("timestamp", None)
        began = self.now()
        response = await self.client.send_async(event)
        assert response.success, f"not stored: {response}"
        self.last_call = self.now()
        return Span(began, self.last_call)

    @at_rest()
    async def what_was_stored_last_is_told_first(self) -> None:
        told = await self.target.detections(self.system, CODE)
        assert len(set(told)) == len(told), f"stored twice: {told}"
        for newer, older in pairwise(told):
            assert self.saved[newer].ended >= self.saved[older].began, (
                f"{older} was stored after {newer}, and is told after it"
            )

    @at_rest()
    async def the_last_update_stands(self) -> None:
        for patient in await self.target.patients(self.system):
            standing = patient["attributes"].get("ward")
            if standing is not None:
                later = [
                    one
                    for one, span in self.updated.items()
                    if span.began > self.updated[standing].ended
                ]
                assert not later, f"{standing} stands, and {later} came after it"

    @at_rest()
    async def nothing_is_cached_for_too_long(self) -> None:
        cached = await self.target.cached_patient(self.system, CODE)
        if cached is None:
            self.cached_at.clear()
            return
        since = self.cached_at.setdefault(repr(cached), self.now())
        if self.last_call >= since + CACHED_FOR:
            # It has run out since then, and the same was cached once more.
            since = self.cached_at[repr(cached)] = self.last_call
        assert self.now() < since + CACHED_FOR, f"cached {self.now() - since:.0f} s ago"


class Limits(WallClock, RateLimit):
    """Requests under a limit, while the wall clock is set."""

    async def setup(self) -> None:
        self.start_clock()
        await super().setup()


TestTokens = pytest.mark.stress(phase="webhook")(case_of(Tokens, 0.5))
TestTimes = pytest.mark.stress(phase="webhook")(case_of(Times, 0.4))
TestLimits = pytest.mark.stress(phase="webhook")(case_of(Limits, 0.2))
