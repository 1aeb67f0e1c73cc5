"""Patients and detections through the cache: reads that fill it, writes that keep it true."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from vigia_reference.cache import CacheCalls, exactly, latest_detection_key, pattern_of, profile_key
from vigia_reference.payloads import DetectionReport
from vigia_reference.store import Commit, PatientStore, Record, SavedDetection, UpdatedPatient

LATEST_DETECTION_TTL = 3600.0
PROFILE_TTL = 3600.0


class PatientRecords:
    """The store behind a cache.

    Writes that go to the store directly are not seen by the cache; write here instead.
    """

    def __init__(self, store: PatientStore, cache: CacheCalls) -> None:
        self._store = store
        self._cache = cache

    async def patient(self, code: object) -> Record | None:
        """The patient with this code, or `None`."""
        known = self._store.identify(code)
        key = profile_key(known)
        cached: Record | None = await self._cache.get(key)
        if cached is not None:
            return cached
        lease = await self._cache.lease(key)
        try:
            found = await self._store.find_patient(known)
            if found is not None:
                await self._cache.fill(lease, found, PROFILE_TTL)
        finally:
            await self._cache.release(lease)
        return found

    async def latest_detection(self, code: object) -> Record | None:
        """The patient's detection that was stored last, or `None`."""
        known = self._store.identify(code)
        key = latest_detection_key(known)
        cached: Record | None = await self._cache.get(key)
        if cached is not None:
            return cached
        lease = await self._cache.lease(key)
        try:
            newest = await self._store.get_patient_detections(known, limit=1)
            if newest:
                await self._cache.fill(lease, newest[0], LATEST_DETECTION_TTL)
        finally:
            await self._cache.release(lease)
        return newest[0] if newest else None

    async def save_detection(
        self, report: DetectionReport, *, commit: Commit | None = None
    ) -> SavedDetection:
        """Store a report and cache the newest detection."""
        key = latest_detection_key(report.patient_code)
        profile = pattern_of("patient", report.patient_code)
        async with self._cache.writing(exactly(key), profile) as fence:
            saved = await self._store.save_detection(report, commit=commit)
            if saved.latest is not None:
                fence.publish(key, saved.latest, LATEST_DETECTION_TTL)
        return saved

    async def update_patient(
        self,
        code: object,
        changes: Mapping[str, Any],
        timestamp: datetime | None = None,
        *,
        commit: Commit | None = None,
    ) -> UpdatedPatient:
        """Update a patient and drop everything cached about them."""
        known = self._store.identify(code)
        async with self._cache.writing(pattern_of("patient", known)):
            return await self._store.update_patient(known, changes, timestamp, commit=commit)
