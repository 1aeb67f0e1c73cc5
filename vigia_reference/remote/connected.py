"""What the caches on Redis share, whether they block or are awaited."""

import contextlib
from collections.abc import Iterator
from typing import Any, Self

from vigia_reference.remote import scripts


class CacheUnavailable(Exception):
    """Redis could not be reached, or did not answer in time."""


@contextlib.contextmanager
def telling_outages() -> Iterator[None]:
    """Raise `CacheUnavailable` for the client's errors of the connection."""
    from redis.exceptions import ConnectionError as Broken
    from redis.exceptions import TimeoutError as TooLate

    try:
        yield
    except (Broken, TooLate) as error:
        raise CacheUnavailable(f"the cache does not answer: {error}") from error


class Connected:
    """A client with its scripts; the client is closed only where the cache made it itself."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._owned = False
        self._lease = client.register_script(scripts.LEASE)
        self._invalidate = client.register_script(scripts.INVALIDATE)
        self._begin = client.register_script(scripts.BEGIN)
        self._end = client.register_script(scripts.END)

    @classmethod
    def _with_client_of(cls, kind: Any, url: str, options: dict[str, Any]) -> Self:
        # Without a greeting its connections are ready at once.
        cache = cls(kind.from_url(url, **{"protocol": 2, "driver_info": None, **options}))
        cache._owned = True
        return cache
