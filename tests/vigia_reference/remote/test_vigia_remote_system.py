"""The whole service with its cache and its counters on Redis."""

from typing import Any

import aiohttp
import pytest

from desvelo.servers import EmbeddedRedis
from tests.vigia_reference.payload_samples import completed
from vigia_reference import RateLimits, Settings, System


@pytest.mark.asyncio
async def test_a_detection_is_cached_where_every_process_finds_it() -> None:
    async with (
        EmbeddedRedis(port=0) as redis,
        System(Settings(port=0, cache_url=redis.url)) as system,
        system.client() as client,
    ):
        assert (await client.send_async(completed("A"))).success
        assert b'"stage"' in redis.run("GET", "detection:latest:A")
        assert 3500 < redis.run("TTL", "detection:latest:A") <= 3600
        latest = await system.records.latest_detection("A")
        assert latest == (await system.store.get_patient_detections("A"))[0]
        assert await system.records.patient("A") == await system.store.find_patient("A")
        assert redis.run("EXISTS", "patient:A:profile") == 1


@pytest.mark.asyncio
async def test_two_processes_count_a_clients_requests_together() -> None:
    limits = RateLimits(webhook=2)
    async with EmbeddedRedis(port=0) as redis:
        settings = Settings(port=0, cache_url=redis.url, rate_limits=limits)
        async with System(settings) as one, System(settings) as other:
            statuses = []
            for system in (one, other, one, other):
                async with system.client(retry_count=1) as client:
                    statuses.append((await client.send_async(completed())).status_code)
            assert statuses == [200, 200, 429, 429]


@pytest.mark.asyncio
async def test_an_event_is_not_acknowledged_while_redis_is_away() -> None:
    async with EmbeddedRedis(port=0) as redis:
        settings = Settings(port=0, cache_url=f"{redis.url}?socket_connect_timeout=1")
        system = System(settings)
        without_retries(system)
        async with system, system.client(retry_count=1) as client, aiohttp.ClientSession() as http:
            assert (await client.send_async(completed("A", "first"))).success
            await redis.stop()
            assert (await client.send_async(completed("A", "second"))).status_code == 500
            async with http.get(f"{system.url}/patients/A") as answer:
                assert answer.status == 500
            assert len(await system.store.get_patient_detections("A")) == 1
            await redis.start()
            assert (await client.send_async(completed("A", "second"))).success
            assert len(await system.store.get_patient_detections("A")) == 2


def without_retries(system: System) -> None:
    """Let the client of the cache give up at once: its retries would take real seconds."""
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    cache: Any = system.cache
    cache._client.set_retry(Retry(NoBackoff(), 0))
