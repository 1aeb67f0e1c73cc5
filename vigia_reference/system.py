"""The whole system: which parts it is built from, started and stopped as one."""

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from vigia_reference.cache import Cache, CacheCalls
from vigia_reference.client import WebhookClient
from vigia_reference.clinical.parts import ClinicalParts
from vigia_reference.database import IN_MEMORY, Database
from vigia_reference.handlers import Handlers
from vigia_reference.idempotency import Idempotency
from vigia_reference.outbox import Outbox
from vigia_reference.outlast import outlast
from vigia_reference.rate_limit import RateLimiter, RateLimits
from vigia_reference.records import PatientRecords
from vigia_reference.remote import RedisCache
from vigia_reference.server import DEFAULT_PORT, WebhookServer
from vigia_reference.store import PatientStore


@dataclass(frozen=True, slots=True)
class Settings:
    """How a system is configured.

    `port` 0 lets the operating system choose.  `rate_limits` of `None` means no limits.
    `cache_url` names a Redis server (``redis://...``) that keeps cache and counters for all
    processes; without one they are this process's own.  `shutdown_timeout` is how many seconds
    requests in progress are given when stopping.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    api_key: str | None = None
    rate_limits: RateLimits | None = None
    database_path: str = IN_MEMORY
    cache_url: str | None = None
    chat_channel: str = "#vigia-alertas"
    whatsapp_number: str = "+34600000000"
    shutdown_timeout: float = 10.0

    def __post_init__(self) -> None:
        if self.api_key == "":
            raise ValueError("api_key is empty; use None to accept requests without a key")


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
    server: type[WebhookServer] = WebhookServer
    client: type[WebhookClient] = WebhookClient
    clinical: ClinicalParts = field(default_factory=ClinicalParts)


class System:
    """A webhook server with its database, cache, limits and messages.

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
        self.idempotency = parts.idempotency(self.database)
        self.handlers = parts.handlers(self.store, self.records, self.outbox, self.idempotency)
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

    async def start(self) -> None:
        """Open the database and listen.  Raises `OSError` when the port is taken."""
        self._stopping = None
        await self.database.open()
        try:
            await self.server.start()
        except BaseException:
            await self.database.close()
            await self.cache.close()
            raise

    async def stop(self) -> None:
        """Finish what is in progress, then close everything.

        Stopping twice, also at once, is the same as once.  Cancelling it does not leave it
        half-way; it takes at most three times `shutdown_timeout`.
        """
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(), name="stop")
        await outlast(self._stopping)
        self._stopping.result()

    async def _stop(self) -> None:
        try:
            await self.server.stop()
        finally:
            try:
                await self.idempotency.drain(self.settings.shutdown_timeout)
            finally:
                try:
                    await self.database.close()
                finally:
                    await self.cache.close()

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
