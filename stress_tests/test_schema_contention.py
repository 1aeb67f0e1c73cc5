"""Does a store keep its word while its tables change, and patients are locked in any order?

A migration runs while patients are inserted in bulk, updated, given detections, compared with each
other and deleted. Whoever locks several patients does so in one order, so nobody is ever told of a
deadlock; a bulk insert is all or nothing; after a migration every patient has the right value; and
a connection that a failed call gives back is as good as new for whoever gets it next.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any

from hypothesis import strategies as st

from desvelo import at_rest, operation
from stress_tests.clinical import (
    Asyncpg,
    Clinic,
    OnPostgres,
    Psycopg,
    Sqlite,
    case_of,
    migrated,
)

CODES = ("VG-2025-001", "VG-2025-002")


class SchemaContention(Clinic):
    """Everything that locks more than one row, at once."""

    expected_errors = (LookupError, ValueError)

    def first_rows(self) -> Iterable[tuple[Any, ...]]:
        return [(self.store.bulk_insert, CODES)]

    def begin(self) -> None:
        self.numbers = count(1)
        self.enrolled: dict[str, bool] = {}
        self.is_migrated = False

    @operation(code=st.sampled_from((*CODES, None)))
    def enrol(self, code: str | None) -> Any:
        """Insert two patients, of whom one may be there already."""
        fresh = f"NEW-{next(self.numbers)}"
        self.enrolled[fresh] = False

        def tell(ids: list[str]) -> int:
            self.enrolled[fresh] = True
            return len(ids)

        return self.ask(tell, (self.store.bulk_insert, [code or f"{fresh}-B", fresh]))

    @operation()
    def compare(self) -> Any:
        """Note with each of both patients that the other may be the same person.

        Every second call names them the other way round.
        """
        one, other = CODES if next(self.numbers) % 2 else CODES[::-1]
        return self.ask(nothing, (self.store.mark_possible_duplicates, one, other))

    @operation(code=st.sampled_from(CODES), ward=st.sampled_from(("2B", "3A")))
    def update(self, code: str, ward: str) -> Any:
        return self.ask(
            lambda updated: updated.patient["attributes"]["ward"],
            (self.store.update_patient, code, {"ward": ward}),
        )

    @operation(code=st.sampled_from(CODES), stage=st.integers(0, 4))
    def save(self, code: str, stage: int) -> Any:
        report = self.target.report(
            {"patient_code": code, "detections": [{"stage": stage, "confidence": 0.9}]}
        )
        return self.ask(nothing, (self.store.save_detection, report))

    @operation(code=st.sampled_from(CODES))
    def delete(self, code: str) -> Any:
        return self.ask(bool, (self.store.delete_patient, code))

    @operation()
    def migrate(self) -> Any:
        """Give patients a column with the highest stage among their detections."""
        self.tables_change()

        def tell(filled: int) -> int:
            self.is_migrated = True
            return filled

        return self.ask(tell, self.store.migrate)

    def tables_change(self) -> None:
        """Note that this database will have other tables."""

    @at_rest()
    def a_bulk_insert_is_all_or_nothing(self) -> Any:
        def check(patients: list[dict[str, Any]]) -> None:
            stored = {patient["patient_code"] for patient in patients}
            for code, acknowledged in self.enrolled.items():
                assert not acknowledged or code in stored, f"{code!r} was inserted, and is gone"
                half = f"{code!r} is stored, although its insertion failed"
                assert acknowledged or code not in stored, half

        return self.ask(check, self.store.list_patients)

    @at_rest()
    def a_migrated_patient_has_the_highest_stage(self) -> Any:
        def check(*answers: Any) -> None:
            told, rows = answers[: len(CODES)], answers[len(CODES) :]
            for code, highest, detections in zip(CODES, told, rows, strict=True):
                stages = [detection["stage"] for detection in detections]
                expected = max(stages, default=None)
                assert highest == expected, f"{code!r} has {highest} of stages {stages}"

        if not self.is_migrated:
            return None
        ask = self.store.highest_stage, self.store.get_patient_detections
        return self.ask(check, *[(call, code) for call in ask for code in CODES])


def nothing(_: Any) -> None:
    """Tell nothing of an answer."""


class MigratedPostgres(OnPostgres):
    """A database whose tables are made anew when an execution has changed them."""

    def tables_change(self) -> None:
        migrated(self.dsn)

    def place(self) -> str:
        self.dsn = super().place()
        return self.dsn


class SqliteContention(SchemaContention, Sqlite):
    """Threads, each with a connection of its own to one file."""


class PsycopgContention(MigratedPostgres, SchemaContention, Psycopg):
    """Threads on PostgreSQL, at its own default."""

    isolation = "read committed"


class AsyncpgContention(MigratedPostgres, SchemaContention, Asyncpg):
    """Tasks on PostgreSQL, as if one transaction came after the other."""

    isolation = "serializable"
    cancellable = False


TestSqliteContention = case_of(SqliteContention, 0.2)
TestPsycopgContention = case_of(PsycopgContention, 0.07)
TestAsyncpgContention = case_of(AsyncpgContention, 0.07)
