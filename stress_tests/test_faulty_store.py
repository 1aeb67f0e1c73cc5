"""Is an event stored whole or not at all, and the truth told of it, when the disk fails?

Detections are delivered, also again, while the disk is full or cannot be written to. What was
refused was refused by an error, what was acknowledged is stored (`stress_tests.ledger`), and when
the disk is well again everything can be stored.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from desvelo import fault, operation
from strategies import detection_completed, pooled_codes, webhook_ids
from strategies.payloads import plain_completed
from stress_tests.budget import case_of
from stress_tests.ledger import Ledger
from stress_tests.scratch import database_file


class FaultyStore(Ledger):
    """Deliveries by clients that try once, and by one that tries again, to a disk that fails."""

    faults = (fault.disk_full, fault.sync_fails)
    longest_elapse = 0.0

    async def setup(self) -> None:
        await self.start_system(database_path=database_file())
        self.client = self.system.client()
        self.once = self.system.client(retry_count=1)

    async def shutdown(self) -> None:
        # No fault is left: whatever was asked for before is over.
        event = self.event(plain_completed("VG-2025-001"), "the last")
        stored = self.note([event], [await self.once.send_async(event)])
        await self.once.close()
        await self.client.close()
        await self.system.stop()
        assert stored, "nothing can be stored any more"

    @operation(payload=detection_completed(pooled_codes()), webhook_id=webhook_ids())
    async def deliver(self, payload: dict[str, Any], webhook_id: str) -> bool:
        event = self.event(payload, webhook_id)
        return self.note([event], [await self.client.send_async(event)])

    @operation(payload=detection_completed(pooled_codes()), webhook_id=webhook_ids())
    async def deliver_once(self, payload: dict[str, Any], webhook_id: str) -> int:
        event = self.event(payload, webhook_id)
        response = await self.once.send_async(event)
        assert response.status_code in (200, 500), f"neither stored nor failed: {response}"
        self.note([event], [response])
        return int(response.status_code)

    @operation(number=st.integers(0, 3))
    async def redeliver(self, number: int) -> bool:
        event = self.sent_before(number)
        return event is not None and self.note([event], [await self.once.send_async(event)])


TestFaultyStore = pytest.mark.stress(phase="database")(case_of(FaultyStore, 0.2))
