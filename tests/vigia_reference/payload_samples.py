"""Events that the tests send."""

from typing import Any


def detection(code: object = "TEST-001", **more: Any) -> dict[str, Any]:
    return {"patient_code": code, "detections": [{"confidence": 0.85, "stage": 2}], **more}


def completed(
    code: object = "TEST-001", webhook_id: str | None = None, **more: Any
) -> dict[str, Any]:
    body: dict[str, Any] = {"event_type": "detection.completed", "payload": detection(code, **more)}
    if webhook_id is not None:
        body["webhook_id"] = webhook_id
    return body


def updated(code: str, at: str | None = None, **values: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "event_type": "patient.updated",
        "payload": {
            "patient_code": code,
            "update_type": "status_change",
            "changes": {field: {"old": None, "new": value} for field, value in values.items()},
        },
    }
    if at is not None:
        body["timestamp"] = at
    return body
