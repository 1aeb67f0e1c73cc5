"""The cache and the rate limiter on Redis, shared by all processes of the service.

`RedisCache` speaks through `redis.asyncio`, `BlockingRedisCache` through the synchronous client;
both have the calls of `vigia_reference.cache.Cache`, and both may work on one server at once.
The client is given from outside; the package ``redis`` is needed only by those who use it.
"""

from vigia_reference.remote.blocking import BlockingRateLimiter, BlockingRedisCache
from vigia_reference.remote.cache import RedisCache
from vigia_reference.remote.commands import RemoteLease
from vigia_reference.remote.connected import CacheUnavailable

__all__ = [
    "BlockingRateLimiter",
    "BlockingRedisCache",
    "CacheUnavailable",
    "RedisCache",
    "RemoteLease",
]
