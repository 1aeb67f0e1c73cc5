"""The constraints that the hosted database has too."""

import sqlite3
from collections.abc import Iterator

import pytest

from vigia_reference.schema import empty_database


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(":memory:", isolation_level=None)
    opened.deserialize(empty_database())
    opened.execute("PRAGMA foreign_keys = ON")
    opened.execute(
        "INSERT INTO patients (id, patient_code, created_at, updated_at) VALUES ('p', 'A', '', '')"
    )
    opened.execute(
        "INSERT INTO models (id, model_name, model_version, model_type, model_path)"
        " VALUES ('m', 'lpp', '1', '', '')"
    )
    opened.execute(
        "INSERT INTO lpp_images (id, patient_id, file_path, file_hash, created_at)"
        " VALUES ('i', 'p', '', '', '')"
    )
    opened.execute("INSERT INTO medical_staff (id, staff_code, role) VALUES ('s', 'S', 'nurse')")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO patients (id, patient_code, created_at, updated_at) VALUES ('q', 'A', '', '')",
        "INSERT INTO patients (id, created_at, updated_at) VALUES ('q', '', '')",
        "UPDATE patients SET age_range = '17'",
        "UPDATE patients SET gender = 'x'",
        (
            "INSERT INTO models (id, model_name, model_version, model_type, model_path)"
            " VALUES ('n', 'lpp', '1', '', '')"
        ),
        (
            "INSERT INTO lpp_images (id, patient_id, file_path, file_hash, created_at)"
            " VALUES ('j', 'nobody', '', '', '')"
        ),
        "UPDATE lpp_images SET image_type = 'sketch'",
        (
            "INSERT INTO lpp_detections (id, image_id, model_id, detection_results, lpp_stage,"
            " confidence_score, created_at) VALUES ('d', 'i', 'm', '{}', 5, 0.5, '')"
        ),
        (
            "INSERT INTO lpp_detections (id, image_id, model_id, detection_results, lpp_stage,"
            " confidence_score, created_at) VALUES ('d', 'i', 'm', '{}', 2, 1.5, '')"
        ),
        "INSERT INTO medical_staff (id, staff_code, role) VALUES ('t', 'S', 'nurse')",
        "UPDATE medical_staff SET role = 'visitor'",
        (
            "INSERT INTO care_plans (id, patient_id, intervention_type, recommendations, status,"
            " created_at) VALUES ('c', 'p', 'x', 'y', 'lost', '')"
        ),
    ],
)
def test_a_row_that_breaks_a_constraint_is_refused(
    connection: sqlite3.Connection, statement: str
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)


def test_deleting_a_patient_deletes_the_images(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM patients")
    assert connection.execute("SELECT count(*) FROM lpp_images").fetchone() == (0,)
