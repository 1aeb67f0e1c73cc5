"""The tables themselves: what they refuse, and that both databases refuse the same."""

import re
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.vigia_reference.clinical.conftest import place
from vigia_reference.clinical import Isolation, sync_store
from vigia_reference.clinical.attempts import Begin
from vigia_reference.clinical.errors import (
    CheckViolation,
    ForeignKeyViolation,
    MissingValue,
    UniqueViolation,
)
from vigia_reference.clinical.statements import query
from vigia_reference.clinical.tables import (
    EMPTIED,
    TABLES,
    empty_sqlite_file,
    postgresql_statements,
)

ONE, TWO = (str(uuid.UUID(int=number)) for number in (1, 2))
NOW = datetime(2025, 6, 1, tzinfo=UTC)

PATIENT = """
INSERT INTO clinical_data.patients (id, patient_code, gender, created_at, updated_at)
VALUES (:id, :code, :gender, :now, :now)
"""
PLAN = """
INSERT INTO clinical_data.care_plans (id, patient_id, intervention_type, recommendations, status,
    created_at)
VALUES (:id, :patient_id, 'x', 'y', :status, :now)
"""
VALIDATION = """
INSERT INTO ml_operations.medical_validations (id, detection_id, validator_id, validation_score,
    created_at)
VALUES (:id, :id, :id, :score, :now)
"""

COLUMNS = {
    "sqlite": """
SELECT m.name, c.name FROM sqlite_schema AS m, pragma_table_info(m.name) AS c
WHERE m.type = 'table'
""",
    "psycopg": """
SELECT CAST(table_name AS text), CAST(column_name AS text) FROM information_schema.columns
WHERE table_schema IN ('clinical_data', 'staff_data', 'ml_operations', 'audit_logs')
""",
}


@pytest.fixture
def connection(blocking):
    with blocking.pool.connection() as lent:
        lent.begin(Begin(Isolation.SERIALIZABLE))
        lent.query(query(PATIENT, id=ONE, code="A", gender="other", now=NOW))
        yield lent


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        (query(PATIENT, id=TWO, code="A", gender=None, now=NOW), UniqueViolation),
        (query(PATIENT, id=ONE, code="B", gender=None, now=NOW), UniqueViolation),
        (query(PATIENT, id=TWO, code="B", gender="f", now=NOW), CheckViolation),
        (query(PATIENT, id=TWO, code=None, gender=None, now=NOW), MissingValue),
        (query(PATIENT, id=TWO, code="B", gender=None, now=None), MissingValue),
        (query(PLAN, id=ONE, patient_id=ONE, status="lost", now=NOW), CheckViolation),
        (query(VALIDATION, id=ONE, score=6, now=NOW), CheckViolation),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused(connection, statement, refusal) -> None:
    with pytest.raises(refusal):
        connection.query(statement)


def test_a_reference_to_nothing_is_refused_at_the_latest_by_the_commit(connection) -> None:
    def write() -> None:
        connection.query(query(PLAN, id=ONE, patient_id=TWO, status="active", now=NOW))
        connection.commit()

    with pytest.raises(ForeignKeyViolation):
        write()


def test_of_two_active_plans_the_second_is_refused(connection) -> None:
    for plan, status in ((uuid.UUID(int=8), "completed"), (uuid.UUID(int=9), "active")):
        connection.query(query(PLAN, id=str(plan), patient_id=ONE, status=status, now=NOW))
    with pytest.raises(UniqueViolation):
        connection.query(query(PLAN, id=ONE, patient_id=ONE, status="active", now=NOW))


def test_who_changes_a_patient_by_hand_has_the_time_written_for_them(connection) -> None:
    find = query("SELECT updated_at FROM clinical_data.patients")
    by_program = "UPDATE clinical_data.patients SET gender = 'male', updated_at = :now"
    later = datetime(2025, 6, 2, tzinfo=UTC)
    connection.query(query(by_program, now=later))
    ((said,),) = connection.query(find)
    assert _day(said) == (2025, 6, 2)
    connection.query(query("UPDATE clinical_data.patients SET gender = 'female'"))
    ((written,),) = connection.query(find)
    assert _day(written) > (2025, 6, 2)


def _day(moment: object) -> tuple[int, int, int]:
    text = moment.isoformat() if isinstance(moment, datetime) else str(moment)
    year, month, day = datetime.fromisoformat(text).timetuple()[:3]
    return year, month, day


def test_every_table_has_the_columns_that_it_has_in_the_other_database(tmp_path: Path) -> None:
    columns = []
    for backend, ask in COLUMNS.items():
        store = sync_store(backend, place(backend, tmp_path))
        with store.pool.connection() as connection:
            columns.append(
                sorted({*connection.query(query(ask))} - {("patients", "highest_stage")})
            )
        store.close()
    assert columns[0] == columns[1]
    assert len({table for table, _ in columns[0]}) == 10


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_file_with_the_tables_can_be_written_at_once(tmp_path: Path, journal: str) -> None:
    (tmp_path / "vigia.db").write_bytes(empty_sqlite_file())
    store = sync_store("sqlite", str(tmp_path / "vigia.db"), journal=journal)
    assert not store.install()
    store.get_or_create_patient("A")
    with store.pool.connection() as connection:
        assert connection.query(query("PRAGMA journal_mode")) == [(journal,)]
    store.close()


def test_all_tables_with_data_are_emptied() -> None:
    made = re.findall(r"CREATE TABLE (\S+)", TABLES)
    assert sorted([*EMPTIED, "clinical_data.migrations"]) == sorted(made)


def test_no_column_takes_its_identity_or_time_from_the_server() -> None:
    for statement in postgresql_statements():
        if "CREATE TABLE" in statement:
            assert not re.search(r"gen_random|serial|GENERATED|DEFAULT now|nextval", statement)


def test_no_driver_is_needed_until_a_store_of_its_own_is_made() -> None:
    program = """
import sys
for driver in ("asyncpg", "psycopg", "aiosqlite"):
    sys.modules[driver] = None
import tempfile, vigia_reference, vigia_reference.defects, targets.vigia_reference
from vigia_reference.clinical import sync_store, async_store
with tempfile.TemporaryDirectory() as folder:
    store = sync_store("sqlite", f"{folder}/vigia.db")
    store.install()
    store.get_or_create_patient("A")
    store.close()
try:
    async_store("asyncpg", "")
except ImportError as error:
    print(error.name)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "asyncpg"
