"""A cache with time-to-live for many threads.

It keeps what `vigia_reference.cache` keeps among tasks: whoever misses takes a lease before
reading the store, and fills with it; a write voids the leases on its key when it begins and when
it ends, and in between nothing is cached, so a value that was read before a write is never found
after it.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

DEFAULT_TTL = 3600.0
MAX_ENTRIES = 10_000


@dataclass(slots=True)
class _Entry:
    value: Any
    expires: float


@dataclass(eq=False, slots=True)
class Lease:
    """The right to fill `key`, as long as nothing has been written to it."""

    key: str


class ExpiringCache:
    """Values by key, each for `ttl` seconds; any number of threads may use it.

    Values are shared, not copied: do not change one after storing or getting it.

    >>> cache = ExpiringCache()
    >>> cache.read_through("patient:A-1", lambda: {"age_range": "81+"})
    {'age_range': '81+'}
    >>> with cache.writing("patient:A-1"):
    ...     pass
    >>> print(cache.get("patient:A-1"))
    None
    """

    def __init__(self, ttl: float = DEFAULT_TTL, max_entries: int = MAX_ENTRIES) -> None:
        self._ttl = ttl
        self._max_entries = max_entries
        self._entries: dict[str, _Entry] = {}
        self._leases: dict[Lease, None] = {}
        self._writers: dict[str, int] = {}
        self._lock = self._new_lock()

    def get(self, key: str) -> Any | None:
        """The value of *key*, or `None` when there is none or its time is over."""
        with self._lock:
            return self._live(key)

    def put(self, key: str, value: Any) -> None:
        """Store *value*, whatever anybody writes or reads meanwhile."""
        with self._lock:
            self._store(key, value)

    def read_through(self, key: str, load: Callable[[], Any]) -> Any:
        """The value of *key*; when there is none, what *load* returns, kept unless it is `None`."""
        with self._lock:
            value = self._live(key)
            if value is not None:
                return value
            lease = Lease(key)
            if key not in self._writers:
                self._leases[lease] = None
        try:
            value = load()
            if value is not None:
                self._fill(lease, value)
        finally:
            with self._lock:
                self._leases.pop(lease, None)
        return value

    @contextlib.contextmanager
    def writing(self, key: str) -> Iterator[None]:
        """Drop *key*, and keep it out of the cache inside the ``with`` block."""
        with self._lock:
            self._writers[key] = self._writers.get(key, 0) + 1
            self._void(key)
        try:
            yield
        finally:
            with self._lock:
                left = self._writers[key] - 1
                if left:
                    self._writers[key] = left
                else:
                    del self._writers[key]
                self._void(key)

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def _new_lock(self) -> AbstractContextManager[Any]:
        return threading.Lock()

    def _fill(self, lease: Lease, value: Any) -> None:
        with self._lock:
            if lease in self._leases:
                self._store(lease.key, value)

    def _live(self, key: str) -> Any | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= time.monotonic():
            del self._entries[key]
            return None
        return entry.value

    def _store(self, key: str, value: Any) -> None:
        if key not in self._entries and len(self._entries) >= self._max_entries:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = _Entry(value, time.monotonic() + self._ttl)

    def _void(self, key: str) -> None:
        self._entries.pop(key, None)
        for lease in [lease for lease in self._leases if lease.key == key]:
            del self._leases[lease]
