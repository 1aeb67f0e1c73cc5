"""Patients, images and detections: every public call is one transaction."""

import json
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from vigia_reference.codes import patient_code
from vigia_reference.database import Database
from vigia_reference.payloads import DetectionReport, patient_fields

Record = dict[str, Any]

_COLUMNS = ("age_range", "gender", "risk_factors", "mobility_status")

_PATIENT = "SELECT * FROM patients WHERE patient_code = ? ORDER BY rowid"

_DETECTIONS = """
SELECT d.id, p.patient_code, i.id, i.file_path, d.lpp_stage, d.confidence_score,
       d.detection_results, d.risk_level, m.model_name, m.model_version, d.processing_time_ms,
       d.created_at
FROM patients AS p
JOIN lpp_images AS i ON i.patient_id = p.id
JOIN lpp_detections AS d ON d.image_id = i.id
JOIN models AS m ON m.id = d.model_id
WHERE p.patient_code = ?
ORDER BY d.position DESC
LIMIT ?
"""


class Outcome(Protocol):
    """What a write leaves behind."""

    def summary(self) -> Record:
        """The part of it that the sender of the event is told, as a JSON object."""
        ...


OutcomeT = TypeVar("OutcomeT", bound=Outcome)
Write = Callable[[sqlite3.Connection], OutcomeT]


class Commit(Protocol):
    """Runs a write as one transaction; callers pass one to put more into that transaction."""

    async def __call__(self, write: Write[OutcomeT], /) -> OutcomeT:
        """Run *write* and commit it."""
        ...


@dataclass(frozen=True, slots=True)
class SavedDetection:
    """The rows that one report became; `latest` is the patient's newest detection after it."""

    patient_id: str
    image_id: str
    detection_ids: tuple[str, ...]
    latest: Record | None

    def summary(self) -> Record:
        """The identifiers."""
        return {
            "patient_id": self.patient_id,
            "image_id": self.image_id,
            "detection_ids": list(self.detection_ids),
        }


@dataclass(frozen=True, slots=True)
class UpdatedPatient:
    """A patient after an update, and the names of the fields that the update changed."""

    patient: Record
    applied: tuple[str, ...]

    def summary(self) -> Record:
        """The patient's identifier and what was applied."""
        return {"patient_id": self.patient["id"], "applied": list(self.applied)}


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row of the audit log."""

    id: int

    def summary(self) -> Record:
        """The row's number."""
        return {"audit_id": self.id}


class PatientStore:
    """The database as the rest of the system sees it.

    Calls that write take *commit*, which runs the write: by default as a transaction of its own.
    Codes that are no patient codes raise `InvalidPatientCode`.

    >>> import asyncio
    >>> async def example():
    ...     database = Database()
    ...     await database.open()
    ...     store = PatientStore(database)
    ...     first = await store.get_or_create_patient("VG-2025-001")
    ...     again = await store.get_or_create_patient("VG-2025-001")
    ...     await database.close()
    ...     return first["id"] == again["id"]
    >>> asyncio.run(example())
    True
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def identify(self, code: object) -> str:
        """The policy by which a raw code names a patient; see `codes`."""
        return patient_code(code)

    async def get_or_create_patient(self, code: object) -> Record:
        """The patient with this code, created when there is none."""
        return await self._database.run(self._patient, self.identify(code))

    async def find_patient(self, code: object) -> Record | None:
        """The patient with this code, or `None`."""
        return await self._database.run(self._find, self.identify(code))

    async def list_patients(self, code: object = None) -> list[Record]:
        """All patient rows in order of creation, or only those with *code*."""
        return await self._database.run(self._list, None if code is None else self.identify(code))

    async def update_patient(
        self,
        code: object,
        changes: Mapping[str, Any],
        timestamp: datetime | None = None,
        *,
        commit: Commit | None = None,
    ) -> UpdatedPatient:
        """Set fields to the values that *changes* gives, as of *timestamp*.

        Each field remembers when its value was set; a change that is older than that is not
        applied, so updates may arrive in any order.  Of two with the same time the later to
        arrive wins, and so does one without a time, whatever the clock says.  A patient who is
        not known yet is created, for the same reason.

        Raises `InvalidPayload` for a value that the table does not allow.
        """
        known = self.identify(code)
        values = patient_fields(changes)

        def write(connection: sqlite3.Connection) -> UpdatedPatient:
            patient = self._patient(connection, known)
            applied = self._apply(connection, patient, values, timestamp)
            self._audit(connection, "patient.updated", "patient", patient["id"], values)
            return UpdatedPatient(self._patient(connection, known), applied)

        return await self._commit(write, commit)

    async def save_detection(
        self, report: DetectionReport, *, commit: Commit | None = None
    ) -> SavedDetection:
        """Store a report: patient, image, model, one row per lesion and one audit row."""

        def write(connection: sqlite3.Connection) -> SavedDetection:
            return self._write_report(connection, report)

        return await self._commit(write, commit)

    async def get_patient_detections(self, code: object, limit: int | None = None) -> list[Record]:
        """The patient's detections, the last one stored first."""
        return await self._database.run(self._newest, self.identify(code), limit)

    async def record_audit(
        self,
        event_type: str,
        entity_type: str,
        entity_id: str | None,
        details: Mapping[str, Any],
        *,
        commit: Commit | None = None,
    ) -> AuditEntry:
        """Write one row of the audit log; *details* must be JSON values."""

        def write(connection: sqlite3.Connection) -> AuditEntry:
            return self._audit(connection, event_type, entity_type, entity_id, details)

        return await self._commit(write, commit)

    async def _commit(self, write: Write[OutcomeT], commit: Commit | None) -> OutcomeT:
        if commit is None:
            return await self._database.run(write)
        return await commit(write)

    def _write_report(
        self, connection: sqlite3.Connection, report: DetectionReport
    ) -> SavedDetection:
        now = _now()
        patient = self._patient(connection, report.patient_code)
        if report.patient_info:
            self._apply(connection, patient, report.patient_info, report.timestamp)
        image_id = str(uuid.uuid4())
        connection.execute(
            "INSERT INTO lpp_images (id, patient_id, file_path, file_hash, metadata, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (image_id, patient["id"], report.image_path, report.image_hash, report.metadata, now),
        )
        model_id = self._model(connection, report.model_name, report.model_version)
        detection_ids = [str(uuid.uuid4()) for _ in report.lesions]
        connection.executemany(
            "INSERT INTO lpp_detections (id, image_id, model_id, detection_results, lpp_stage,"
            " confidence_score, processing_time_ms, risk_level, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    detection_id,
                    image_id,
                    model_id,
                    lesion.results,
                    lesion.stage,
                    lesion.confidence,
                    report.processing_time_ms,
                    report.risk_level,
                    now,
                )
                for detection_id, lesion in zip(detection_ids, report.lesions, strict=True)
            ],
        )
        connection.execute(
            "UPDATE patients SET detection_count = detection_count + ? WHERE id = ?",
            (len(detection_ids), patient["id"]),
        )
        self._audit(
            connection,
            "detection.completed",
            "lpp_image",
            image_id,
            {"patient_code": report.patient_code, "detections": len(detection_ids)},
        )
        newest = self._newest(connection, report.patient_code, 1)
        return SavedDetection(
            patient["id"], image_id, tuple(detection_ids), newest[0] if newest else None
        )

    def _patient(self, connection: sqlite3.Connection, code: str) -> Record:
        found = self._find(connection, code)
        if found is None:
            self._insert_patient(connection, code)
            found = self._find(connection, code)
            assert found is not None
        return found

    @staticmethod
    def _find(connection: sqlite3.Connection, code: str) -> Record | None:
        row = connection.execute(_PATIENT, (code,)).fetchone()
        return None if row is None else _patient_record(row)

    @staticmethod
    def _list(connection: sqlite3.Connection, code: str | None) -> list[Record]:
        if code is None:
            rows = connection.execute("SELECT * FROM patients ORDER BY rowid")
        else:
            rows = connection.execute(_PATIENT, (code,))
        return [_patient_record(row) for row in rows]

    @staticmethod
    def _insert_patient(connection: sqlite3.Connection, code: str) -> None:
        now = _now()
        connection.execute(
            "INSERT INTO patients (id, patient_code, created_at, updated_at) VALUES (?, ?, ?, ?)",
            (str(uuid.uuid4()), code, now, now),
        )

    def _apply(
        self,
        connection: sqlite3.Connection,
        patient: Record,
        values: Mapping[str, Any],
        moment: datetime | None,
    ) -> tuple[str, ...]:
        stamp = (moment or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds")
        (text,) = connection.execute(
            "SELECT changed_at FROM patients WHERE id = ?", (patient["id"],)
        ).fetchone()
        changed_at: dict[str, str] = json.loads(text)
        applied = tuple(
            [
                field
                for field in values
                if moment is None or self._is_newer(stamp, changed_at.get(field, ""))
            ]
        )
        columns = {field: patient[field] for field in _COLUMNS}
        attributes = dict(patient["attributes"])
        for field in applied:
            (columns if field in columns else attributes)[field] = values[field]
            # A clock that was set back must not let an older update in afterwards.
            changed_at[field] = max(stamp, changed_at.get(field, ""))
        connection.execute(
            "UPDATE patients SET age_range = ?, gender = ?, risk_factors = ?,"
            " mobility_status = ?, attributes = ?, changed_at = ?, updated_at = ? WHERE id = ?",
            (
                columns["age_range"],
                columns["gender"],
                json.dumps(columns["risk_factors"]),
                columns["mobility_status"],
                json.dumps(attributes),
                json.dumps(changed_at),
                _now(),
                patient["id"],
            ),
        )
        return applied

    def _is_newer(self, stamp: str, known: str) -> bool:
        # Both are UTC with six decimals, so text order is time order; "" is before all times.
        return stamp >= known

    @staticmethod
    def _model(connection: sqlite3.Connection, name: str, version: str) -> str:
        row = connection.execute(
            "SELECT id FROM models WHERE model_name = ? AND model_version = ?", (name, version)
        ).fetchone()
        if row is not None:
            return str(row[0])
        model_id = str(uuid.uuid4())
        connection.execute(
            "INSERT INTO models (id, model_name, model_version, model_type, model_path)"
            " VALUES (?, ?, ?, 'detection', ?)",
            (model_id, name, version, f"models/{name}-{version}"),
        )
        return model_id

    @staticmethod
    def _newest(connection: sqlite3.Connection, code: str, limit: int | None) -> list[Record]:
        # SQLite reads a negative limit as none.
        rows = connection.execute(_DETECTIONS, (code, -1 if limit is None else limit))
        return [_detection_record(row) for row in rows]

    @staticmethod
    def _audit(
        connection: sqlite3.Connection,
        event_type: str,
        entity_type: str,
        entity_id: str | None,
        details: Mapping[str, Any],
    ) -> AuditEntry:
        cursor = connection.execute(
            "INSERT INTO system_logs (event_type, entity_type, entity_id, details, created_at)"
            " VALUES (?, ?, ?, ?, ?)",
            (event_type, entity_type, entity_id, json.dumps(details), _now()),
        )
        assert cursor.lastrowid is not None
        return AuditEntry(cursor.lastrowid)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _patient_record(row: tuple[Any, ...]) -> Record:
    (
        patient_id,
        code,
        age_range,
        gender,
        risk_factors,
        mobility_status,
        attributes,
        _changed_at,
        detection_count,
        created_at,
        updated_at,
    ) = row
    return {
        "id": patient_id,
        "patient_code": code,
        "age_range": age_range,
        "gender": gender,
        "risk_factors": None if risk_factors is None else json.loads(risk_factors),
        "mobility_status": mobility_status,
        "attributes": json.loads(attributes),
        "detection_count": detection_count,
        "created_at": created_at,
        "updated_at": updated_at,
    }


def _detection_record(row: tuple[Any, ...]) -> Record:
    results = json.loads(row[6])
    return {
        "detection_id": row[0],
        "patient_code": row[1],
        "image_id": row[2],
        "image_path": row[3],
        "stage": row[4],
        "confidence": row[5],
        "bbox": results.get("bbox"),
        "area": results.get("area"),
        "severity": results.get("severity"),
        "risk_level": row[7],
        "model": {"name": row[8], "version": row[9]},
        "processing_time_ms": row[10],
        "created_at": row[11],
    }
