"""The embedded default target: `vigia_reference`, correct or with one planted defect.

``--target vigia_reference`` runs the correct system, ``--target vigia_reference:DEFECT`` the one
with a defect of the catalogue switched on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from targets.vigia_phases import VigiaPhases
from vigia_reference import Parts, Settings, System, WebhookClient
from vigia_reference.cache import latest_detection_key, profile_key
from vigia_reference.clinical import (
    SYNC_BACKENDS,
    AsyncClinicalStore,
    ClinicalRecords,
    ClinicalStore,
    SharedModels,
    async_store,
    sync_store,
)
from vigia_reference.clinical.connect import database_of
from vigia_reference.clinical.errors import Unavailable
from vigia_reference.clinical.maintenance import Database
from vigia_reference.clinical.tables import (
    empty_sqlite_file,
    postgresql_statements,
    sqlite_statements,
)
from vigia_reference.codes import patient_code
from vigia_reference.database import DatabaseClosed
from vigia_reference.defects import UnknownDefect, get
from vigia_reference.outbox import Message, NotSent
from vigia_reference.payloads import DetectionReport
from vigia_reference.rate_limit import RateLimits
from vigia_reference.remote import CacheUnavailable

HOST, PORT = "127.0.0.1", 8000


# Errors by which the system says that something it needs has failed.
OUTAGES = (CacheUnavailable, Unavailable)


@dataclass(frozen=True)
class VigiaReference(VigiaPhases):
    """Builds systems and clients, and reads what a system holds."""

    name: str
    parts: Parts = field(default_factory=Parts)

    outages: tuple[type[Exception], ...] = OUTAGES

    def system(self, **settings: Any) -> System:
        """Return a system that is not started yet."""
        return System(Settings(**{"host": HOST, "port": PORT, **settings}), self.parts)

    def client(self, url: str, **options: Any) -> WebhookClient:
        """Return a webhook client for any server."""
        return self.parts.client(url, **options)

    def limits(self, **limits: int) -> RateLimits:
        """Return limits on requests, for the setting ``rate_limits``."""
        return RateLimits(**limits)

    def clinical_store(
        self, backend: str, where: str, *, isolation: str | None = None, **options: Any
    ) -> ClinicalStore | AsyncClinicalStore:
        """Return a clinical store that is not connected yet.

        ``backend`` is ``sqlite`` or ``psycopg`` for threads, ``aiosqlite`` or ``asyncpg`` for
        tasks; ``where`` a path or a DSN; ``size`` among the options bounds its connections.
        """
        make = sync_store if backend in SYNC_BACKENDS else async_store
        return make(backend, where, isolation=isolation, parts=self.parts.clinical, **options)

    def clinical_records(self, store: ClinicalStore, **options: Any) -> ClinicalRecords:
        """Return a clinical store for threads behind a cache; options are those of the cache."""
        return ClinicalRecords(store, self.parts.clinical.cache(**options))

    def clinical_models(self, load: Callable[[], Iterable[dict[str, Any]]]) -> SharedModels:
        """Return models that threads share, filled with what ``load`` lists."""
        return self.parts.clinical.models(load)

    def clinical_tables(self, backend: str) -> tuple[str, ...]:
        """Return the statements that make the tables, for whoever prepares databases himself."""
        tables = self.parts.clinical.operations.tables
        if database_of(backend) is Database.SQLITE:
            return sqlite_statements(tables)
        return postgresql_statements(tables)

    def clinical_file(self) -> bytes:
        """Return a SQLite file with the tables and no row."""
        return empty_sqlite_file(self.parts.clinical.operations.tables)

    def report(self, payload: dict[str, Any]) -> DetectionReport:
        """Return what ``save_detection`` of a clinical store takes."""
        return DetectionReport.from_payload(payload, patient_code)

    async def answered(self, system: System) -> list[str]:
        """Return the ids of the webhooks whose answers are on record."""
        return await system.database.run(
            lambda connection: [
                str(webhook_id)
                for (webhook_id,) in connection.execute("SELECT webhook_id FROM idempotency_keys")
            ]
        )

    async def open_store(self, system: System) -> None:
        """Open the database of a system that is not started, to look at what another one stores."""
        await system.database.open()

    async def close_store(self, system: System) -> None:
        """Close it again."""
        await system.database.close()

    async def patients(self, system: System) -> list[dict[str, Any]]:
        """Return every patient that is stored."""
        return await system.store.list_patients()

    async def images(self, system: System) -> list[tuple[str, str, int]]:
        """Return (path, patient code, number of detections) of every image, oldest first."""
        return await system.database.run(
            lambda connection: [
                (str(path), str(code), int(count))
                for path, code, count in connection.execute(
                    "SELECT file_path, patient_code, "
                    "(SELECT count(*) FROM lpp_detections WHERE image_id = lpp_images.id) "
                    "FROM lpp_images JOIN patients ON patients.id = patient_id "
                    "ORDER BY lpp_images.rowid"
                )
            ]
        )

    async def messages(self, system: System) -> list[tuple[str, str]]:
        """Return (channel, body) of every message that was enqueued."""
        return await system.database.run(
            lambda connection: [
                (str(channel), str(body))
                for channel, body in connection.execute(
                    "SELECT channel, body FROM outbox ORDER BY id"
                )
            ]
        )

    async def pass_on(self, system: System, tell: Callable[[str, int], Awaitable[None]]) -> None:
        """Let ``tell(channel, number)`` tell every message that is pending.

        It raises `ConnectionRefusedError` when surely nothing was told, and another error when
        nobody knows. When the system is stopped meanwhile, nothing more is told.
        """

        async def send(message: Message) -> None:
            try:
                await tell(message.channel, message.id)
            except ConnectionRefusedError as error:
                raise NotSent from error

        with contextlib.suppress(DatabaseClosed):
            await system.outbox.deliver_pending(send)

    async def told(self, system: System) -> list[tuple[str, int]]:
        """Return (channel, number) of every message that counts as told."""
        return await system.database.run(
            lambda connection: [
                (str(channel), int(number))
                for channel, number in connection.execute(
                    "SELECT channel, id FROM outbox WHERE status = 'sent' ORDER BY id"
                )
            ]
        )

    def listeners(self, system: System) -> int:
        """Return how many wait for events."""
        return len(system.listeners)

    async def save_detection(self, system: System, payload: dict[str, Any]) -> None:
        """Store what the payload of ``detection.completed`` says, past the webhook."""
        report = DetectionReport.from_payload(payload, system.store.identify)
        await system.records.save_detection(report)

    async def detections(self, system: System, code: str) -> list[str]:
        """Return the image of each detection of a patient, in the order in which it is told."""
        return [one["image_path"] for one in await system.store.get_patient_detections(code)]

    async def newest_detection(self, system: System, code: str) -> dict[str, Any] | None:
        """Return the detection of a patient that was stored last."""
        found = await system.store.get_patient_detections(code, limit=1)
        return found[0] if found else None

    async def cached_patient(self, system: System, code: str) -> dict[str, Any] | None:
        """Return what the cache holds of a patient."""
        found: dict[str, Any] | None = await system.cache.get(profile_key(code))
        return found

    async def cached_detection(self, system: System, code: str) -> dict[str, Any] | None:
        """Return what the cache holds as a patient's newest detection."""
        found: dict[str, Any] | None = await system.cache.get(latest_detection_key(code))
        return found


def load(variant: str | None = None) -> VigiaReference:
    """Return the adapter; ``variant`` is the name of a planted defect."""
    if variant is None:
        return VigiaReference("vigia_reference", Parts())
    try:
        defect = get(variant)
    except UnknownDefect as error:
        raise LookupError(f"{error} (see: desvelo doctor --defects)") from error
    return VigiaReference(f"vigia_reference:{variant}", defect.parts(Parts()))
