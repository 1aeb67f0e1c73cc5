"""Patients through the cache, for threads: reads that fill it, writes that keep it true."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from vigia_reference.cache import profile_key
from vigia_reference.clinical.audit import Record
from vigia_reference.clinical.cache import ExpiringCache
from vigia_reference.clinical.stores import ClinicalStore
from vigia_reference.payloads import DetectionReport
from vigia_reference.store import SavedDetection, UpdatedPatient


class ClinicalRecords:
    """The store behind a cache.

    Writes that go to the store directly are not seen by the cache; write here instead.
    """

    def __init__(self, store: ClinicalStore, cache: ExpiringCache) -> None:
        self._store = store
        self._cache = cache

    def patient(self, code: object) -> Record | None:
        """The patient with this code, or `None`."""
        known = self._store.identify(code)
        found: Record | None = self._cache.read_through(
            profile_key(known), lambda: self._store.find_patient(known)
        )
        return found

    def update_patient(
        self, code: object, changes: Mapping[str, Any], timestamp: datetime | None = None
    ) -> UpdatedPatient:
        """Update a patient and drop what is cached about them."""
        known = self._store.identify(code)
        with self._cache.writing(profile_key(known)):
            return self._store.update_patient(known, changes, timestamp)

    def update_risk_factors(self, code: object, factors: Mapping[str, Any]) -> Record:
        """Update a patient's risk factors and drop what is cached about them."""
        known = self._store.identify(code)
        with self._cache.writing(profile_key(known)):
            return self._store.update_risk_factors(known, factors)

    def save_detection(self, report: DetectionReport) -> SavedDetection:
        """Store a report and drop what is cached about the patient."""
        with self._cache.writing(profile_key(report.patient_code)):
            return self._store.save_detection(report)

    def delete_patient(self, code: object) -> bool:
        """Delete a patient and drop what is cached about them."""
        known = self._store.identify(code)
        with self._cache.writing(profile_key(known)):
            return self._store.delete_patient(known)
