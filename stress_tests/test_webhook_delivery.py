"""Is every acknowledged webhook stored exactly once, whatever the network and the clients do?

Detections are delivered concurrently, again, in batches and over connections that break; patients
are read meanwhile, so that the cache is filled while others write. At rest: what was acknowledged
is stored once, nothing is stored twice, there is one patient for each code, counters and cache
agree with the rows, and each alarm was raised once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from hypothesis import strategies as st

from desvelo import ConcurrentMachine, at_rest, current_target, fault, operation
from strategies import detection_completed, pooled_codes, webhook_ids
from strategies.payloads import envelope

ALARMS = {"HIGH": 1, "CRITICAL": 2}
"""Messages that a detection of this risk level raises: chat, and WhatsApp when critical."""


class WebhookDelivery(ConcurrentMachine):
    """Deliveries, repeats, batches and reads of a few patients, with a network that breaks."""

    faults = (fault.lose_ack, fault.reset)
    longest_elapse = 10.0

    async def setup(self) -> None:
        self.target = current_target()
        self.system = self.target.system()
        await self.system.start()
        self.client = self.system.client(timeout=5)
        self.hasty = self.system.client(timeout=0.05)
        self.reader = aiohttp.ClientSession(base_url=self.system.url)
        self.sent: dict[str, dict[str, Any]] = {}
        self.acknowledged: dict[str, None] = {}

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
        known = list(self.sent.values())
        if not known:
            return False
        event = known[number % len(known)]
        return self.note([event], [await self.client.send_async(event)])

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

    # the ledger

    def event(self, payload: dict[str, Any], webhook_id: str) -> dict[str, Any]:
        """Return an event whose image can be told from all others, and remember it."""
        payload = {**payload, "image_path": f"/images/{webhook_id}.jpg"}
        event = envelope("detection.completed", payload, webhook_id)
        self.sent.setdefault(payload["image_path"], event)
        return event

    def note(self, events: list[dict[str, Any]], responses: Iterable[Any]) -> bool:
        """Remember which events were acknowledged; all of them?"""
        answers = [response.success for response in responses]
        for event, acknowledged in zip(events, answers, strict=True):
            if acknowledged:
                self.acknowledged[event["payload"]["image_path"]] = None
        return all(answers)

    # at rest

    @at_rest()
    async def acknowledged_events_are_stored_exactly_once(self) -> None:
        images = await self.target.images(self.system)
        stored = Counter(path for path, _, _ in images)
        lost = [path for path in self.acknowledged if stored[path] == 0]
        twice = [path for path, count in stored.items() if count > 1]
        assert not lost, f"acknowledged but not stored: {lost}"
        assert not twice, f"stored more than once: {twice}"

    @at_rest()
    async def detections_belong_to_the_patient_they_were_sent_for(self) -> None:
        for path, code, count in await self.target.images(self.system):
            payload = self.sent[path]["payload"]
            assert code == payload["patient_code"], (
                f"sent for {payload['patient_code']!r}, stored for {code!r}"
            )
            assert count == len(payload["detections"]), f"{path} is only half stored"

    @at_rest()
    async def there_is_one_patient_for_each_code(self) -> None:
        codes = Counter(patient["patient_code"] for patient in await self.patients())
        twice = {code: count for code, count in codes.items() if count > 1}
        assert not twice, f"patients with one code: {twice}"

    @at_rest()
    async def counters_agree_with_the_rows(self) -> None:
        rows: Counter[str] = Counter()
        for _, code, count in await self.target.images(self.system):
            rows[code] += count
        for patient in await self.patients():
            code, counted = patient["patient_code"], patient["detection_count"]
            assert counted == rows[code], f"{code!r} counts {counted}, has {rows[code]}"

    @at_rest()
    async def the_cache_equals_the_store(self) -> None:
        for patient in await self.patients():
            code = patient["patient_code"]
            cached = await self.target.cached_patient(self.system, code)
            assert cached is None or cached == patient, f"cached {cached}, stored {patient}"
            newest = await self.target.newest_detection(self.system, code)
            latest = await self.target.cached_detection(self.system, code)
            assert latest is None or latest == newest, f"cached {latest}, newest {newest}"

    @at_rest()
    async def each_alarm_is_raised_once(self) -> None:
        expected = 0
        for path, _, _ in await self.target.images(self.system):
            expected += ALARMS.get(self.sent[path]["payload"].get("risk_level", ""), 0)
        messages = await self.target.messages(self.system)
        assert len(messages) == expected, f"{len(messages)} messages, expected {expected}"

    async def patients(self) -> list[dict[str, Any]]:
        """Return the stored patients."""
        found: list[dict[str, Any]] = await self.target.patients(self.system)
        return found


def quoted(code: str) -> str:
    """Return a code as one segment of a path."""
    return quote(code, safe="")


TestWebhookDelivery = pytest.mark.stress(phase="webhook")(WebhookDelivery.TestCase)
