"""Webhook events: their names on the wire, and the envelope that carries them."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

SOURCE = "vigia_detect"
VERSION = "1.0"
MAX_WEBHOOK_ID_LENGTH = 200
_ECHO_LIMIT = 200


class EventType(StrEnum):
    """The five events; the value is the name on the wire.

    >>> EventType.DETECTION_COMPLETED.value
    'detection.completed'
    """

    DETECTION_COMPLETED = "detection.completed"
    DETECTION_FAILED = "detection.failed"
    PATIENT_UPDATED = "patient.updated"
    PROTOCOL_TRIGGERED = "protocol.triggered"
    ANALYSIS_READY = "analysis.ready"

    @classmethod
    def from_wire(cls, name: object) -> "EventType":
        """Find an event by its wire name or by the upper-case name that scripts send.

        Raises `EventRejected` (status 400) when there is no such event.

        >>> EventType.from_wire("DETECTION_COMPLETED") is EventType.DETECTION_COMPLETED
        True
        """
        if name is None or name == "":
            raise EventRejected(400, "Missing event_type")
        found = _BY_NAME.get(name) if isinstance(name, str) else None
        if found is None:
            raise EventRejected(400, f"Invalid event_type: {str(name)[:_ECHO_LIMIT]}")
        return found


_BY_NAME: dict[str, EventType] = {e.value: e for e in EventType} | {e.name: e for e in EventType}


class EventRejected(ValueError):
    """A request body that is no event; carries the HTTP status and the message to answer with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as sent by the client and as received by the server.

    `timestamp` is when it happened; `None` means that the sender did not say.  `webhook_id` is
    the idempotency key: all attempts to deliver one event carry the same.
    """

    event_type: EventType
    payload: Mapping[str, Any]
    timestamp: datetime | None = None
    webhook_id: str | None = None
    source: str = SOURCE
    version: str = VERSION

    @classmethod
    def new(cls, event_type: EventType, payload: Mapping[str, Any]) -> "Event":
        """Make an event that happened now, with a fresh `webhook_id`.

        >>> event = Event.new(EventType.DETECTION_FAILED, {"patient_code": "A-1", "error": "blur"})
        >>> event.to_wire()["event_type"]
        'detection.failed'
        """
        return cls(event_type, payload, datetime.now(UTC), str(uuid.uuid4()))

    def to_wire(self) -> dict[str, Any]:
        """The JSON object that is sent."""
        wire: dict[str, Any] = {
            "event_type": self.event_type.value,
            "payload": dict(self.payload),
            "source": self.source,
            "version": self.version,
        }
        if self.timestamp is not None:
            wire["timestamp"] = self.timestamp.isoformat()
        if self.webhook_id is not None:
            wire["webhook_id"] = self.webhook_id
        return wire


def parse_event(body: bytes) -> Event:
    """Read an event from a request body.

    Raises `EventRejected`: 422 when the body is not a JSON object or a field has the wrong shape,
    400 when `event_type` is missing or unknown.

    >>> parse_event(b'{"event_type": "DETECTION_COMPLETED", "payload": {}}').event_type.value
    'detection.completed'
    """
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise EventRejected(422, "Request body must be a JSON object") from None
    if not isinstance(document, dict):
        raise EventRejected(422, "Request body must be a JSON object")
    event_type = EventType.from_wire(document.get("event_type"))
    payload = document.get("payload", {})
    if not isinstance(payload, dict):
        raise EventRejected(422, "payload must be a JSON object")
    return Event(
        event_type,
        payload,
        _timestamp(document.get("timestamp")),
        _webhook_id(document.get("webhook_id")),
        str(document.get("source", SOURCE)),
        str(document.get("version", VERSION)),
    )


def _refuse_constant(name: str) -> None:
    # Python reads NaN and Infinity, which JSON does not have.
    raise ValueError(name)


def _timestamp(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        if not isinstance(value, str):
            raise TypeError
        moment = datetime.fromisoformat(value)
        # A sender without a zone is taken at UTC, or its events could not be put in order.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise EventRejected(422, "timestamp must be ISO 8601 text") from None


def _webhook_id(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_WEBHOOK_ID_LENGTH:
        raise EventRejected(422, "webhook_id must be text of 1 to 200 characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise EventRejected(422, "webhook_id must be encodable as UTF-8") from None
    return value
