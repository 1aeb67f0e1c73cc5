"""Several handlers, in order, each on its own."""

import asyncio
import json
import sqlite3
import threading
from typing import Any

import pytest

from tests.vigia_reference.payload_samples import completed
from vigia_reference import Delivery, EventType, System
from vigia_reference.events import parse_event

DETECTION = EventType.DETECTION_COMPLETED


async def handle(system: System, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(
        await system.handlers.handle(parse_event(json.dumps(body).encode()))
    )
    return answer


@pytest.mark.asyncio
async def test_handlers_run_in_order_and_one_that_raises_does_not_stop_the_others(
    system: System,
) -> None:
    order: list[str] = []

    async def first(delivery: Delivery) -> str:
        order.append("first")
        return "fine"

    async def second(delivery: Delivery) -> None:
        order.append("second")
        raise LookupError("broken")

    def third(delivery: Delivery) -> str:
        order.append("third")
        return str(delivery.event.payload["patient_code"])

    for handler in (first, second, third):
        system.handlers.register(DETECTION, handler)
    data = await handle(system, completed("A-1"))
    assert order == ["first", "second", "third"]
    assert data["processed_by"] == 4
    assert [result["success"] for result in data["results"]] == [True, True, False, True]
    assert "broken" in data["results"][2]["error"]
    assert data["results"][3] == {"handler": "third", "success": True, "result": "A-1"}


@pytest.mark.asyncio
async def test_a_plain_function_does_not_hold_the_loop(system: System) -> None:
    released = threading.Event()

    def block(delivery: Delivery) -> bool:
        return released.wait(5)

    system.handlers.register(DETECTION, block)
    handling = asyncio.create_task(handle(system, completed()))
    await asyncio.sleep(0.02)
    released.set()
    data = await handling
    assert data["results"][1]["result"] is True


@pytest.mark.asyncio
async def test_a_plain_function_may_return_something_to_wait_for(system: System) -> None:
    async def later() -> str:
        return "waited for"

    system.handlers.register(DETECTION, lambda delivery: later())
    data = await handle(system, completed())
    assert data["results"][1]["result"] == "waited for"


@pytest.mark.asyncio
async def test_what_cannot_be_put_as_json_is_reported_as_text(system: System) -> None:
    async def odd(delivery: Delivery) -> object:
        return {1}

    system.handlers.register(DETECTION, odd)
    assert (await handle(system, completed()))["results"][1]["result"] == "{1}"


@pytest.mark.asyncio
async def test_an_event_without_handlers_is_accepted_with_a_warning(system: System) -> None:
    system.handlers.clear(DETECTION)
    data = await handle(system, completed(webhook_id="id"))
    assert data["processed_by"] == 0
    assert "detection.completed" in data["warning"]
    assert await handle(system, completed(webhook_id="id")) == data


@pytest.mark.asyncio
async def test_a_wrong_payload_is_reported_and_stores_nothing(system: System) -> None:
    body = completed("A" * 65, webhook_id="id")
    data = await handle(system, body)
    assert data["results"][0]["success"] is False
    assert "64 are allowed" in data["results"][0]["error"]
    assert await system.store.list_patients() == []
    assert await handle(system, body) == data


@pytest.mark.asyncio
async def test_registered_handlers_are_called_once_per_webhook(system: System) -> None:
    calls: list[str] = []

    async def note(delivery: Delivery) -> None:
        calls.append("called")

    for event_type in EventType:
        system.handlers.register(event_type, note)
    for body in (completed(webhook_id="good"), completed("", webhook_id="bad")):
        calls.clear()
        first = await handle(system, body)
        assert await handle(system, body) == first
        assert calls == ["called"]


@pytest.mark.asyncio
async def test_an_event_that_cannot_be_stored_is_not_acknowledged(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(system.store, "_audit", fail)
        with pytest.raises(sqlite3.OperationalError):
            await handle(system, completed(webhook_id="id"))
    data = await handle(system, completed(webhook_id="id"))
    assert data["results"][0]["success"] is True


@pytest.mark.asyncio
async def test_critical_detections_enqueue_their_alerts_once(system: System) -> None:
    body = completed(webhook_id="id", risk_level="CRITICAL")
    await asyncio.gather(handle(system, body), handle(system, body))
    await handle(system, body)
    assert [message.channel for message in await system.outbox.pending()] == ["chat", "whatsapp"]


@pytest.mark.parametrize(
    ("event_type", "payload"),
    [
        ("detection.failed", {"patient_code": "A-1", "error": "blurred", "image_path": "/x"}),
        (
            "protocol.triggered",
            {
                "protocol_name": "p",
                "patient_code": "A-1",
                "trigger_reason": "stage",
                "actions": ["turn"],
                "priority": "high",
            },
        ),
        (
            "analysis.ready",
            {
                "analysis_id": "a",
                "patient_code": "A-1",
                "analysis_type": "trend",
                "results_url": "http://127.0.0.1/",
                "triggers_analyses": [],
            },
        ),
    ],
)
@pytest.mark.asyncio
async def test_the_other_events_are_written_to_the_audit_log(
    system: System, event_type: str, payload: dict[str, Any]
) -> None:
    data = await handle(system, {"event_type": event_type, "payload": payload})
    assert data["results"][0]["success"] is True
    logged = await system.database.run(
        lambda connection: connection.execute(
            "SELECT event_type, details FROM system_logs"
        ).fetchall()
    )
    assert [(kind, json.loads(details)) for kind, details in logged] == [(event_type, payload)]
