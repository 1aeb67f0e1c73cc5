"""The cache and the rate limiter on Redis, for threads."""

import contextlib
from collections.abc import Iterator
from typing import Any, Self

from vigia_reference.cache import DEFAULT_TTL, Fence
from vigia_reference.rate_limit import Admission, RateLimits
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


class BlockingRedisCache(Connected):
    """`RedisCache` through a synchronous `redis.Redis`; may be used from any thread."""

    @classmethod
    def connect(cls, url: str, **options: Any) -> Self:
        """Make a cache with a client of its own; *options* are those of `redis.Redis`.

        Its connections send no greeting, so they are ready at once.
        """
        from redis import Redis

        return cls._with_client_of(Redis, url, options)

    def close(self) -> None:
        """Close the client if it is the cache's own."""
        if self._owned:
            self._client.close()

    @telling_outages()
    def get(self, key: str) -> Any | None:
        """The value of *key*, or `None` when there is none or its time is over."""
        return from_text(self._client.get(key))

    @telling_outages()
    def set(self, key: str, value: Any, ttl: float = DEFAULT_TTL) -> None:
        """Store *value* for *ttl* seconds; leases that were taken before fill no longer."""
        with self._client.pipeline(transaction=True) as commands:
            commands.delete(lease_key(key))
            commands.set(key, to_text(value), px=milliseconds(ttl))
            commands.execute()

    @telling_outages()
    def delete(self, key: str) -> int:
        """Invalidate one key; returns how many entries went (0 or 1)."""
        with self._client.pipeline(transaction=True) as commands:
            commands.delete(lease_key(key))
            commands.delete(key)
            _, dropped = commands.execute()
        return int(dropped)

    @telling_outages()
    def delete_pattern(self, pattern: str) -> int:
        """Invalidate all keys that match; returns how many entries went."""
        return int(self._invalidate(args=[glob_of(pattern)]))

    @telling_outages()
    def increment(self, key: str, ttl: float) -> tuple[int, float]:
        """Add one to a counter, and return its value and the seconds until it starts afresh."""
        with self._client.pipeline(transaction=True) as commands:
            # All or nothing: a counter without a time to live would never start afresh.
            commands.set(key, 0, px=milliseconds(ttl), nx=True)
            commands.incr(key)
            commands.pttl(key)
            _, count, left = commands.execute()
        return int(count), int(left) / 1000

    @telling_outages()
    def lease(self, key: str) -> RemoteLease:
        """Take the right to fill *key*; do so before reading what it will be filled with."""
        token = self._lease(keys=[key], args=[new_token(), milliseconds(LEASE_SECONDS)])
        return RemoteLease(key, as_text(token))

    @telling_outages()
    def fill(self, lease: RemoteLease, value: Any, ttl: float = DEFAULT_TTL) -> bool:
        """Store *value* unless the key was set or invalidated since the lease was taken."""
        from redis.exceptions import WatchError

        if lease.token is None:
            return False
        where = lease_key(lease.key)
        try:
            with self._client.pipeline(transaction=True) as commands:
                commands.watch(where)
                if as_text(commands.get(where)) != lease.token:
                    return False
                commands.multi()
                commands.set(lease.key, to_text(value), px=milliseconds(ttl))
                commands.execute()
        except WatchError:
            # Somebody wrote, or the connection broke, and nobody watched for a while.
            return False
        return True

    def release(self, lease: RemoteLease) -> None:
        """Give a lease back, used or not; on the server it runs out by itself."""
        lease.token = None

    @contextlib.contextmanager
    def writing(self, *patterns: str) -> Iterator[Fence]:
        """Invalidate *patterns* and keep their keys out of the cache inside the block."""
        fence, fence_id = Fence(patterns), new_token()
        try:
            self._put_up(fence_id, fence)
            yield fence
        except BaseException:
            fence.news = None
            raise
        finally:
            with contextlib.suppress(CacheUnavailable):
                self._take_down(fence_id, fence)

    @telling_outages()
    def _put_up(self, fence_id: str, fence: Fence) -> None:
        self._begin(args=begin_arguments(fence_id, fence))

    @telling_outages()
    def _take_down(self, fence_id: str, fence: Fence) -> None:
        keys, arguments = end_arguments(fence_id, fence)
        self._end(keys=keys, args=arguments)


class BlockingRateLimiter:
    """`vigia_reference.rate_limit.RateLimiter` for threads."""

    def __init__(self, limits: RateLimits, cache: BlockingRedisCache) -> None:
        self._limits = limits
        self._cache = cache

    def admit(self, client: str, path: str) -> Admission | None:
        """Count one request of *client*; `None` when *path* has no limit."""
        limit = self._limits.of(path)
        if limit is None:
            return None
        used, reset_in = self._cache.increment(f"rate_limit:{client}:{path}", self._limits.window)
        return Admission(used <= limit, limit, max(limit - used, 0), reset_in)
