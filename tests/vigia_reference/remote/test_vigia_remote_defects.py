"""Each planted defect of the cache on Redis shows, and the correct cache does not show it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from desvelo import World
from desvelo.servers import EmbeddedRedis
from vigia_reference import Parts
from vigia_reference.defects import get
from vigia_reference.remote import RedisCache

Symptom = Callable[[EmbeddedRedis, RedisCache], Awaitable[bool]]


async def a_cancelled_count_never_starts_afresh(server: EmbeddedRedis, cache: RedisCache) -> bool:
    async def given_up(*words: Any) -> None:
        raise asyncio.CancelledError

    cache._client.pexpire = given_up
    with contextlib.suppress(asyncio.CancelledError):
        await cache.increment("rate_limit:a", 60)
    return bool(server.run("PTTL", "rate_limit:a") < 0)


async def an_old_value_is_filled_after_a_write(server: EmbeddedRedis, cache: RedisCache) -> bool:
    lease = await cache.lease("patient:A:profile")
    async with cache.writing("patient:A:*"):
        pass
    return await cache.fill(lease, "old")


SYMPTOMS: dict[str, Symptom] = {
    "increment-and-expire-in-two-steps": a_cancelled_count_never_starts_afresh,
    "get-then-set-fill-overwrites": an_old_value_is_filled_after_a_write,
    "invalidation-misses-filling-key": an_old_value_is_filled_after_a_write,
}


def shows(symptom: Symptom, parts: Parts) -> bool:
    async def main() -> bool:
        async with EmbeddedRedis() as server:
            cache = parts.redis_cache.connect(server.url)
            try:
                return await symptom(server, cache)
            finally:
                await cache.close()

    with World() as world:
        return world.run(main())


@pytest.mark.parametrize("name", SYMPTOMS)
def test_the_defect_shows(name: str) -> None:
    assert shows(SYMPTOMS[name], get(name).parts(Parts()))


@pytest.mark.parametrize("name", SYMPTOMS)
def test_the_correct_cache_does_not_show_it(name: str) -> None:
    assert not shows(SYMPTOMS[name], Parts())
