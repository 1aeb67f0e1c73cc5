"""Does a cache on Redis tell the truth, and do its counters always start afresh?

Patients are read, updated and given detections concurrently through one cache that several
processes could share; requests are counted, and given up half-way. At rest: what is cached is what
is stored, and no client is locked out for ever. Both run against the embedded server; where a real
redis-server is found, the first also runs against that. Times to live are asked of the embedded one
only: they follow the virtual clock there, and the real one elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st

from desvelo import ConcurrentMachine, at_rest, current_target, fault, operation
from desvelo.servers import EmbeddedRedis
from desvelo.servers import redis as real_redis
from desvelo.servers.testing import need_redis
from stress_tests.budget import case_of
from stress_tests.outage import Outage, outages_of

pytest.importorskip("redis", reason="the cache on Redis needs: pip install 'desvelo[redis]'")
pytest.importorskip("fakeredis", reason="the embedded Redis needs: pip install 'desvelo[redis]'")

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
CLIENTS = ("192.0.2.1", "192.0.2.2")
CODES = ("A-1", "A-*")
"""Two patients, of whom one has a code that would cover the other's keys as a pattern."""


class RedisCache(ConcurrentMachine):
    """Reads that fill the cache, and writes that invalidate it, over connections that break."""

    faults = (fault.disconnect,)
    expected_errors = (Outage,)
    cancellable = False

    async def setup(self) -> None:
        self.target = current_target()
        self.redis = await self.start_redis()
        self.system = self.target.system(cache_url=self.redis.url)
        await self.system.start()
        for code in CODES:
            await self.system.store.get_or_create_patient(code)
        self.writes = 0

    async def start_redis(self) -> Any:
        server = EmbeddedRedis()
        await server.start()
        return server

    async def shutdown(self) -> None:
        await self.system.stop()
        await self.redis.stop()

    @operation(code=st.sampled_from(CODES))
    async def read(self, code: str) -> bool:
        with outages_of(self.target):
            return await self.system.records.patient(code) is not None

    @operation(code=st.sampled_from(CODES))
    async def read_latest(self, code: str) -> bool:
        with outages_of(self.target):
            return await self.system.records.latest_detection(code) is not None

    @operation(code=st.sampled_from(CODES))
    async def update(self, code: str) -> None:
        self.writes += 1
        moment = NOON + timedelta(minutes=self.writes)
        with outages_of(self.target):
            await self.system.records.update_patient(code, {"ward": str(self.writes)}, moment)

    @operation(code=st.sampled_from(CODES))
    async def detect(self, code: str) -> None:
        self.writes += 1
        payload = {
            "patient_code": code,
            "image_path": f"/images/{self.writes}.jpg",
            "detections": [{"stage": 2, "confidence": 0.85}],
        }
        with outages_of(self.target):
            await self.target.save_detection(self.system, payload)

    @at_rest()
    async def the_cache_equals_the_store(self) -> None:
        # The service's own clients do not take part: looking must not open connections.
        for stored in await self.target.patients(self.system):
            code = stored["patient_code"]
            cached = self.cached(f"patient:{code}:profile")
            assert cached is None or cached == stored, f"cached {cached}, stored {stored}"
            latest = self.cached(f"detection:latest:{code}")
            if latest is not None:
                newest = await self.target.newest_detection(self.system, code)
                assert latest == newest, f"cached {latest}, newest {newest}"

    def cached(self, key: str) -> Any | None:
        """Return what Redis holds under a key."""
        found = self.redis.run("GET", key)
        return None if found is None else json.loads(found)


class RedisCacheOnServer(RedisCache):
    """The same against a real redis-server."""

    world_options: ClassVar[dict[str, Any]] = {"servers": real_redis}

    async def start_redis(self) -> Any:
        return real_redis()

    async def shutdown(self) -> None:
        await self.system.stop()


class RedisRateLimit(ConcurrentMachine):
    """Requests that are counted, some of which are given up while they are."""

    limit = 2
    longest_elapse = 100.0

    async def setup(self) -> None:
        target = current_target()
        self.redis = EmbeddedRedis()
        await self.redis.start()
        self.system = target.system(
            cache_url=self.redis.url, rate_limits=target.limits(webhook=self.limit)
        )
        self.admitted: list[tuple[str, float]] = []

    async def shutdown(self) -> None:
        await self.system.cache.close()
        await self.redis.stop()

    @operation(client=st.sampled_from(CLIENTS))
    async def request(self, client: str) -> bool:
        admission = await self.system.limiter.admit(client, "/webhook")
        if admission.admitted:
            self.admitted.append((client, self.world.loop.time() + admission.reset_in))
        return bool(admission.admitted)

    @operation(client=st.sampled_from(CLIENTS), steps=st.integers(0, 15))
    async def give_up(self, client: str, steps: int) -> None:
        """Hang up after so many steps of the loop."""
        counting = asyncio.ensure_future(self.system.limiter.admit(client, "/webhook"))
        for _ in range(steps):
            await asyncio.sleep(0)
        counting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await counting

    @at_rest()
    def no_client_is_locked_out_for_ever(self) -> None:
        for key in self.redis.run("KEYS", "rate_limit:*"):
            left = self.redis.run("PTTL", key)
            assert left >= 0, f"{key.decode()} never starts afresh"

    @at_rest()
    def no_window_admits_more_than_the_limit(self) -> None:
        for client, until in self.admitted:
            # Requests of one window are told the same moment at which it is over.
            same = [one for one, end in self.admitted if one == client and abs(end - until) < 0.5]
            assert len(same) <= self.limit, f"{len(same)} requests of {client} in one window"


TestRedisCache = pytest.mark.stress(phase="database")(case_of(RedisCache, 0.25))
TestRedisCacheOnServer = pytest.mark.stress(phase="database")(case_of(RedisCacheOnServer, 0.17))
TestRedisCacheOnServer.setUpClass = classmethod(lambda _: need_redis())
TestRedisRateLimit = pytest.mark.stress(phase="webhook")(case_of(RedisRateLimit, 0.17))
