"""A detection goes in over HTTP, and is there."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp

from vigia_reference import System

PAYLOAD = {"patient_code": "CD-2025-001", "detections": [{"stage": 2, "confidence": 0.85}]}


def test_the_server_says_that_it_is_healthy(with_system: Callable[..., Any]) -> None:
    async def use(system: System) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{system.url}/health") as answer,
        ):
            return answer.status, (await answer.json())["status"]

    assert with_system(use) == (200, "healthy")


def test_a_detection_is_stored_for_its_patient(with_system: Callable[..., Any]) -> None:
    async def use(system: System) -> list[dict[str, Any]]:
        async with system.client() as client:
            assert (await client.send_detection(PAYLOAD)).success
        return await system.store.get_patient_detections("CD-2025-001")

    (found,) = with_system(use)
    assert found["stage"] == 2


def test_detections_that_arrive_together_make_one_patient(with_system: Callable[..., Any]) -> None:
    async def use(system: System) -> tuple[int, int]:
        async with system.client() as client:
            answers = await asyncio.gather(*(client.send_detection(PAYLOAD) for _ in range(8)))
        assert all(answer.success for answer in answers)
        detections = await system.store.get_patient_detections("CD-2025-001")
        return len(await system.store.list_patients()), len(detections)

    assert with_system(use) == (1, 8)


def test_an_event_that_is_delivered_twice_is_stored_once(with_system: Callable[..., Any]) -> None:
    async def use(system: System) -> int:
        event = {"event_type": "detection.completed", "payload": PAYLOAD, "webhook_id": "the-same"}
        async with system.client() as client:
            for _ in range(2):
                assert (await client.send_async(event)).success
        return len(await system.store.get_patient_detections("CD-2025-001"))

    assert with_system(use) == 1


def test_an_unknown_event_is_refused(with_system: Callable[..., Any]) -> None:
    async def use(system: System) -> tuple[bool, int, str]:
        async with system.client() as client:
            answer = await client.send_async({"event_type": "moon.landed", "payload": {}})
        return answer.success, answer.status_code, answer.message

    assert with_system(use) == (False, 400, "Invalid event_type: moon.landed")
