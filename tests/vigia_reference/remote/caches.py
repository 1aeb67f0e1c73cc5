"""Every kind of cache, each seen as the same set of coroutines."""

import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import fakeredis
import redis
import redis.asyncio

from desvelo.servers import EmbeddedRedis, RedisServer
from desvelo.servers.testing import need_redis
from vigia_reference.cache import Cache, Fence
from vigia_reference.remote import BlockingRateLimiter, BlockingRedisCache, RedisCache

KINDS = (
    "in memory",
    "fakeredis, asyncio",
    "fakeredis, blocking",
    "embedded server",
    "real server, asyncio",
    "real server, blocking",
)
REMOTE = KINDS[1:]


class Awaited:
    """A blocking cache whose calls are awaited."""

    def __init__(self, blocking: BlockingRedisCache) -> None:
        self.blocking = blocking

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self.blocking, name)

        @functools.wraps(call)
        async def awaited(*arguments: Any, **options: Any) -> Any:
            return call(*arguments, **options)

        return awaited

    @contextlib.asynccontextmanager
    async def writing(self, *patterns: str) -> AsyncIterator[Fence]:
        with self.blocking.writing(*patterns) as fence:
            yield fence

    def limiter(self, limits: Any) -> Any:
        limiter = BlockingRateLimiter(limits, self.blocking)

        class Limiter:
            async def admit(self, client: str, path: str) -> Any:
                return limiter.admit(client, path)

        return Limiter()


def emptied_redis() -> RedisServer:
    """Return this process's real server, emptied, or skip and say how to get one."""
    server = need_redis(ours=True)
    server.empty()
    return server


@contextlib.asynccontextmanager
async def cache_of(kind: str, **options: Any) -> AsyncIterator[tuple[Any, Any]]:
    """Give a cache of this kind, and a synchronous client that sees the same data if it can."""
    if kind == "in memory":
        yield Cache(), None
    elif kind.startswith("fakeredis"):
        server = fakeredis.FakeServer(version=(7,))
        other = fakeredis.FakeRedis(server=server)
        if kind == "fakeredis, asyncio":
            client = fakeredis.FakeAsyncRedis(server=server, **options)
            yield RedisCache(client), other
            await client.aclose()
        else:
            yield Awaited(BlockingRedisCache(fakeredis.FakeRedis(server=server, **options))), other
    elif kind == "embedded server":
        async with EmbeddedRedis(port=0) as embedded:
            client = redis.asyncio.Redis.from_url(embedded.url, **options)
            yield RedisCache(client), fakeredis.FakeRedis(server=embedded.data)
            await client.aclose()
    else:
        url = emptied_redis().url
        with redis.Redis.from_url(url) as other:
            if kind == "real server, asyncio":
                client = redis.asyncio.Redis.from_url(url, **options)
                yield RedisCache(client), other
                await client.aclose()
            else:
                with redis.Redis.from_url(url, **options) as blocking:
                    yield Awaited(BlockingRedisCache(blocking)), other
