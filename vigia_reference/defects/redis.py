"""Defects of the cache and the counters on Redis; they show when `Settings.cache_url` is set."""

# ruff: noqa: D102 - what a method is for is told where it is correct

from dataclasses import replace
from typing import Any

from vigia_reference.cache import DEFAULT_TTL
from vigia_reference.defects.catalogue import Defect
from vigia_reference.remote import RedisCache, RemoteLease
from vigia_reference.remote.commands import (
    from_text,
    milliseconds,
    to_text,
)
from vigia_reference.remote.scripts import BEGIN


class IncrementThenExpire(RedisCache):
    """Counts in one command, and sets the time to live of a new counter in another."""

    async def increment(self, key: str, ttl: float) -> tuple[int, float]:
        count = int(await self._client.incr(key))
        if count == 1:
            await self._client.pexpire(key, milliseconds(ttl))
        return count, int(await self._client.pttl(key)) / 1000


class GetThenSetFill(RedisCache):
    """Fills what is not there: looks, and stores if nobody has stored meanwhile."""

    async def fill(self, lease: RemoteLease, value: Any, ttl: float = DEFAULT_TTL) -> bool:
        if lease.token is None or from_text(await self._client.get(lease.key)) is not None:
            return False
        await self._client.set(lease.key, to_text(value), px=milliseconds(ttl))
        return True


class InvalidateWhatIsThere(RedisCache):
    """Drops the keys that match, and forgets those that somebody is about to fill."""

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        voiding = "redis.call('KEYS', 'vigia:lease:' .. glob)"
        assert voiding in BEGIN
        self._begin = client.register_script(BEGIN.replace(voiding, "{}"))


REDIS_DEFECTS = (
    Defect(
        name="increment-and-expire-in-two-steps",
        kind="cancellation",
        where="RedisCache.increment",
        breaks="A request that is cancelled in between leaves a count that never starts afresh.",
        operations=1,
        deviations=1,
        parts=lambda parts: replace(parts, redis_cache=IncrementThenExpire),
    ),
    Defect(
        name="get-then-set-fill-overwrites",
        kind="race",
        where="RedisCache.fill",
        breaks="A patient read before a write is cached after it: there was nothing to overwrite.",
        operations=2,
        deviations=1,
        parts=lambda parts: replace(parts, redis_cache=GetThenSetFill),
    ),
    Defect(
        name="invalidation-misses-filling-key",
        kind="race",
        where="RedisCache.writing",
        breaks="What is being filled while it is invalidated stays in the cache for an hour.",
        operations=2,
        deviations=1,
        parts=lambda parts: replace(parts, redis_cache=InvalidateWhatIsThere),
    ),
)
