"""A cache with time-to-live, in this process, with the calls that a Redis client would have.

What makes it safe is the lease (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013).
Whoever misses takes a lease *before* reading the store and fills with it; an invalidation in
between voids the lease, so an old value cannot come back.  And a writer holds a fence from before
its transaction until after it: meanwhile its keys are neither cached nor filled, so a reader who
has seen the new value in the store does not see the old one in the cache afterwards.
"""

import asyncio
import contextlib
import functools
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

DEFAULT_TTL = 3600.0
MAX_ENTRIES = 10_000


@dataclass(slots=True)
class _Entry:
    value: Any
    expires: float


@dataclass(eq=False, slots=True)
class Lease:
    """The right to fill `key`, as long as nothing has invalidated it."""

    key: str


class Fence:
    """A write in progress: the keys that match its patterns are kept out of the cache."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns = patterns
        self.alone = True
        self.news: tuple[str, Any, float] | None = None
        self._expressions = [_expression(pattern) for pattern in patterns]

    def covers(self, key: str) -> bool:
        """Whether *key* is one of those that are being written."""
        return any(expression.fullmatch(key) for expression in self._expressions)

    def publish(self, key: str, value: Any, ttl: float = DEFAULT_TTL) -> None:
        """Cache *value* for *ttl* seconds when the write is over.

        It is dropped when another write to the same patterns was in progress at any time: nobody
        could say then which of the two values is the newer.
        """
        self.news = (key, value, ttl)


class CacheCalls(Protocol):
    """What every cache offers, in this process or on a server."""

    async def get(self, key: str) -> Any | None:
        """The value of *key*, or `None`."""

    async def set(self, key: str, value: Any, ttl: float = DEFAULT_TTL) -> None:
        """Store *value*."""

    async def delete(self, key: str) -> int:
        """Invalidate one key."""

    async def delete_pattern(self, pattern: str) -> int:
        """Invalidate all keys that match."""

    async def increment(self, key: str, ttl: float) -> tuple[int, float]:
        """Add one to a counter."""

    async def lease(self, key: str) -> Any:
        """Take the right to fill *key*."""

    async def fill(self, lease: Any, value: Any, ttl: float = DEFAULT_TTL) -> bool:
        """Store *value* under the lease's key."""

    async def release(self, lease: Any) -> None:
        """Give a lease back."""

    def writing(self, *patterns: str) -> contextlib.AbstractAsyncContextManager[Fence]:
        """Keep keys out of the cache while they are written."""

    async def close(self) -> None:
        """Let go of what the cache holds."""


class Cache:
    """Values by key, each for `ttl` seconds of the event loop's clock.

    Values are shared, not copied: do not change one after storing or getting it.

    >>> async def example():
    ...     cache = Cache()
    ...     await cache.set("patient:A-1:profile", {"age_range": "81+"}, ttl=60)
    ...     await cache.delete_pattern(pattern_of("patient", "A-1"))
    ...     return await cache.get("patient:A-1:profile")
    >>> print(asyncio.run(example()))
    None
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._leases: dict[Lease, None] = {}
        self._fences: dict[Fence, None] = {}

    async def get(self, key: str) -> Any | None:
        """The value of *key*, or `None` when there is none or its time is over."""
        entry = self._live(key)
        return None if entry is None else entry.value

    async def set(self, key: str, value: Any, ttl: float = DEFAULT_TTL) -> None:
        """Store *value* for *ttl* seconds; leases that were taken before fill no longer."""
        self._void_leases(exactly(key))
        self._put(key, value, ttl)

    async def delete(self, key: str) -> int:
        """Invalidate one key; returns how many entries went (0 or 1)."""
        return self._invalidate(exactly(key))

    async def delete_pattern(self, pattern: str) -> int:
        """Invalidate all keys that match; returns how many entries went.

        In a pattern ``*`` stands for any text, and a backslash makes the next character literal.
        """
        return self._invalidate(pattern)

    async def increment(self, key: str, ttl: float) -> tuple[int, float]:
        """Add one to a counter, and return its value and the seconds until it starts afresh.

        The first increment sets the time-to-live; later ones do not prolong it.
        """
        entry = self._live(key)
        if entry is None:
            entry = self._put(key, 0, ttl)
        entry.value += 1
        return entry.value, entry.expires - self._now()

    async def lease(self, key: str) -> Lease:
        """Take the right to fill *key*; do so before reading what it will be filled with."""
        lease = Lease(key)
        if not any(fence.covers(key) for fence in self._fences):
            self._leases[lease] = None
        return lease

    async def fill(self, lease: Lease, value: Any, ttl: float = DEFAULT_TTL) -> bool:
        """Store *value* unless the key was set or invalidated since the lease was taken."""
        if not self._holds(lease):
            return False
        self._put(lease.key, value, ttl)
        return True

    async def release(self, lease: Lease) -> None:
        """Give a lease back, used or not."""
        self._leases.pop(lease, None)

    @contextlib.asynccontextmanager
    async def writing(self, *patterns: str) -> AsyncIterator[Fence]:
        """Invalidate *patterns* and keep their keys out of the cache inside the block."""
        fence = Fence(patterns)
        for other in self._fences:
            if set(other.patterns) & set(patterns):
                other.alone = fence.alone = False
        self._fences[fence] = None
        for pattern in patterns:
            self._invalidate(pattern)
        try:
            yield fence
        finally:
            del self._fences[fence]
        if fence.alone and fence.news is not None:
            self._put(*fence.news)

    async def close(self) -> None:
        """Do nothing: what is cached goes with the process."""

    def _holds(self, lease: Lease) -> bool:
        return lease in self._leases

    def _live(self, key: str) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is not None and entry.expires <= self._now():
            del self._entries[key]
            return None
        return entry

    def _put(self, key: str, value: Any, ttl: float) -> _Entry:
        if len(self._entries) >= MAX_ENTRIES:
            self._make_room()
        entry = self._entries[key] = _Entry(value, self._now() + ttl)
        return entry

    def _invalidate(self, pattern: str) -> int:
        expression = _expression(pattern)
        self._void_leases(pattern)
        stale = [key for key in self._entries if expression.fullmatch(key)]
        for key in stale:
            del self._entries[key]
        return len(stale)

    def _void_leases(self, pattern: str) -> None:
        expression = _expression(pattern)
        for lease in [lease for lease in self._leases if expression.fullmatch(lease.key)]:
            del self._leases[lease]

    def _make_room(self) -> None:
        now = self._now()
        for key in [key for key, entry in self._entries.items() if entry.expires <= now]:
            del self._entries[key]
        while len(self._entries) >= MAX_ENTRIES:
            del self._entries[next(iter(self._entries))]

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def latest_detection_key(code: str) -> str:
    """The key under which the newest detection of a patient is cached."""
    return f"detection:latest:{code}"


def profile_key(code: str) -> str:
    """The key under which a patient is cached."""
    return f"patient:{code}:profile"


def pattern_of(prefix: str, code: str) -> str:
    r"""The pattern ``prefix:code:*``, in which *code* stands only for itself.

    >>> print(pattern_of("patient", "A*"))
    patient:A\*:*
    """
    return f"{prefix}:{exactly(code)}:*"


def exactly(text: str) -> str:
    """The pattern that matches *text* and nothing else."""
    return re.sub(r"([\\*])", r"\\\1", text)


def literal_parts(pattern: str) -> list[str]:
    r"""The texts around the stars of a pattern, without backslashes.

    >>> literal_parts(r"patient:A\*:*")
    ['patient:A*:', '']
    """
    parts = [""]
    for piece in re.findall(r"\\.|\*|.", pattern, re.DOTALL):
        if piece == "*":
            parts.append("")
        else:
            parts[-1] += piece[-1]
    return parts


@functools.lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, literal_parts(pattern))), re.DOTALL)
