"""Fixed-window rate limits, one window per client and path."""

from dataclasses import dataclass

from vigia_reference.cache import CacheCalls


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests that one client may make per `window` seconds, by path."""

    webhook: int = 60
    health: int = 120
    events: int = 30
    window: float = 60.0

    def of(self, path: str) -> int | None:
        """The limit for *path*; `None` when it has none.

        >>> RateLimits().of("/webhook")
        60
        """
        return {
            "/webhook": self.webhook,
            "/health": self.health,
            "/webhook/events": self.events,
        }.get(path)


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a request may pass; `reset_in` is the seconds until the window is over."""

    admitted: bool
    limit: int
    remaining: int
    reset_in: float


class RateLimiter:
    """Counts requests in a cache.

    A window opens with a client's first request and lasts for `RateLimits.window` seconds.

    >>> import asyncio
    >>> from vigia_reference.cache import Cache
    >>> async def example():
    ...     limiter = RateLimiter(RateLimits(webhook=1), Cache())
    ...     first = await limiter.admit("192.0.2.7", "/webhook")
    ...     second = await limiter.admit("192.0.2.7", "/webhook")
    ...     return first.admitted, second.admitted
    >>> asyncio.run(example())
    (True, False)
    """

    def __init__(self, limits: RateLimits, cache: CacheCalls) -> None:
        self._limits = limits
        self._cache = cache

    async def admit(self, client: str, path: str) -> Admission | None:
        """Count one request of *client*; `None` when *path* has no limit."""
        limit = self._limits.of(path)
        if limit is None:
            return None
        used, reset_in = await self._count(f"rate_limit:{client}:{path}")
        return Admission(used <= limit, limit, max(limit - used, 0), reset_in)

    async def _count(self, key: str) -> tuple[int, float]:
        # One call, so that no other request can be counted between reading and writing.
        return await self._cache.increment(key, self._limits.window)
