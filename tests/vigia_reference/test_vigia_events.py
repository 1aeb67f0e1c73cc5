"""The envelope of an event."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from vigia_reference.events import Event, EventRejected, EventType, parse_event


def parse(**document: Any) -> Event:
    return parse_event(json.dumps(document).encode())


@pytest.mark.parametrize(
    "name",
    [
        "detection.completed",
        "detection.failed",
        "patient.updated",
        "protocol.triggered",
        "analysis.ready",
    ],
)
def test_the_five_wire_names_and_their_upper_case_forms_are_known(name: str) -> None:
    upper = name.replace(".", "_").upper()
    assert EventType.from_wire(name) is EventType.from_wire(upper)
    assert EventType.from_wire(name).value == name


def test_what_is_sent_is_read_back_the_same() -> None:
    event = Event.new(EventType.ANALYSIS_READY, {"analysis_id": "a"})
    assert parse_event(json.dumps(event.to_wire()).encode()) == event
    assert event.to_wire()["source"] == "vigia_detect"
    assert event.to_wire()["version"] == "1.0"


def test_a_time_without_a_zone_is_taken_at_utc() -> None:
    event = parse(event_type="detection.failed", timestamp="2025-06-01T10:00:00")
    assert event.timestamp == datetime(2025, 6, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 422, "Request body must be a JSON object"),
        (b"{", 422, "Request body must be a JSON object"),
        (b"\xff", 422, "Request body must be a JSON object"),
        (b"[]", 422, "Request body must be a JSON object"),
        (b'"text"', 422, "Request body must be a JSON object"),
        (b"[" * 100_000, 422, "Request body must be a JSON object"),
        (b'{"event_type": NaN}', 422, "Request body must be a JSON object"),
        (b"{}", 400, "Missing event_type"),
        (b'{"event_type": null}', 400, "Missing event_type"),
        (b'{"event_type": "x.y"}', 400, "Invalid event_type: x.y"),
        (b'{"event_type": 5}', 400, "Invalid event_type: 5"),
        (b'{"event_type": ["a"]}', 400, "Invalid event_type: ['a']"),
        (
            b'{"event_type": "analysis.ready", "payload": []}',
            422,
            "payload must be a JSON object",
        ),
        (
            b'{"event_type": "analysis.ready", "timestamp": 5}',
            422,
            "timestamp must be ISO 8601 text",
        ),
        (
            b'{"event_type": "analysis.ready", "webhook_id": ""}',
            422,
            "webhook_id must be text of 1 to 200 characters",
        ),
        (
            b'{"event_type": "analysis.ready", "webhook_id": "\\ud800"}',
            422,
            "webhook_id must be encodable as UTF-8",
        ),
    ],
)
def test_what_is_no_event_is_rejected_with_status_and_message(
    body: bytes, status: int, message: str
) -> None:
    with pytest.raises(EventRejected) as rejection:
        parse_event(body)
    assert (rejection.value.status, rejection.value.message) == (status, message)
