"""The clinical store: every operation for threads, and the same for tasks."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from vigia_reference.clinical.attempts import (
    Attempts,
    Begin,
    Commit,
    Effect,
    Pause,
    Rollback,
)
from vigia_reference.clinical.audit import Record
from vigia_reference.clinical.operations import Operations
from vigia_reference.clinical.pool import (
    AsyncConnection,
    AsyncConnectionPool,
    Connection,
    ConnectionPool,
)
from vigia_reference.clinical.statements import Query, Rows
from vigia_reference.clinical.transaction import Transaction, Work, drive, drive_async
from vigia_reference.outlast import outlast
from vigia_reference.payloads import DetectionReport
from vigia_reference.store import SavedDetection, UpdatedPatient

T = TypeVar("T")


class ClinicalStore:
    """The store for threads: any number of them may call it at once.

    What each operation does, and raises, is told at `Operations`.  All raise `StoreError`.

    >>> import tempfile
    >>> from vigia_reference.clinical.connect import sync_store
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = sync_store("sqlite", f"{folder}/vigia.db")
    ...     _ = store.install()
    ...     first = store.get_or_create_patient("VG-2025-001")
    ...     again = store.get_or_create_patient("VG-2025-001")
    ...     store.close()
    >>> first["id"] == again["id"]
    True
    """

    def __init__(self, pool: ConnectionPool, operations: Operations, attempts: Attempts) -> None:
        self.pool = pool
        self.operations = operations
        self._attempts = attempts

    def run(self, work: Work[T]) -> T:
        """Carry out what `Operations` describes."""
        if isinstance(work, Transaction):
            with self.pool.connection() as connection:
                return drive(self._attempts.carry_out(work), partial(_perform, connection))
        return drive(work, self.run)

    def close(self) -> None:
        """Close all connections."""
        self.pool.close()

    def identify(self, code: object) -> str:
        """The policy by which a raw code names a patient; see `codes`."""
        return self.operations.identify(code)

    def install(self) -> bool:
        """Make the tables where there are none; says whether there were none."""
        return self.run(self.operations.install())

    def clear(self) -> None:
        """Delete every row."""
        self.run(self.operations.clear())

    def migrate(self) -> int:
        """Give patients their highest stage, and say how many were filled in."""
        return self.run(self.operations.migrate())

    def highest_stage(self, code: object) -> int | None:
        """The highest stage among a patient's detections."""
        return self.run(self.operations.highest_stage(code))

    def get_or_create_patient(self, code: object) -> Record:
        """The patient with this code, created when there is none."""
        return self.run(self.operations.get_or_create_patient(code))

    def find_patient(self, code: object) -> Record | None:
        """The patient with this code, or `None`."""
        return self.run(self.operations.find_patient(code))

    def list_patients(self, code: object = None) -> list[Record]:
        """All patient rows in order of creation, or only those with *code*."""
        return self.run(self.operations.list_patients(code))

    def update_patient(
        self, code: object, changes: Mapping[str, Any], timestamp: datetime | None = None
    ) -> UpdatedPatient:
        """Set fields as of *timestamp*; what was set later stands."""
        return self.run(self.operations.update_patient(code, changes, timestamp))

    def update_risk_factors(self, code: object, factors: Mapping[str, Any]) -> Record:
        """Put *factors* among the patient's, or take those out whose value is `None`."""
        return self.run(self.operations.update_risk_factors(code, factors))

    def mark_possible_duplicates(self, one: object, other: object) -> None:
        """Note with each of two patients that the other may be the same person."""
        self.run(self.operations.mark_possible_duplicates(one, other))

    def bulk_insert(self, codes: Iterable[object]) -> list[str]:
        """Insert a patient for each code, all or none."""
        return self.run(self.operations.bulk_insert(codes))

    def delete_patient(self, code: object) -> bool:
        """Delete a patient with everything that belongs to them."""
        return self.run(self.operations.delete_patient(code))

    def save_detection(self, report: DetectionReport) -> SavedDetection:
        """Store a report, all of it or nothing."""
        return self.run(self.operations.save_detection(report))

    def get_patient_detections(self, code: object, limit: int | None = None) -> list[Record]:
        """The patient's detections, the last one stored first."""
        return self.run(self.operations.get_patient_detections(code, limit))

    def list_images(self) -> list[tuple[str, str, int]]:
        """(path, patient code, number of detections) of every image, oldest first."""
        return self.run(self.operations.list_images())

    def unaudited_images(self) -> list[str]:
        """Paths of the images that the audit log does not mention."""
        return self.run(self.operations.unaudited_images())

    def register_model(self, name: str, version: str) -> str:
        """The identifier of a model, which is stored when it is new."""
        return self.run(self.operations.register_model(name, version))

    def list_models(self) -> list[Record]:
        """All models, in the order in which they became known."""
        return self.run(self.operations.list_models())

    def register_staff(self, staff_code: str, role: str, specialties: Sequence[str] = ()) -> str:
        """Store a member of staff."""
        return self.run(self.operations.register_staff(staff_code, role, specialties))

    def record_assessment(self, code: object, **fields: Any) -> str:
        """Store an assessment of a known patient and return its identifier."""
        return self.run(self.operations.record_assessment(code, **fields))

    def list_assessments(self, code: object) -> list[Record]:
        """The patient's assessments, oldest first."""
        return self.run(self.operations.list_assessments(code))

    def open_care_plan(
        self, code: object, intervention_type: str, recommendations: str, **fields: Any
    ) -> Record:
        """The patient's active plan, opened when there is none."""
        return self.run(
            self.operations.open_care_plan(code, intervention_type, recommendations, **fields)
        )

    def close_care_plan(self, plan_id: str, status: str = "completed") -> Record:
        """End a plan."""
        return self.run(self.operations.close_care_plan(plan_id, status))

    def resume_care_plan(self, plan_id: str) -> Record:
        """Make a plan active again unless the patient has an active one."""
        return self.run(self.operations.resume_care_plan(plan_id))

    def list_care_plans(self, code: object) -> list[Record]:
        """The patient's plans, oldest first."""
        return self.run(self.operations.list_care_plans(code))

    def record_audit(
        self, event_type: str, entity_type: str, entity_id: str | None, details: Mapping[str, Any]
    ) -> str:
        """Write one row of the audit log, and return its identifier."""
        return self.run(self.operations.record_audit(event_type, entity_type, entity_id, details))

    def list_audit(self) -> list[Record]:
        """All rows of the audit log, oldest first."""
        return self.run(self.operations.list_audit())


class AsyncClinicalStore:
    """The store for tasks of one event loop.

    A transaction that was begun is always brought to its end: whoever is cancelled while waiting
    learns of it only then, so nobody has to guess what a cancelled write did.
    """

    def __init__(
        self, pool: AsyncConnectionPool, operations: Operations, attempts: Attempts
    ) -> None:
        self.pool = pool
        self.operations = operations
        self._attempts = attempts

    async def run(self, work: Work[T]) -> T:
        """Carry out what `Operations` describes."""
        if not isinstance(work, Transaction):
            return await drive_async(work, self.run)
        job = asyncio.ensure_future(self._transact(work))
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            await outlast(job)
            # Nobody else will look at its error.
            if not job.cancelled():
                job.exception()
            raise

    async def _transact(self, transaction: Transaction[T]) -> T:
        async with self.pool.connection() as connection:
            return await drive_async(
                self._attempts.carry_out(transaction), partial(_perform_async, connection)
            )

    async def close(self) -> None:
        """Close all connections."""
        await self.pool.close()

    def identify(self, code: object) -> str:
        """The policy by which a raw code names a patient; see `codes`."""
        return self.operations.identify(code)

    async def install(self) -> bool:
        """Make the tables where there are none; says whether there were none."""
        return await self.run(self.operations.install())

    async def clear(self) -> None:
        """Delete every row."""
        await self.run(self.operations.clear())

    async def migrate(self) -> int:
        """Give patients their highest stage, and say how many were filled in."""
        return await self.run(self.operations.migrate())

    async def highest_stage(self, code: object) -> int | None:
        """The highest stage among a patient's detections."""
        return await self.run(self.operations.highest_stage(code))

    async def get_or_create_patient(self, code: object) -> Record:
        """The patient with this code, created when there is none."""
        return await self.run(self.operations.get_or_create_patient(code))

    async def find_patient(self, code: object) -> Record | None:
        """The patient with this code, or `None`."""
        return await self.run(self.operations.find_patient(code))

    async def list_patients(self, code: object = None) -> list[Record]:
        """All patient rows in order of creation, or only those with *code*."""
        return await self.run(self.operations.list_patients(code))

    async def update_patient(
        self, code: object, changes: Mapping[str, Any], timestamp: datetime | None = None
    ) -> UpdatedPatient:
        """Set fields as of *timestamp*; what was set later stands."""
        return await self.run(self.operations.update_patient(code, changes, timestamp))

    async def update_risk_factors(self, code: object, factors: Mapping[str, Any]) -> Record:
        """Put *factors* among the patient's, or take those out whose value is `None`."""
        return await self.run(self.operations.update_risk_factors(code, factors))

    async def mark_possible_duplicates(self, one: object, other: object) -> None:
        """Note with each of two patients that the other may be the same person."""
        await self.run(self.operations.mark_possible_duplicates(one, other))

    async def bulk_insert(self, codes: Iterable[object]) -> list[str]:
        """Insert a patient for each code, all or none."""
        return await self.run(self.operations.bulk_insert(codes))

    async def delete_patient(self, code: object) -> bool:
        """Delete a patient with everything that belongs to them."""
        return await self.run(self.operations.delete_patient(code))

    async def save_detection(self, report: DetectionReport) -> SavedDetection:
        """Store a report, all of it or nothing."""
        return await self.run(self.operations.save_detection(report))

    async def get_patient_detections(self, code: object, limit: int | None = None) -> list[Record]:
        """The patient's detections, the last one stored first."""
        return await self.run(self.operations.get_patient_detections(code, limit))

    async def list_images(self) -> list[tuple[str, str, int]]:
        """(path, patient code, number of detections) of every image, oldest first."""
        return await self.run(self.operations.list_images())

    async def unaudited_images(self) -> list[str]:
        """Paths of the images that the audit log does not mention."""
        return await self.run(self.operations.unaudited_images())

    async def register_model(self, name: str, version: str) -> str:
        """The identifier of a model, which is stored when it is new."""
        return await self.run(self.operations.register_model(name, version))

    async def list_models(self) -> list[Record]:
        """All models, in the order in which they became known."""
        return await self.run(self.operations.list_models())

    async def register_staff(
        self, staff_code: str, role: str, specialties: Sequence[str] = ()
    ) -> str:
        """Store a member of staff."""
        return await self.run(self.operations.register_staff(staff_code, role, specialties))

    async def record_assessment(self, code: object, **fields: Any) -> str:
        """Store an assessment of a known patient and return its identifier."""
        return await self.run(self.operations.record_assessment(code, **fields))

    async def list_assessments(self, code: object) -> list[Record]:
        """The patient's assessments, oldest first."""
        return await self.run(self.operations.list_assessments(code))

    async def open_care_plan(
        self, code: object, intervention_type: str, recommendations: str, **fields: Any
    ) -> Record:
        """The patient's active plan, opened when there is none."""
        return await self.run(
            self.operations.open_care_plan(code, intervention_type, recommendations, **fields)
        )

    async def close_care_plan(self, plan_id: str, status: str = "completed") -> Record:
        """End a plan."""
        return await self.run(self.operations.close_care_plan(plan_id, status))

    async def resume_care_plan(self, plan_id: str) -> Record:
        """Make a plan active again unless the patient has an active one."""
        return await self.run(self.operations.resume_care_plan(plan_id))

    async def list_care_plans(self, code: object) -> list[Record]:
        """The patient's plans, oldest first."""
        return await self.run(self.operations.list_care_plans(code))

    async def record_audit(
        self, event_type: str, entity_type: str, entity_id: str | None, details: Mapping[str, Any]
    ) -> str:
        """Write one row of the audit log, and return its identifier."""
        return await self.run(
            self.operations.record_audit(event_type, entity_type, entity_id, details)
        )

    async def list_audit(self) -> list[Record]:
        """All rows of the audit log, oldest first."""
        return await self.run(self.operations.list_audit())


def _perform(connection: Connection, effect: Effect) -> Rows:
    match effect:
        case Query():
            return connection.query(effect)
        case Begin():
            connection.begin(effect)
        case Commit():
            connection.commit()
        case Rollback():
            connection.rollback()
        case Pause(seconds):
            time.sleep(seconds)
    return []


async def _perform_async(connection: AsyncConnection, effect: Effect) -> Rows:
    match effect:
        case Query():
            return await connection.query(effect)
        case Begin():
            await connection.begin(effect)
        case Commit():
            await connection.commit()
        case Rollback():
            await connection.rollback()
        case Pause(seconds):
            await asyncio.sleep(seconds)
    return []
