"""Is there one patient for each code, with the newest values, whoever registers and updates?

Patients are registered and updated concurrently, in any order of arrival, and read meanwhile.
At rest: codes that differ are different patients, each code has one, the newest update of every
field is the one that stands, and what the cache says of a patient is what the store says.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import strategies as st

from desvelo import ConcurrentMachine, at_rest, current_target, operation
from strategies import pooled_codes

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


class PatientRegistry(ConcurrentMachine):
    """Registrations, updates and reads of a few patients."""

    cancellable = False

    async def setup(self) -> None:
        self.target = current_target()
        self.system = self.target.system()
        await self.system.start()
        self.client = self.system.client()
        self.codes: dict[str, None] = {}
        self.newest: dict[tuple[str, str], tuple[datetime, str]] = {}
        self.updates = 0

    async def shutdown(self) -> None:
        await self.client.close()
        await self.system.stop()

    @operation(code=pooled_codes())
    async def register(self, code: str) -> None:
        self.codes[code] = None
        patient = await self.system.store.get_or_create_patient(code)
        assert patient["patient_code"] == code, f"asked for {code!r}, got {patient}"

    @operation(
        code=pooled_codes(),
        field=st.sampled_from(("mobility_status", "ward")),
        minute=st.integers(0, 3),
    )
    async def update(self, code: str, field: str, minute: int) -> None:
        # No two updates are of the same moment: there is always a newest one.
        self.updates += 1
        moment = NOON + timedelta(minutes=minute, microseconds=self.updates)
        value = f"value {self.updates}"
        self.codes[code] = None
        await self.system.store.get_or_create_patient(code)
        response = await self.client.send_async(update_event(code, field, value, moment))
        assert response.success, f"update refused: {response}"
        known = self.newest.get((code, field))
        if known is None or known[0] < moment:
            self.newest[code, field] = (moment, value)

    @operation(code=pooled_codes())
    async def find(self, code: str) -> str | None:
        patient = await self.system.records.patient(code)
        assert patient is None or patient["patient_code"] == code, f"{code!r} found {patient}"
        return None if patient is None else str(patient["patient_code"])

    @at_rest()
    async def there_is_one_patient_for_each_code(self) -> None:
        stored = Counter(one["patient_code"] for one in await self.target.patients(self.system))
        twice = {code: count for code, count in stored.items() if count > 1}
        assert not twice, f"patients with one code: {twice}"
        missing = [code for code in self.codes if code not in stored]
        assert not missing, f"registered, but not stored: {missing}"

    @at_rest()
    async def the_newest_update_stands(self) -> None:
        stored = {one["patient_code"]: one for one in await self.target.patients(self.system)}
        for (code, field), (moment, value) in self.newest.items():
            found = value_of(stored[code], field)
            assert found == value, (
                f"{field} of {code!r} is {found!r}, newest is {value!r} ({moment})"
            )

    @at_rest()
    async def the_cache_equals_the_store(self) -> None:
        for stored in await self.target.patients(self.system):
            cached = await self.target.cached_patient(self.system, stored["patient_code"])
            assert cached is None or cached == stored, f"cached {cached}, stored {stored}"


def update_event(code: str, field: str, value: str, moment: datetime) -> dict[str, Any]:
    """Return a ``patient.updated`` event."""
    return {
        "event_type": "patient.updated",
        "timestamp": moment.isoformat(),
        "payload": {
            "patient_code": code,
            "update_type": "status_change",
            "changes": {field: {"old": None, "new": value}},
            "reason": "ronda",
        },
        "source": "vigia_detect",
        "version": "1.0",
    }


def value_of(patient: dict[str, Any], field: str) -> Any:
    """Return a field of a patient, from its column or its attributes."""
    return patient[field] if field in patient else patient["attributes"].get(field)


TestPatientRegistry = pytest.mark.stress(phase="database")(PatientRegistry.TestCase)
