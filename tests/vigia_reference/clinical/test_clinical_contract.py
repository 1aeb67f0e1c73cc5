"""What the clinical store and the store behind the webhook promise alike, on every database."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from vigia_reference.codes import InvalidPatientCode
from vigia_reference.payloads import DetectionReport, InvalidPayload

pytestmark = pytest.mark.asyncio

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


def report(code: str, *stages: int, **more: Any) -> DetectionReport:
    detections = [
        {"stage": stage, "confidence": 0.25, "bbox": [1, 2, 3, 4], "severity": "low"}
        for stage in stages
    ]
    payload = {"patient_code": code, "detections": detections, "image_path": "a.jpg", **more}
    return DetectionReport.from_payload(payload, str, NOON)


async def test_a_patient_is_created_once_and_found_afterwards(any_store) -> None:
    assert await any_store.find_patient("VG-2025-001") is None
    created = await any_store.get_or_create_patient("VG-2025-001")
    assert await any_store.get_or_create_patient("VG-2025-001") == created
    assert await any_store.find_patient("VG-2025-001") == created
    assert created["patient_code"] == "VG-2025-001"
    assert datetime.fromisoformat(created["created_at"]).tzinfo == UTC


async def test_codes_that_differ_in_any_way_are_different_patients(any_store) -> None:
    codes = [
        "A-1",
        "a-1",
        " A-1",
        "A-1 ",
        "A-01",
        "\uff21-1",
        "\u00c5-1",
        "A\u030a-1",
        "'; --%s$1:x",
    ]
    for code in codes:
        await any_store.get_or_create_patient(code)
    assert [patient["patient_code"] for patient in await any_store.list_patients()] == codes
    for code in codes:
        assert len(await any_store.list_patients(code)) == 1


@pytest.mark.parametrize("code", [None, 7, "", "  ", "x" * 65, "\ud800"])
async def test_what_is_no_code_is_refused_and_nothing_is_stored(any_store, code) -> None:
    with pytest.raises(InvalidPatientCode):
        await any_store.get_or_create_patient(code)
    assert await any_store.list_patients() == []


async def test_fields_keep_the_value_that_was_set_last_whatever_arrives_last(any_store) -> None:
    late, early = NOON + timedelta(seconds=1), NOON
    first = await any_store.update_patient("A", {"gender": "female", "ward": "7"}, late)
    second = await any_store.update_patient("A", {"gender": "male", "bed": 2}, early)
    assert sorted(first.applied) == ["gender", "ward"]
    assert second.applied == ("bed",)
    patient = await any_store.find_patient("A")
    assert patient["gender"] == "female"
    assert patient["attributes"] == {"ward": "7", "bed": 2}
    assert patient["updated_at"] > patient["created_at"]


@pytest.mark.parametrize(
    "factors", [{"diabetes": True, "ñ": [1, 2.5, None, "x"]}, [1], "text", 0, False, {}, None]
)
async def test_json_values_come_back_as_they_were(any_store, factors) -> None:
    await any_store.update_patient("A", {"risk_factors": factors, "other": factors})
    patient = await any_store.find_patient("A")
    assert patient["risk_factors"] == factors
    assert patient["attributes"]["other"] == factors


@pytest.mark.parametrize("changes", [{"gender": "?"}, {"age_range": "7"}, {"x": math.nan}])
async def test_values_that_the_table_does_not_allow_are_refused(any_store, changes) -> None:
    with pytest.raises(InvalidPayload):
        await any_store.update_patient("A", changes)
    assert await any_store.find_patient("A") is None


async def test_a_report_becomes_rows_and_the_newest_detection_comes_first(any_store) -> None:
    first = await any_store.save_detection(report("A", 1, 2, risk_level="HIGH"))
    second = await any_store.save_detection(report("A", 3, processing_time=0.5))
    found = await any_store.get_patient_detections("A")
    assert [one["stage"] for one in found] == [3, 2, 1]
    assert [one["detection_id"] for one in found] == [
        *second.detection_ids,
        *reversed(first.detection_ids),
    ]
    assert found[0] == second.latest
    assert found[1] == first.latest
    assert found[0]["processing_time_ms"] == 500.0
    assert found[1]["bbox"] == [1, 2, 3, 4]
    assert found[1]["model"] == {"name": "vigia-lpp", "version": "1.0"}
    assert (await any_store.find_patient("A"))["detection_count"] == 3
    assert await any_store.get_patient_detections("A", 1) == found[:1]
    assert await any_store.get_patient_detections("B") == []


async def test_a_report_without_lesions_is_an_image(any_store) -> None:
    saved = await any_store.save_detection(report("A"))
    assert saved.detection_ids == ()
    assert saved.latest is None
    assert await any_store.get_patient_detections("A") == []


async def test_a_report_tells_news_of_the_patient(any_store) -> None:
    await any_store.save_detection(report("A", 1, patient_info={"gender": "other", "bed": 1}))
    patient = await any_store.find_patient("A")
    assert (patient["gender"], patient["attributes"]) == ("other", {"bed": 1})


async def test_many_at_once_make_one_patient_and_lose_no_detection(any_store) -> None:
    reports = [any_store.save_detection(report("A", stage)) for stage in (0, 1, 2, 3, 4)]
    creations = [any_store.get_or_create_patient("A") for _ in range(3)]
    await asyncio.gather(*reports, *creations)
    assert len(await any_store.list_patients()) == 1
    assert sorted(one["stage"] for one in await any_store.get_patient_detections("A")) == [
        *range(5)
    ]
    assert (await any_store.find_patient("A"))["detection_count"] == 5


async def test_a_row_of_the_audit_log_can_be_written(any_store) -> None:
    assert await any_store.record_audit("seen", "patient", None, {"by": "ñ"})
