"""What only the clinical store has: care plans, assessments, bulk work, deletion, migration."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.vigia_reference.clinical.conftest import place
from vigia_reference.clinical import (
    Isolation,
    SharedModels,
    async_store,
    isolation_levels,
    sync_store,
)
from vigia_reference.clinical.errors import (
    CarePlanNotFound,
    CheckViolation,
    DetectionNotFound,
    DuplicatePatient,
    ForeignKeyViolation,
    NotMigrated,
    PatientNotFound,
    Unavailable,
    UniqueViolation,
)
from vigia_reference.codes import InvalidPatientCode
from vigia_reference.payloads import DetectedLesion, DetectionReport, InvalidPayload

NOBODY = "00000000-0000-4000-8000-000000000000"


def report(code: str, *stages: int, path: str = "a.jpg") -> DetectionReport:
    lesions = tuple([DetectedLesion(stage, 0.5, "{}") for stage in stages])
    return DetectionReport(code, lesions, image_path=path, image_hash="00")


@pytest.mark.asyncio
async def test_a_report_that_fails_half_way_leaves_nothing_behind(store) -> None:
    with pytest.raises(CheckViolation):
        await store.save_detection(report("A", 2, 9))
    assert await store.list_patients() == []
    assert await store.list_images() == []
    assert await store.list_models() == []
    assert await store.list_audit() == []


@pytest.mark.asyncio
async def test_every_image_that_is_stored_is_in_the_audit_log(store) -> None:
    saved = await store.save_detection(report("A", 2, 4, path="b.jpg"))
    assert await store.list_images() == [("b.jpg", "A", 2)]
    assert await store.unaudited_images() == []
    (row,) = await store.list_audit()
    assert (row["event_type"], row["entity_id"]) == ("detection.completed", saved.image_id)
    assert row["details"] == {"patient_code": "A", "detections": 2}


@pytest.mark.asyncio
async def test_risk_factors_are_merged_and_those_without_a_value_taken_out(store) -> None:
    await store.get_or_create_patient("A")
    await store.update_risk_factors("A", {"diabetes": True, "age": 80})
    patient = await store.update_risk_factors("A", {"diabetes": None, "immobile": "partly"})
    assert patient["risk_factors"] == {"age": 80, "immobile": "partly"}
    assert await store.find_patient("A") == patient
    with pytest.raises(PatientNotFound):
        await store.update_risk_factors("B", {"age": 1})
    await store.update_patient("A", {"risk_factors": [1]})
    with pytest.raises(InvalidPayload):
        await store.update_risk_factors("A", {"age": 1})


@pytest.mark.asyncio
async def test_a_patient_has_at_most_one_active_plan(store) -> None:
    await store.get_or_create_patient("A")
    first = await store.open_care_plan("A", "turning", "every two hours", follow_up_days=7)
    again = await store.open_care_plan("A", "cream", "twice a day")
    assert first["opened"]
    assert again == {**first, "opened": False}
    assert (await store.close_care_plan(first["id"], "cancelled"))["status"] == "cancelled"
    second = await store.open_care_plan("A", "cream", "twice a day")
    assert second["opened"]
    assert (await store.resume_care_plan(first["id"]))["id"] == second["id"]
    await store.close_care_plan(second["id"])
    assert (await store.resume_care_plan(first["id"]))["status"] == "active"
    plans = await store.list_care_plans("A")
    assert [plan["status"] for plan in plans] == ["active", "completed"]


@pytest.mark.asyncio
async def test_a_plan_belongs_to_a_known_patient_and_to_a_detection_of_theirs(store) -> None:
    mine = await store.save_detection(report("A", 1))
    other = await store.save_detection(report("B", 1))
    with pytest.raises(PatientNotFound):
        await store.open_care_plan("C", "x", "y")
    with pytest.raises(DetectionNotFound):
        await store.open_care_plan("A", "x", "y", detection_id=other.detection_ids[0])
    plan = await store.open_care_plan("A", "x", "y", detection_id=mine.detection_ids[0])
    assert plan["detection_id"] == mine.detection_ids[0]
    for unknown in (NOBODY, "nonsense", ""):
        with pytest.raises(CarePlanNotFound):
            await store.close_care_plan(unknown)
        with pytest.raises(CarePlanNotFound):
            await store.resume_care_plan(unknown)
    with pytest.raises(ValueError):
        await store.close_care_plan(plan["id"], "active")


@pytest.mark.asyncio
async def test_assessments_are_made_by_staff_of_known_patients(store) -> None:
    nurse = await store.register_staff("N-1", "nurse", ["wounds", "ñ"])
    with pytest.raises(UniqueViolation):
        await store.register_staff("N-1", "doctor")
    with pytest.raises(CheckViolation):
        await store.register_staff("N-2", "visitor")
    with pytest.raises(PatientNotFound):
        await store.record_assessment("A", braden_score=9)
    await store.get_or_create_patient("A")
    with pytest.raises(ForeignKeyViolation):
        await store.record_assessment("A", assessor_id=NOBODY)
    made = await store.record_assessment(
        "A", braden_score=9, assessor_id=nurse, additional_data={"skin": "dry"}, notes="-"
    )
    (one,) = await store.list_assessments("A")
    assert (one["id"], one["braden_score"], one["assessor_id"]) == (made, 9, nurse)
    assert one["additional_data"] == {"skin": "dry"}


@pytest.mark.asyncio
async def test_a_bulk_insert_is_all_or_nothing(store) -> None:
    await store.get_or_create_patient("C")
    with pytest.raises(DuplicatePatient):
        await store.bulk_insert(["B", "C", "A"])
    with pytest.raises(DuplicatePatient):
        await store.bulk_insert(["D", "D"])
    assert [one["patient_code"] for one in await store.list_patients()] == ["C"]
    ids = await store.bulk_insert(["B", "A"])
    assert ids == [(await store.find_patient(code))["id"] for code in "BA"]


@pytest.mark.asyncio
async def test_possible_duplicates_are_noted_with_both(store) -> None:
    await store.bulk_insert(["A-1", "a-1", "A-01"])
    await store.mark_possible_duplicates("A-1", "a-1")
    await store.mark_possible_duplicates("A-01", "A-1")
    noted = {
        one["patient_code"]: one["attributes"]["possible_duplicates"]
        for one in await store.list_patients()
    }
    assert noted == {"A-1": ["A-01", "a-1"], "a-1": ["A-1"], "A-01": ["A-1"]}
    with pytest.raises(PatientNotFound):
        await store.mark_possible_duplicates("A-1", "B-1")
    with pytest.raises(ValueError):
        await store.mark_possible_duplicates("A-1", "A-1")


@pytest.mark.asyncio
async def test_a_deleted_patient_takes_along_all_that_was_theirs(store) -> None:
    saved = await store.save_detection(report("A", 1, 2))
    await store.save_detection(report("B", 3, path="b.jpg"))
    await store.record_assessment("A", norton_score=5)
    await store.open_care_plan("A", "x", "y", detection_id=saved.detection_ids[0])
    assert await store.delete_patient("A")
    assert not await store.delete_patient("A")
    assert [one["patient_code"] for one in await store.list_patients()] == ["B"]
    assert await store.list_images() == [("b.jpg", "B", 1)]
    assert await store.list_care_plans("A") == []
    assert await store.list_assessments("A") == []
    assert [row["event_type"] for row in await store.list_audit()].count("patient.deleted") == 1
    assert (await store.get_or_create_patient("A"))["detection_count"] == 0


@pytest.mark.asyncio
async def test_what_postgresql_cannot_hold_is_refused_everywhere(store) -> None:
    with pytest.raises(InvalidPatientCode):
        await store.get_or_create_patient("A\0")
    for changes in ({"ward": "\0"}, {"mobility_status": "\0"}, {"ward": "\ud800"}, {"\0": 1}):
        with pytest.raises(InvalidPayload):
            await store.update_patient("A", changes)
    backslash = {"ward": "\\u0000"}
    assert (await store.update_patient("A", backslash)).patient["attributes"] == backslash


@pytest.mark.asyncio
async def test_models_that_detections_came_from_are_known(store) -> None:
    await store.save_detection(report("A", 1))
    assert await store.register_model("lpp", "2") == await store.register_model("lpp", "2")
    listed = await store.list_models()
    assert [(one["name"], one["version"]) for one in listed] == [("vigia-lpp", "1.0"), ("lpp", "2")]
    assert SharedModels(lambda: listed).registry().find("lpp", "2").path == "models/lpp-2"


@pytest.mark.asyncio
async def test_a_cancelled_caller_learns_of_it_after_the_commit(tmp_path: Path) -> None:
    where = await asyncio.to_thread(place, "aiosqlite", tmp_path)
    store = async_store("aiosqlite", where)
    saving = asyncio.ensure_future(store.save_detection(report("A", 1)))
    await asyncio.sleep(0)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert len(await store.get_patient_detections("A")) == 1
    await store.close()


@pytest.fixture
def fresh(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[str, str]:
    """A database without tables."""
    if backend in {"sqlite", "aiosqlite"}:
        return backend, str(tmp_path / "fresh.db")
    where = place(backend, tmp_path)
    store = sync_store("psycopg", where)
    with store.pool.connection() as connection:
        connection._connection.execute(
            "DROP SCHEMA clinical_data, staff_data, ml_operations, audit_logs CASCADE"
        )
    store.close()
    return backend, where


@pytest.mark.asyncio
async def test_the_tables_are_made_once_also_when_two_make_them(fresh) -> None:
    backend, where = fresh
    stores = [_asked(backend, where) for _ in range(2)]
    made = await asyncio.gather(*[store.install() for store in stores])
    assert sorted(made) == [False, True]
    await stores[0].get_or_create_patient("A")
    assert not await stores[1].install()
    assert len(await stores[1].list_patients()) == 1
    for store in stores:
        await store.close()


@pytest.mark.asyncio
async def test_a_migration_fills_in_who_was_there_and_follows_who_comes(fresh) -> None:
    backend, where = fresh
    store = _asked(backend, where)
    await store.install()
    await store.save_detection(report("A", 1, 3))
    await store.get_or_create_patient("B")
    with pytest.raises(NotMigrated):
        await store.highest_stage("A")
    filled = await asyncio.gather(
        store.migrate(), store.migrate(), store.save_detection(report("A", 2))
    )
    assert sum(filled[:2]) <= 1
    await store.save_detection(report("C", 4))
    await store.save_detection(report("C", 0))
    assert [await store.highest_stage(code) for code in "ABCD"] == [3, None, 4, None]
    assert len(await store.get_patient_detections("A")) == 3
    await store.close()


@pytest.mark.asyncio
async def test_a_database_that_is_not_there_is_reported_as_unavailable(
    backend: str, tmp_path: Path
) -> None:
    nowhere = (
        str(tmp_path / "missing" / "vigia.db")
        if "sqlite" in backend
        else "postgresql://nobody@127.0.0.1:1/nothing"
    )
    store = _asked(backend, nowhere)
    for _ in range(10):
        with pytest.raises(Unavailable):
            await store.list_patients()
    await store.close()


def test_a_level_or_a_driver_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="always serializable"):
        sync_store("sqlite", "x.db", isolation="read committed")
    with pytest.raises(ValueError, match="'asyncpg' is not among sqlite, psycopg"):
        sync_store("asyncpg", "")
    with pytest.raises(ValueError, match="'mysql' is not among"):
        async_store("mysql", "")
    with pytest.raises(ValueError, match="no backend 'mysql'"):
        isolation_levels("mysql")
    with pytest.raises(ValueError, match="snapshot"):
        sync_store("psycopg", "", isolation="snapshot")
    assert isolation_levels("psycopg") == tuple(Isolation)


def _asked(backend: str, where: str) -> Any:
    from tests.vigia_reference.clinical.conftest import Asked

    make = sync_store if backend in {"sqlite", "psycopg"} else async_store
    return Asked(make(backend, where))
