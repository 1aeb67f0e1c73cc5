"""Patients and detections."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from tests.vigia_reference.payload_samples import detection
from vigia_reference.database import Database
from vigia_reference.payloads import DetectionReport, InvalidPayload
from vigia_reference.store import PatientStore

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


class Opened:
    """A store and a way to look behind it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = PatientStore(database)

    async def count(self, table: str) -> int:
        return await self.database.run(
            lambda connection: int(
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            )
        )


@pytest_asyncio.fixture
async def opened() -> AsyncIterator[Opened]:
    database = Database()
    await database.open()
    yield Opened(database)
    await database.close()


def report(code: str = "A-1", **more: Any) -> DetectionReport:
    return DetectionReport.from_payload(detection(code, **more), str)


@pytest.mark.asyncio
async def test_one_code_is_one_patient_however_many_ask_at_once(opened: Opened) -> None:
    patients = await asyncio.gather(*[opened.store.get_or_create_patient("A-1") for _ in range(20)])
    assert len({patient["id"] for patient in patients}) == 1
    assert await opened.count("patients") == 1


@pytest.mark.asyncio
async def test_a_report_becomes_image_model_detections_and_one_audit_row(opened: Opened) -> None:
    lesions = [{"stage": stage, "confidence": 0.5} for stage in range(3)]
    saved = await opened.store.save_detection(report(detections=lesions))
    assert len(saved.detection_ids) == 3
    expected = {"patients": 1, "lpp_images": 1, "models": 1, "lpp_detections": 3, "system_logs": 1}
    assert {table: await opened.count(table) for table in expected} == expected


@pytest.mark.asyncio
async def test_a_failure_half_way_leaves_nothing(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr(PatientStore, "_audit", fail)
    with pytest.raises(sqlite3.OperationalError):
        await opened.store.save_detection(report())
    assert await opened.count("patients") == await opened.count("lpp_images") == 0


@pytest.mark.asyncio
async def test_detections_come_newest_first_and_are_all_counted(opened: Opened) -> None:
    for stage in (1, 2, 3):
        await opened.store.save_detection(report(detections=[{"stage": stage, "confidence": 1}]))
    stages = [found["stage"] for found in await opened.store.get_patient_detections("A-1")]
    assert stages == [3, 2, 1]
    assert len(await opened.store.get_patient_detections("A-1", limit=1)) == 1
    assert (await opened.store.get_or_create_patient("A-1"))["detection_count"] == 3


@pytest.mark.asyncio
async def test_concurrent_reports_are_all_counted(opened: Opened) -> None:
    await asyncio.gather(*[opened.store.save_detection(report()) for _ in range(20)])
    patient = await opened.store.find_patient("A-1")
    assert patient is not None
    assert patient["detection_count"] == 20


@pytest.mark.asyncio
async def test_an_older_update_does_not_overwrite_a_newer_value(opened: Opened) -> None:
    await opened.store.update_patient("A-1", {"gender": "female"}, NOON)
    earlier = NOON - timedelta(seconds=1)
    late = await opened.store.update_patient(
        "A-1", {"gender": "male", "mobility_status": "walks"}, earlier
    )
    assert late.applied == ("mobility_status",)
    assert late.patient["gender"] == "female"
    assert late.patient["mobility_status"] == "walks"


@pytest.mark.asyncio
async def test_of_two_updates_with_one_time_the_later_to_arrive_wins(opened: Opened) -> None:
    await opened.store.update_patient("A-1", {"gender": "female"}, NOON)
    again = await opened.store.update_patient("A-1", {"gender": "other"}, NOON)
    assert again.patient["gender"] == "other"


@pytest.mark.asyncio
async def test_fields_without_a_column_are_kept_as_attributes(opened: Opened) -> None:
    changed = await opened.store.update_patient(
        "A-1", {"status": "in ward", "risk_factors": ["diabetes"]}
    )
    assert changed.patient["attributes"] == {"status": "in ward"}
    assert changed.patient["risk_factors"] == ["diabetes"]


@pytest.mark.asyncio
async def test_patient_info_in_a_report_follows_the_order_of_time_too(opened: Opened) -> None:
    await opened.store.update_patient("A-1", {"age_range": "61-80"}, NOON)
    payload = detection("A-1", patient_info={"age_range": "81+"})
    old = DetectionReport.from_payload(payload, str, NOON - timedelta(days=1))
    await opened.store.save_detection(old)
    assert (await opened.store.get_or_create_patient("A-1"))["age_range"] == "61-80"


@pytest.mark.asyncio
async def test_a_value_that_the_table_does_not_allow_is_rejected(opened: Opened) -> None:
    with pytest.raises(InvalidPayload):
        await opened.store.update_patient("A-1", {"age_range": "old"})
    assert await opened.store.list_patients() == []
