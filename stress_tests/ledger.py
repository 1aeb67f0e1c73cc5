"""What was sent and what was acknowledged, and what has to hold of it when nothing is in flight.

The machines that deliver webhooks keep this ledger; how they deliver them, and what goes wrong
meanwhile, is theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from desvelo import ConcurrentMachine, at_rest, current_target
from strategies.payloads import envelope

ALARMS = {"HIGH": 1, "CRITICAL": 2}
"""Messages that a detection of this risk level raises: chat, and WhatsApp when critical."""


class Ledger(ConcurrentMachine):
    """At rest: what was acknowledged is stored once, and all that follows from it agrees."""

    target: Any
    system: Any

    async def start_system(self, **settings: Any) -> None:
        """Start the system under test, with nothing sent yet."""
        self.target = current_target()
        self.system = self.target.system(**settings)
        self.sent: dict[str, dict[str, Any]] = {}
        self.acknowledged: dict[str, None] = {}
        await self.system.start()

    def event(self, payload: dict[str, Any], webhook_id: str) -> dict[str, Any]:
        """Return an event whose image can be told from all others, and remember it."""
        payload = {**payload, "image_path": f"/images/{webhook_id}.jpg"}
        event = envelope("detection.completed", payload, webhook_id)
        self.sent.setdefault(payload["image_path"], event)
        return event

    def sent_before(self, number: int) -> dict[str, Any] | None:
        """Return one of the events sent so far, if there is any."""
        known = list(self.sent.values())
        return known[number % len(known)] if known else None

    def note(self, events: list[dict[str, Any]], responses: Iterable[Any]) -> bool:
        """Remember which events were acknowledged; all of them?"""
        answers = [response.success for response in responses]
        for event, acknowledged in zip(events, answers, strict=True):
            if acknowledged:
                self.acknowledged[event["payload"]["image_path"]] = None
        return all(answers)

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
