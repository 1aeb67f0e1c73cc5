"""Reads through the cache agree with the store."""

import asyncio
import sqlite3
import threading
from typing import Any

import pytest

from tests.vigia_reference.payload_samples import detection
from vigia_reference import DetectionReport, System
from vigia_reference.cache import latest_detection_key, profile_key
from vigia_reference.records import LATEST_DETECTION_TTL


def report(code: str = "A-1", **more: Any) -> DetectionReport:
    return DetectionReport.from_payload(detection(code, **more), str)


def test_the_newest_detection_is_cached_for_an_hour() -> None:
    assert LATEST_DETECTION_TTL == 3600
    assert latest_detection_key("A-1") == "detection:latest:A-1"


@pytest.mark.asyncio
async def test_saving_a_detection_caches_it(system: System) -> None:
    await system.records.save_detection(report())
    stored = await system.store.get_patient_detections("A-1")
    assert await system.cache.get("detection:latest:A-1") == stored[0]
    assert await system.records.latest_detection("A-1") == stored[0]


@pytest.mark.asyncio
async def test_a_patient_is_cached_when_read_and_dropped_when_changed(system: System) -> None:
    assert await system.records.patient("A-1") is None
    await system.records.save_detection(report())
    assert await system.records.patient("A-1") == await system.store.find_patient("A-1")
    assert await system.cache.get(profile_key("A-1")) is not None
    await system.records.update_patient("A-1", {"gender": "female"})
    assert await system.cache.get(profile_key("A-1")) is None


@pytest.mark.asyncio
async def test_a_read_that_a_write_overtakes_is_not_cached(system: System) -> None:
    await system.records.save_detection(report())
    gate = threading.Event()
    find = system.store._find

    def slow_find(connection: sqlite3.Connection, code: str) -> dict[str, Any] | None:
        found = find(connection, code)
        gate.wait(5)
        return found

    system.store._find = slow_find  # type: ignore[method-assign]
    reading = asyncio.create_task(system.records.patient("A-1"))
    await asyncio.sleep(0)
    system.store._find = find  # type: ignore[method-assign]
    writing = asyncio.create_task(system.records.update_patient("A-1", {"gender": "female"}))
    await asyncio.sleep(0)
    gate.set()
    old = await reading
    await writing
    assert old is not None
    assert old["gender"] is None
    fresh = await system.records.patient("A-1")
    assert fresh is not None
    assert fresh["gender"] == "female"
