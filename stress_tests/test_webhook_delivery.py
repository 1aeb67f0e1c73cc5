"""Is every acknowledged webhook stored exactly once, whatever the network and the clients do?

Detections are delivered concurrently, again, in batches and over connections that break; patients
are read meanwhile, so that the cache is filled while others write. At rest the ledger is checked
(`stress_tests.ledger`): what was acknowledged is stored once, nothing is stored twice, there is one
patient for each code, counters and cache agree with the rows, and each alarm was raised once.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from hypothesis import strategies as st

from desvelo import fault, operation
from strategies import detection_completed, pooled_codes, webhook_ids
from stress_tests.ledger import Ledger


class WebhookDelivery(Ledger):
    """Deliveries, repeats, batches and reads of a few patients, with a network that breaks."""

    faults = (
        fault.lose_ack,
        fault.reset,
        fault.reset.after_request,
        fault.half_close,
        fault.duplicate,
        fault.reorder,
        fault.clock_jump,
    )
    longest_elapse = 10.0

    async def setup(self) -> None:
        await self.start_system()
        self.client = self.system.client(timeout=5)
        self.hasty = self.system.client(timeout=0.05)
        self.reader = aiohttp.ClientSession(base_url=self.system.url)

    async def shutdown(self) -> None:
        await self.reader.close()
        await self.client.close()
        await self.hasty.close()
        await self.system.stop()

    @operation(payload=detection_completed(pooled_codes()), webhook_id=webhook_ids())
    async def deliver(self, payload: dict[str, Any], webhook_id: str) -> bool:
        event = self.event(payload, webhook_id)
        return self.note([event], [await self.client.send_async(event)])

    @operation(payload=detection_completed(pooled_codes()), webhook_id=webhook_ids())
    async def hurry(self, payload: dict[str, Any], webhook_id: str) -> bool:
        """Deliver with a time-out so short that it may end before the answer comes."""
        event = self.event(payload, webhook_id)
        return self.note([event], [await self.hasty.send_async(event)])

    @operation(number=st.integers(0, 3))
    async def redeliver(self, number: int) -> bool:
        event = self.sent_before(number)
        return event is not None and self.note([event], [await self.client.send_async(event)])

    @operation(
        payloads=st.lists(detection_completed(pooled_codes()), min_size=1, max_size=2),
        webhook_id=webhook_ids(),
    )
    async def batch(self, payloads: list[dict[str, Any]], webhook_id: str) -> bool:
        events = [self.event(one, f"{webhook_id}/{n}") for n, one in enumerate(payloads)]
        return self.note(events, await self.client.send_batch_async(events))

    @operation(code=pooled_codes(), what=st.sampled_from(("", "/detections/latest")))
    async def look_up(self, code: str, what: str) -> int:
        try:
            async with self.reader.get(f"/patients/{quoted(code)}{what}") as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, OSError):
            return 0


def quoted(code: str) -> str:
    """Return a code as one segment of a path."""
    return quote(code, safe="")


TestWebhookDelivery = pytest.mark.stress(phase="webhook")(WebhookDelivery.TestCase)
