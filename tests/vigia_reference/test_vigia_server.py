"""The contract of the HTTP interface."""

import asyncio
import json
import time
from datetime import datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from tests.vigia_reference.payload_samples import completed, updated
from vigia_reference import Delivery, EventType, RateLimits, Settings, System

MINIMAL = {
    "event_type": "DETECTION_COMPLETED",
    "payload": {"patient_code": "TEST-17", "detections": [{"confidence": 0.85, "stage": 2}]},
}


async def post(
    http: aiohttp.ClientSession, system: System, body: Any, **options: Any
) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body)
    async with http.post(f"{system.url}/webhook", data=data, **options) as answer:
        return answer.status, await answer.json()


async def get(http: aiohttp.ClientSession, system: System, path: str) -> tuple[int, dict[str, Any]]:
    async with http.get(f"{system.url}{path}") as answer:
        return answer.status, await answer.json()


def test_the_default_port_is_8000() -> None:
    assert Settings().port == 8000


@pytest.mark.asyncio
async def test_the_documents_minimal_body_is_accepted(
    system: System, http: aiohttp.ClientSession
) -> None:
    status, answer = await post(http, system, MINIMAL)
    assert status == 200
    assert answer["success"] is True
    assert answer["message"] == "Event processed successfully"
    assert answer["data"]["processed_by"] == 1
    assert answer["data"]["results"][0]["success"] is True
    assert len(await system.store.get_patient_detections("TEST-17")) == 1


@pytest.mark.asyncio
async def test_the_health_page_says_healthy_and_the_time(
    system: System, http: aiohttp.ClientSession
) -> None:
    status, answer = await get(http, system, "/health")
    assert status == 200
    assert (answer["status"], answer["version"]) == ("healthy", "1.0.0")
    assert datetime.fromisoformat(answer["timestamp"]).tzinfo is not None


@pytest.mark.asyncio
async def test_the_events_page_names_events_and_counts_handlers(
    system: System, http: aiohttp.ClientSession
) -> None:
    async def more(delivery: Delivery) -> None: ...

    system.handlers.register(EventType.ANALYSIS_READY, more)
    status, answer = await get(http, system, "/webhook/events")
    assert status == 200
    assert answer["events"] == [event.value for event in EventType]
    assert answer["handlers"]["analysis.ready"] == 2
    assert answer["handlers"]["detection.completed"] == 1


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"not json", 422, "Request body must be a JSON object"),
        (b"[1]", 422, "Request body must be a JSON object"),
        ({}, 400, "Missing event_type"),
        ({"event_type": "x"}, 400, "Invalid event_type: x"),
    ],
)
@pytest.mark.asyncio
async def test_what_is_no_event_is_answered_with_an_error(
    system: System, http: aiohttp.ClientSession, body: Any, status: int, message: str
) -> None:
    assert await post(http, system, body) == (status, {"success": False, "message": message})


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "Authorization header required"),
        ("Basic abc", "Invalid authorization format"),
        ("Bearer", "Invalid authorization format"),
        ("Bearer wrong", "Invalid API key"),
        ("Bearer contraseña", "Invalid API key"),
    ],
)
@pytest.mark.asyncio
async def test_without_the_key_a_request_is_unauthorized(
    http: aiohttp.ClientSession, header: str | None, message: str
) -> None:
    headers = {} if header is None else {"Authorization": header}
    async with System(Settings(port=0, api_key="secret")) as system:
        status, answer = await post(http, system, MINIMAL, headers=headers)
        assert (status, answer["message"]) == (401, message)
        assert (await get(http, system, "/patients"))[0] == 401
        assert (await get(http, system, "/health"))[0] == 200
        right = {"Authorization": "Bearer secret"}
        assert (await post(http, system, MINIMAL, headers=right))[0] == 200


def test_an_empty_key_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="api_key"):
        Settings(api_key="")


@pytest.mark.parametrize(
    ("path", "limits"),
    [
        ("/health", RateLimits(health=2)),
        ("/webhook/events", RateLimits(events=2)),
    ],
)
@pytest.mark.asyncio
async def test_one_request_too_many_is_told_when_to_come_back(
    http: aiohttp.ClientSession, path: str, limits: RateLimits
) -> None:
    async with System(Settings(port=0, rate_limits=limits)) as system:
        for _ in range(2):
            assert (await get(http, system, path))[0] == 200
        async with http.get(f"{system.url}{path}") as answer:
            assert answer.status == 429
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert answer.headers["X-RateLimit-Limit"] == "2"
            assert answer.headers["X-RateLimit-Remaining"] == "0"
            assert 0 < int(answer.headers["X-RateLimit-Reset"]) - time.time() <= 62


@pytest.mark.asyncio
async def test_exactly_the_allowed_webhooks_pass_when_many_come_at_once(
    http: aiohttp.ClientSession,
) -> None:
    async with System(Settings(port=0, rate_limits=RateLimits(webhook=3))) as system:
        answers = await asyncio.gather(*[post(http, system, MINIMAL) for _ in range(10)])
        assert sorted(status for status, _ in answers) == [200] * 3 + [429] * 7


@pytest.mark.asyncio
async def test_requests_are_not_limited_unless_asked(
    system: System, http: aiohttp.ClientSession
) -> None:
    statuses = {(await get(http, system, "/webhook/events"))[0] for _ in range(40)}
    assert statuses == {200}


@pytest.mark.asyncio
async def test_an_unexpected_error_is_answered_without_details(
    system: System,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("secret detail")

    monkeypatch.setattr(system.store, "_find", fail)
    status, answer = await get(http, system, "/patients/A-1")
    assert (status, answer["message"]) == (500, "Internal server error")
    assert "GET /patients/A-1 failed" in caplog.text


@pytest.mark.asyncio
async def test_a_patient_can_be_read_with_the_latest_detection(
    system: System, http: aiohttp.ClientSession
) -> None:
    await post(http, system, completed("A-1", image_path="/a.jpg"))
    await post(http, system, updated("A-1", gender="female"))
    _, patient = await get(http, system, "/patients/A-1")
    assert (patient["gender"], patient["detection_count"]) == ("female", 1)
    _, listed = await get(http, system, "/patients/A-1/detections")
    _, latest = await get(http, system, "/patients/A-1/detections/latest")
    assert listed["detections"] == [latest]
    assert latest["image_path"] == "/a.jpg"
    _, found = await get(http, system, "/patients?code=A-1")
    assert found["count"] == 1


@pytest.mark.asyncio
async def test_an_unknown_patient_is_not_found(system: System, http: aiohttp.ClientSession) -> None:
    assert (await get(http, system, "/patients/nobody"))[0] == 404
    assert (await get(http, system, "/patients/nobody/detections/latest"))[0] == 404
    assert (await get(http, system, "/patients/nobody/detections"))[1]["count"] == 0
    assert (await get(http, system, f"/patients/{'x' * 65}"))[0] == 400


@pytest.mark.parametrize("code", ["a/b", " A ", "Ñ?#", "{A}", "%41", "A*", "\uff21", "A+B", "\x00"])
@pytest.mark.asyncio
async def test_any_code_can_be_asked_for(
    system: System, http: aiohttp.ClientSession, code: str
) -> None:
    await post(http, system, completed(code))
    await post(http, system, completed("A"))
    path = f"/patients/{quote(code, safe='')}"
    async with http.get(URL(f"{system.url}{path}", encoded=True)) as answer:
        assert (await answer.json())["patient_code"] == code


@pytest.mark.asyncio
async def test_a_body_that_breaks_off_stores_nothing(system: System) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", system.server.port)
    writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
    await writer.drain()
    await asyncio.sleep(0.02)
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.02)
    assert await system.store.list_patients() == []


@pytest.mark.asyncio
async def test_a_client_that_disconnects_does_not_undo_its_event(system: System) -> None:
    entered = asyncio.Event()
    leave = asyncio.Event()
    ended = asyncio.Event()

    async def wait(delivery: Delivery) -> None:
        entered.set()
        await leave.wait()
        ended.set()

    system.handlers.register(EventType.DETECTION_COMPLETED, wait)
    body = json.dumps(completed("A-1", webhook_id="id")).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", system.server.port)
    writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
    writer.write(body)
    await entered.wait()
    writer.transport.abort()
    await asyncio.sleep(0.02)
    leave.set()
    await asyncio.wait_for(ended.wait(), 5)
    async with system.client() as client:
        again = await client.send_async(completed("A-1", webhook_id="id"))
    assert again.success
    assert len(await system.store.get_patient_detections("A-1")) == 1


@pytest.mark.asyncio
async def test_stopping_finishes_the_requests_in_progress() -> None:
    system = System(Settings(port=0))
    await system.start()
    entered = asyncio.Event()

    async def slow(delivery: Delivery) -> str:
        entered.set()
        await asyncio.sleep(0.05)
        return "done"

    system.handlers.register(EventType.DETECTION_COMPLETED, slow)
    async with system.client() as client:
        sending = asyncio.create_task(client.send_async(completed()))
        await entered.wait()
        await system.stop()
        assert (await sending).success
