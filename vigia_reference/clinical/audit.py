"""The audit log: one row for each event, written in the transaction that it tells of."""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vigia_reference.clinical.statements import as_json, query
from vigia_reference.clinical.transaction import Steps, Work, reading, writing

Record = dict[str, Any]

INSERT_LOG = """
INSERT INTO audit_logs.system_logs (id, event_type, entity_type, entity_id, details, created_at)
VALUES (:id, :event_type, :entity_type, :entity_id, :details, :now)
"""

LOGS = """
SELECT id, event_type, entity_type, entity_id, details, created_at
FROM audit_logs.system_logs ORDER BY created_at, id
"""


class Audit:
    """Operations on the audit log."""

    def record_audit(
        self, event_type: str, entity_type: str, entity_id: str | None, details: Mapping[str, Any]
    ) -> Work[str]:
        """Write one row in a transaction of its own, and return its identifier."""
        return writing(self._audit, event_type, entity_type, entity_id, details)

    def list_audit(self) -> Work[list[Record]]:
        """All rows, oldest first."""
        return reading(self._list_audit)

    def _audit(
        self, event_type: str, entity_type: str, entity_id: str | None, details: Mapping[str, Any]
    ) -> Steps[str]:
        log_id = new_id()
        yield query(
            INSERT_LOG,
            id=log_id,
            event_type=event_type,
            entity_type=entity_type,
            entity_id=entity_id,
            details=as_json(dict(details)),
            now=now(),
        )
        return log_id

    def _list_audit(self) -> Steps[list[Record]]:
        rows = yield query(LOGS)
        return [
            {
                "id": str(log_id),
                "event_type": event_type,
                "entity_type": entity_type,
                "entity_id": entity_id,
                "details": json.loads(details),
                "created_at": moment(created_at),
            }
            for log_id, event_type, entity_type, entity_id, details, created_at in rows
        ]


def new_id() -> str:
    """Draw an identifier."""
    return str(uuid.uuid4())


def now() -> datetime:
    """Look at the clock; each statement does so itself, as `tables` explains."""
    return datetime.now(UTC)


def moment(value: Any) -> str:
    """Write a time that a driver returned as text in UTC with six decimals.

    >>> moment(datetime(2025, 6, 1, 12, tzinfo=UTC))
    '2025-06-01T12:00:00.000000+00:00'
    """
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return str(value)
