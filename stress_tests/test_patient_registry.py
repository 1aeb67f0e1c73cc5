"""Is there one patient for each code, with the newest values, whoever registers and updates?

Patients are registered and updated concurrently, in any order of arrival, and read meanwhile.
At rest: codes that differ are different patients, each code has one, the newest update of every
field is the one that stands, and what the cache says of a patient is what the store says.

The same is asked of the clinical store, by threads and by tasks, on SQLite and on PostgreSQL at
each isolation level: whoever calls is told what he would be told if one call came after the other.
And of what threads share besides the database: the cache, and the models that are loaded once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import strategies as st

from desvelo import ConcurrentMachine, at_rest, current_target, fault, operation
from strategies import pooled_codes
from stress_tests.clinical import Aiosqlite, Asyncpg, Clinic, Psycopg, Sqlite, case_of

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


class PatientRegistry(ConcurrentMachine):
    """Registrations, updates and reads of a few patients."""

    faults = (fault.lose_ack, fault.duplicate, fault.clock_jump, fault.daylight_saving)
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


# the clinical store: threads and tasks, on SQLite and on PostgreSQL

KNOWN, NEW = CODES = ("VG-2025-001", "vg-2025-001")
"""A patient who is there from the start, and a code that nobody has registered."""

MOSTLY_KNOWN = (KNOWN, KNOWN, NEW)
NIL = UUID(int=0)


class Registry:
    """What one caller after the other would be told."""

    def __init__(self) -> None:
        self.factors = {KNOWN: 0}

    def partition(self, name: str, arguments: dict[str, Any]) -> str:
        return str(arguments["code"])

    def register(self, code: str) -> int:
        return self.factors.setdefault(code, 0)

    def read(self, code: str) -> int | None:
        return self.factors.get(code)

    def assess(self, code: str) -> int:
        self.factors[code] += 1
        return self.factors[code]


class ClinicalRegistry(Clinic):
    """Registrations, assessments and reads of two patients, of whom one is new."""

    model = Registry
    cancellable = False
    expected_errors = (LookupError,)

    def first_rows(self) -> Iterable[tuple[Any, ...]]:
        return [(self.store.get_or_create_patient, KNOWN)]

    def begin(self) -> None:
        self.numbers = count(1)
        self.registered: dict[str, str] = {}

    @operation(code=st.just(NEW))
    def register(self, code: str) -> Any:
        def tell(patient: dict[str, Any]) -> int:
            assert patient["patient_code"] == code, f"asked for {code!r}, got {patient}"
            self.registered[patient["id"]] = code
            return number_of_factors(patient)

        return self.ask(tell, (self.store.get_or_create_patient, code))

    @operation(code=st.sampled_from(CODES))
    def read(self, code: str) -> Any:
        def tell(patient: dict[str, Any] | None) -> int | None:
            return None if patient is None else number_of_factors(patient)

        return self.ask(tell, (self.store.find_patient, code))

    @operation(code=st.sampled_from(MOSTLY_KNOWN))
    def assess(self, code: str) -> Any:
        """Add a risk factor that nobody else adds, and tell how many there are then."""
        factor = {f"factor {next(self.numbers)}": True}
        return self.ask(number_of_factors, (self.store.update_risk_factors, code, factor))

    @at_rest()
    def who_was_registered_is_stored_once(self) -> Any:
        def check(patients: list[dict[str, Any]]) -> None:
            stored = Counter(patient["patient_code"] for patient in patients)
            twice = {code: count for code, count in stored.items() if count > 1}
            assert not twice, f"patients with one code: {twice}"
            ids = {patient["id"] for patient in patients}
            lost = [code for one, code in self.registered.items() if one not in ids]
            assert not lost, f"registered, but not stored: {lost}"

        return self.ask(check, self.store.list_patients)


def number_of_factors(patient: dict[str, Any]) -> int:
    """Return how many risk factors of a patient are known."""
    return len(patient["risk_factors"] or {})


class SqliteRegistry(ClinicalRegistry, Sqlite):
    """Threads, each with a connection of its own to one file."""


class AiosqliteRegistry(ClinicalRegistry, Aiosqlite):
    """Tasks, whose statements run in threads."""


class PsycopgReadCommittedRegistry(ClinicalRegistry, Psycopg):
    """Threads on PostgreSQL, where each statement sees what is committed."""

    isolation = "read committed"


class PsycopgRepeatableReadRegistry(ClinicalRegistry, Psycopg):
    """Threads on PostgreSQL, where each transaction sees one moment."""

    isolation = "repeatable read"


class PsycopgSerializableRegistry(ClinicalRegistry, Psycopg):
    """Threads on PostgreSQL, as if one transaction came after the other."""

    isolation = "serializable"


class AsyncpgReadCommittedRegistry(ClinicalRegistry, Asyncpg):
    """Tasks on PostgreSQL, where each statement sees what is committed."""

    isolation = "read committed"


class AsyncpgRepeatableReadRegistry(ClinicalRegistry, Asyncpg):
    """Tasks on PostgreSQL, where each transaction sees one moment."""

    isolation = "repeatable read"


class AsyncpgSerializableRegistry(ClinicalRegistry, Asyncpg):
    """Tasks on PostgreSQL, as if one transaction came after the other."""

    isolation = "serializable"


class CarePlans(Clinic):
    """Care plans of one patient, who has one that is active at most."""

    cancellable = False
    expected_errors = (LookupError,)

    def first_rows(self) -> Iterable[tuple[Any, ...]]:
        return [(self.store.get_or_create_patient, KNOWN)]

    def begin(self) -> None:
        self.plans: dict[str, None] = {}

    def note(self, plan: dict[str, Any]) -> str:
        """Remember a plan, and tell its status."""
        self.plans[plan["id"]] = None
        return str(plan["status"])

    def one_of_them(self, number: int) -> str:
        """Return a plan that was told of, if there is any."""
        return list(self.plans)[number % len(self.plans)] if self.plans else str(NIL)

    @operation()
    def open(self) -> Any:
        what = (KNOWN, "repositioning", "every two hours")
        return self.ask(self.note, (self.store.open_care_plan, *what))

    @operation(number=st.integers(0, 2))
    def end(self, number: int) -> Any:
        return self.ask(self.note, (self.store.close_care_plan, self.one_of_them(number)))

    @operation(number=st.integers(0, 2))
    def take_up_again(self, number: int) -> Any:
        return self.ask(self.note, (self.store.resume_care_plan, self.one_of_them(number)))

    @at_rest()
    def one_care_plan_is_active_at_most(self) -> Any:
        def check(plans: list[dict[str, Any]]) -> None:
            active = [plan for plan in plans if plan["status"] == "active"]
            assert len(active) <= 1, f"{KNOWN!r} has {len(active)} active care plans"

        return self.ask(check, (self.store.list_care_plans, KNOWN))


class PsycopgCarePlans(CarePlans, Psycopg):
    """Threads on PostgreSQL, where each statement sees what is committed."""

    isolation = "read committed"


class AsyncpgCarePlans(CarePlans, Asyncpg):
    """Tasks on PostgreSQL, where each transaction sees one moment."""

    isolation = "repeatable read"


# what the threads share besides the database

MODEL = {"name": "lpp_detector", "version": "1.0.0", "path": "models/lpp_detector.pt"}


class Shelf:
    """A store of one patient, in which nothing is ever under way."""

    def __init__(self) -> None:
        self.patient = {"patient_code": KNOWN, "risk_factors": {}}

    def identify(self, code: str) -> str:
        return code

    def find_patient(self, code: str) -> dict[str, Any]:
        return self.patient

    def update_risk_factors(self, code: str, factors: dict[str, Any]) -> dict[str, Any]:
        self.patient = {"patient_code": code, "risk_factors": factors}
        return self.patient


class SharedObjects(ConcurrentMachine):
    """Threads that use one object; every line of its file is a switch point, and nothing else."""

    runtime = "threads"
    longest_elapse = 0.0
    file: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.world_options = {"switch_files": lambda file: file.endswith(cls.file)}


class SharedCache(SharedObjects):
    """Threads that read and write one patient through one cache."""

    file = "cache.py"

    def setup(self) -> None:  # type: ignore[override]
        self.store = Shelf()
        self.records = current_target().clinical_records(self.store)

    @operation()
    def read(self) -> Any:
        return self.records.patient(KNOWN)["risk_factors"]

    @operation(grade=st.integers(1, 3))
    def write(self, grade: int) -> Any:
        return self.records.update_risk_factors(KNOWN, {"smoking": grade})["risk_factors"]

    @at_rest()
    def the_cache_equals_the_store(self) -> None:
        cached, stored = self.records.patient(KNOWN), self.store.patient
        assert cached == stored, f"cached {cached}, stored {stored}"


class SharedModels(SharedObjects):
    """Threads that look up a model; all are loaded when one is first asked for."""

    file = "models.py"

    def setup(self) -> None:  # type: ignore[override]
        self.models = current_target().clinical_models(lambda: [MODEL])

    @operation()
    def look_up(self) -> str:
        return str(self.models.registry().find(MODEL["name"], MODEL["version"]).path)


TestPatientRegistry = pytest.mark.stress(phase="database")(PatientRegistry.TestCase)
TestSharedCache = case_of(SharedCache, 0.7)
TestSharedModels = case_of(SharedModels, 0.2)
TestSqliteRegistry = case_of(SqliteRegistry, 0.3)
TestAiosqliteRegistry = case_of(AiosqliteRegistry, 0.1)
TestPsycopgCarePlans = case_of(PsycopgCarePlans, 0.04)
TestAsyncpgCarePlans = case_of(AsyncpgCarePlans, 0.04)
TestPsycopgReadCommittedRegistry = case_of(PsycopgReadCommittedRegistry, 0.07)
TestPsycopgRepeatableReadRegistry = case_of(PsycopgRepeatableReadRegistry, 0.07)
TestPsycopgSerializableRegistry = case_of(PsycopgSerializableRegistry, 0.05)
TestAsyncpgReadCommittedRegistry = case_of(AsyncpgReadCommittedRegistry, 0.07)
TestAsyncpgRepeatableReadRegistry = case_of(AsyncpgRepeatableReadRegistry, 0.07)
TestAsyncpgSerializableRegistry = case_of(AsyncpgSerializableRegistry, 0.05)
