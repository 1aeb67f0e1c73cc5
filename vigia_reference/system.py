"""The whole system: which parts it is built from, started and stopped as one."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vigia_reference.cache import Cache, CacheCalls
from vigia_reference.client import WebhookClient
from vigia_reference.clinical.parts import ClinicalParts
from vigia_reference.database import IN_MEMORY, Database
from vigia_reference.handlers import Handlers
from vigia_reference.idempotency import Idempotency
from vigia_reference.listeners import Listeners
from vigia_reference.media import Media
from vigia_reference.outbox import Outbox
from vigia_reference.outlast import outlast
from vigia_reference.rate_limit import RateLimiter, RateLimits
from vigia_reference.records import PatientRecords
from vigia_reference.remote import RedisCache
from vigia_reference.server import DEFAULT_PORT, WebhookServer
from vigia_reference.store import PatientStore
from vigia_reference.token_client import TokenClient
from vigia_reference.tokens import Tokens
from vigia_reference.workers import Workers


def prepare_photo(path: Path) -> Any:
    """Prepare a photo for the detector, as `vigia_reference.images.Preprocessing` does."""
    # Only who sends photos needs Pillow and NumPy.
    from vigia_reference.images import Preprocessing

    return Preprocessing()(path)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a system is configured.

    `port` 0 lets the operating system choose.  `token_lifetime` is how many seconds a token lives
    that the API key was exchanged for; with `None` there are no tokens.  `rate_limits` of `None`
    means no limits.  A webhook that is repeated within `keep_answers_for` seconds is not processed
    again; `None` is for ever.  `cache_url` names a Redis server (``redis://...``) that keeps cache
    and counters for all processes; without one they are this process's own.  Photos are downloaded
    to files in `media_folder`, by default where the system keeps temporary files, and prepared by
    `prepare`, by default `vigia_reference.images.Preprocessing`, which needs Pillow and NumPy.
    `shutdown_timeout` is how many seconds requests in progress are given when stopping.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    api_key: str | None = None
    token_lifetime: float | None = None
    rate_limits: RateLimits | None = None
    keep_answers_for: float | None = None
    database_path: str = IN_MEMORY
    cache_url: str | None = None
    chat_channel: str = "#vigia-alertas"
    whatsapp_number: str = "+34600000000"
    media_folder: str | None = None
    prepare: Callable[[Path], Any] = prepare_photo
    shutdown_timeout: float = 10.0

    def __post_init__(self) -> None:
        if self.api_key == "":
            raise ValueError("api_key is empty; use None to accept requests without a key")
        if self.token_lifetime is not None and self.api_key is None:
            raise ValueError("token_lifetime needs an api_key, which tokens are exchanged for")


@dataclass(frozen=True, slots=True)
class Parts:
    """The classes that a system is built from; `dataclasses.replace` swaps one for another."""

    database: type[Database] = Database
    store: type[PatientStore] = PatientStore
    cache: type[Cache] = Cache
    redis_cache: type[RedisCache] = RedisCache
    records: type[PatientRecords] = PatientRecords
    limiter: type[RateLimiter] = RateLimiter
    idempotency: type[Idempotency] = Idempotency
    outbox: type[Outbox] = Outbox
    handlers: type[Handlers] = Handlers
    listeners: type[Listeners] = Listeners
    workers: type[Workers] = Workers
    media: type[Media] = Media
    server: type[WebhookServer] = WebhookServer
    client: type[WebhookClient] = WebhookClient
    tokens: type[Tokens] = Tokens
    token_client: type[TokenClient] = TokenClient
    clinical: ClinicalParts = field(default_factory=ClinicalParts)


class System:
    """A webhook server with its database, cache, limits, messages and photos.

    >>> import asyncio
    >>> async def example():
    ...     async with System(Settings(port=0)) as system, system.client() as client:
    ...         response = await client.send_detection(
    ...             {"patient_code": "A-1", "detections": [{"stage": 2, "confidence": 0.85}]}
    ...         )
    ...         return response.message, len(await system.store.get_patient_detections("A-1"))
    >>> asyncio.run(example())
    ('Event processed successfully', 1)
    """

    def __init__(self, settings: Settings | None = None, parts: Parts | None = None) -> None:
        # Whether it was asked to start, and not to stop since.
        self._running = False
        # Whether a stop waits for what is in progress.
        self._draining = True
        self._starting: asyncio.Future[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self.settings = settings = settings or Settings()
        self.parts = parts = parts or Parts()
        self.database = parts.database(settings.database_path)
        self.cache: CacheCalls = (
            parts.cache()
            if settings.cache_url is None
            else parts.redis_cache.connect(settings.cache_url)
        )
        self.store = parts.store(self.database)
        self.records = parts.records(self.store, self.cache)
        self.outbox = parts.outbox(self.database, settings.chat_channel, settings.whatsapp_number)
        self.idempotency = parts.idempotency(self.database, settings.keep_answers_for)
        self.listeners = parts.listeners()
        self.workers = parts.workers()
        self.media = parts.media(self.workers, settings.prepare, folder=settings.media_folder)
        self.handlers = parts.handlers(
            self.store, self.records, self.outbox, self.idempotency, self.listeners
        )
        self.limiter = (
            None
            if settings.rate_limits is None
            else parts.limiter(settings.rate_limits, self.cache)
        )
        self.server = parts.server(
            self.handlers,
            self.store,
            self.records,
            host=settings.host,
            port=settings.port,
            api_key=settings.api_key,
            limiter=self.limiter,
            tokens=None
            if settings.token_lifetime is None
            else parts.tokens(settings.token_lifetime),
            shutdown_timeout=settings.shutdown_timeout,
        )

    @property
    def url(self) -> str:
        """Where the server is, without a path; the real port once it has started."""
        return self.server.url

    def client(self, **options: Any) -> WebhookClient:
        """A client of this system's webhook; *options* are those of `WebhookClient`."""
        options.setdefault("api_key", self.settings.api_key)
        return self.parts.client(f"{self.url}/webhook", **options)

    def token_client(self, **options: Any) -> TokenClient:
        """A client of this system's webhook that sends tokens instead of the API key."""
        options.setdefault("api_key", self.settings.api_key)
        return self.parts.token_client(f"{self.url}/webhook", f"{self.url}/token", **options)

    async def start(self) -> None:
        """Open the database and listen; waits for a `stop` in progress to end.

        Raises `OSError` when the port is taken, `sqlite3.Error` when the database cannot be
        opened, and `RuntimeError` when the system has been started already.  A start that fails
        or is cancelled leaves nothing open.
        """
        if self._running:
            raise RuntimeError(f"The system at {self.url} has been started already")
        self._running = True
        stopping, self._stopping = self._stopping, None
        starting = self._starting = asyncio.get_running_loop().create_future()
        try:
            if stopping is not None:
                await outlast(stopping)
            self._draining = True
            self.workers.open()
            self.media.open()
            await self._open()
        except (Exception, asyncio.CancelledError):
            await outlast(asyncio.create_task(self._close(), name="close"))
            if self._starting is starting:
                self._running = False
            raise
        finally:
            starting.set_result(None)

    async def stop(self, *, drain: bool = True) -> None:
        """Finish what is in progress, then close everything.

        Stopping twice, also at once, is the same as once; a start in progress is waited for.
        Cancelling it does not leave it half-way; it takes at most three times `shutdown_timeout`.
        Without *drain*, requests in progress are cancelled and not finished, also those that an
        earlier stop still waits for; transactions that were begun are brought to their end.
        """
        self._running = False
        self._draining = self._draining and drain
        if not drain:
            self.server.hurry()
        # A start that comes meanwhile forgets it.
        stopping = self._stopping
        if stopping is None:
            stopping = asyncio.create_task(self._stop(self._starting), name="stop")
            self._stopping = stopping
        await outlast(stopping)
        stopping.result()

    async def _open(self) -> None:
        await self.database.open()
        await self.server.start()

    async def _stop(self, starting: asyncio.Future[None] | None) -> None:
        if starting is not None:
            await outlast(starting)
        await self._close()

    async def _close(self) -> None:
        async with AsyncExitStack() as closing:
            # The last one here is the first to be closed.
            closing.push_async_callback(self.cache.close)
            closing.push_async_callback(self.database.close)
            closing.push_async_callback(self.workers.close)
            closing.push_async_callback(self._drain)
            closing.push_async_callback(self.media.close)
            closing.push_async_callback(self.server.stop)

    async def _drain(self) -> None:
        await self.idempotency.drain(self.settings.shutdown_timeout if self._draining else 0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
