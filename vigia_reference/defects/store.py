"""Defects of the patient store and of the cache in front of it."""

# ruff: noqa: D102 - what a method is for is told where it is correct

import sqlite3
import unicodedata
from dataclasses import replace

from vigia_reference.cache import Cache, Lease
from vigia_reference.database import Database
from vigia_reference.defects.catalogue import Defect
from vigia_reference.payloads import DetectionReport
from vigia_reference.schema import SCHEMA
from vigia_reference.store import Commit, PatientStore, Record, SavedDetection


class CodesWithoutUnique(Database):
    """A database whose patients table lost its constraint in a migration."""

    schema = SCHEMA.replace("patient_code TEXT NOT NULL UNIQUE", "patient_code TEXT NOT NULL")


class CheckThenInsertPatient(PatientStore):
    """Looks for the patient in one transaction and inserts in another."""

    async def get_or_create_patient(self, code: object) -> Record:
        known = self.identify(code)
        found = await self.find_patient(known)
        if found is None:
            await self._database.run(self._insert_patient, known)
            found = await super().get_or_create_patient(known)
        return found

    async def save_detection(
        self, report: DetectionReport, *, commit: Commit | None = None
    ) -> SavedDetection:
        await self.get_or_create_patient(report.patient_code)
        return await super().save_detection(report, commit=commit)


class LostCounterUpdate(PatientStore):
    """Reads the patient's counter in one transaction and writes the sum in another."""

    async def save_detection(
        self, report: DetectionReport, *, commit: Commit | None = None
    ) -> SavedDetection:
        known = await self.find_patient(report.patient_code)
        before = known["detection_count"] if known else 0

        def write(connection: sqlite3.Connection) -> SavedDetection:
            saved = self._write_report(connection, report)
            connection.execute(
                "UPDATE patients SET detection_count = ? WHERE id = ?",
                (before + len(report.lesions), saved.patient_id),
            )
            return saved

        return await self._commit(write, commit)


class OutOfOrderPatientUpdate(PatientStore):
    """Takes the update that arrives last for the newest."""

    def _is_newer(self, stamp: str, known: str) -> bool:
        return True


class NearEqualCodesMerged(PatientStore):
    """Tidies codes up, as one does with search terms."""

    def identify(self, code: object) -> str:
        return unicodedata.normalize("NFKC", super().identify(code)).strip().casefold()


class StaleCacheFill(Cache):
    """Fills what was read, whatever has happened to the key since."""

    def _holds(self, lease: Lease) -> bool:
        return True


STORE_DEFECTS = (
    Defect(
        name="check-then-insert-patient",
        kind="race",
        where="PatientStore.get_or_create_patient",
        breaks="Two detections for one new code make two patients with that code.",
        operations=2,
        deviations=0,
        parts=lambda parts: replace(
            parts, database=CodesWithoutUnique, store=CheckThenInsertPatient
        ),
    ),
    Defect(
        name="lost-counter-update",
        kind="race",
        where="PatientStore.save_detection",
        breaks="Two detections for one patient are stored, and counted as one.",
        operations=2,
        deviations=0,
        parts=lambda parts: replace(parts, store=LostCounterUpdate),
    ),
    Defect(
        name="out-of-order-patient-update",
        kind="order",
        where="PatientStore.update_patient",
        breaks="An update that is older, but arrives later, overwrites the newer value.",
        operations=2,
        deviations=0,
        parts=lambda parts: replace(parts, store=OutOfOrderPatientUpdate),
    ),
    Defect(
        name="near-equal-codes-merged",
        kind="input",
        where="PatientStore.identify",
        breaks="Patients whose codes differ in case, blanks or width share one record.",
        operations=2,
        deviations=0,
        parts=lambda parts: replace(parts, store=NearEqualCodesMerged),
    ),
    Defect(
        name="stale-cache-fill",
        kind="race",
        where="Cache.fill",
        breaks="A patient read before a write is cached after it, and stays for an hour.",
        operations=3,
        deviations=1,
        parts=lambda parts: replace(parts, cache=StaleCacheFill),
    ),
)
