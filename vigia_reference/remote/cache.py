"""The cache on Redis, for the event loop."""

import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, Self, TypeVar

from vigia_reference.cache import DEFAULT_TTL, Fence
from vigia_reference.remote.commands import (
    LEASE_SECONDS,
    RemoteLease,
    as_text,
    begin_arguments,
    end_arguments,
    from_text,
    glob_of,
    lease_key,
    milliseconds,
    new_token,
    to_text,
)
from vigia_reference.remote.connected import CacheUnavailable, Connected, telling_outages

P = ParamSpec("P")
R = TypeVar("R")


def outages_told(call: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make a coroutine function tell outages, for as long as it is awaited."""

    @functools.wraps(call)
    async def told(*arguments: P.args, **options: P.kwargs) -> R:
        with telling_outages():
            return await call(*arguments, **options)

    return told


class RedisCache(Connected):
    """`vigia_reference.cache.Cache` on Redis: the same calls, shared by all who use one server.

    *client* is a `redis.asyncio.Redis`; it is closed by `close` only when `connect` made it.
    Values are stored as JSON.  Every call raises `CacheUnavailable` when Redis does not answer.
    """

    @classmethod
    def connect(cls, url: str, **options: Any) -> Self:
        """Make a cache with a client of its own; *options* are those of `redis.asyncio.Redis`.

        Its connections send no greeting, so they are ready at once.
        """
        from redis.asyncio import Redis

        return cls._with_client_of(Redis, url, options)

    async def close(self) -> None:
        """Close the client if it is the cache's own."""
        if self._owned:
            await self._client.aclose()

    @outages_told
    async def get(self, key: str) -> Any | None:
        """The value of *key*, or `None` when there is none or its time is over."""
        return from_text(await self._client.get(key))

    @outages_told
    async def set(self, key: str, value: Any, ttl: float = DEFAULT_TTL) -> None:
        """Store *value* for *ttl* seconds; leases that were taken before fill no longer."""
        async with self._client.pipeline(transaction=True) as commands:
            commands.delete(lease_key(key))
            commands.set(key, to_text(value), px=milliseconds(ttl))
            await commands.execute()

    @outages_told
    async def delete(self, key: str) -> int:
        """Invalidate one key; returns how many entries went (0 or 1)."""
        async with self._client.pipeline(transaction=True) as commands:
            commands.delete(lease_key(key))
            commands.delete(key)
            _, dropped = await commands.execute()
        return int(dropped)

    @outages_told
    async def delete_pattern(self, pattern: str) -> int:
        """Invalidate all keys that match; returns how many entries went."""
        return int(await self._invalidate(args=[glob_of(pattern)]))

    @outages_told
    async def increment(self, key: str, ttl: float) -> tuple[int, float]:
        """Add one to a counter, and return its value and the seconds until it starts afresh."""
        async with self._client.pipeline(transaction=True) as commands:
            # All or nothing: a counter without a time to live would never start afresh.
            commands.set(key, 0, px=milliseconds(ttl), nx=True)
            commands.incr(key)
            commands.pttl(key)
            _, count, left = await commands.execute()
        return int(count), int(left) / 1000

    @outages_told
    async def lease(self, key: str) -> RemoteLease:
        """Take the right to fill *key*; do so before reading what it will be filled with."""
        token = await self._lease(keys=[key], args=[new_token(), milliseconds(LEASE_SECONDS)])
        return RemoteLease(key, as_text(token))

    @outages_told
    async def fill(self, lease: RemoteLease, value: Any, ttl: float = DEFAULT_TTL) -> bool:
        """Store *value* unless the key was set or invalidated since the lease was taken."""
        from redis.exceptions import WatchError

        if lease.token is None:
            return False
        where = lease_key(lease.key)
        try:
            async with self._client.pipeline(transaction=True) as commands:
                await commands.watch(where)
                if as_text(await commands.get(where)) != lease.token:
                    return False
                commands.multi()
                commands.set(lease.key, to_text(value), px=milliseconds(ttl))
                await commands.execute()
        except WatchError:
            # Somebody wrote, or the connection broke, and nobody watched for a while.
            return False
        return True

    async def release(self, lease: RemoteLease) -> None:
        """Give a lease back, used or not; on the server it runs out by itself."""
        lease.token = None

    @contextlib.asynccontextmanager
    async def writing(self, *patterns: str) -> AsyncIterator[Fence]:
        """Invalidate *patterns* and keep their keys out of the cache inside the block."""
        fence, fence_id = Fence(patterns), new_token()
        try:
            await self._put_up(fence_id, fence)
            yield fence
        except BaseException:
            fence.news = None
            raise
        finally:
            # What was written is written; a fence that stays up runs out, and nothing is cached
            # under it until then.
            with contextlib.suppress(CacheUnavailable):
                await self._take_down(fence_id, fence)

    @outages_told
    async def _put_up(self, fence_id: str, fence: Fence) -> None:
        await self._begin(args=begin_arguments(fence_id, fence))

    @outages_told
    async def _take_down(self, fence_id: str, fence: Fence) -> None:
        keys, arguments = end_arguments(fence_id, fence)
        await self._end(keys=keys, args=arguments)
