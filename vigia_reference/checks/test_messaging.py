"""Alerts go out once, to whom they should."""

from collections.abc import Callable
from typing import Any

from vigia_reference import System
from vigia_reference.outbox import Message, NotSent

WORST = {
    "patient_code": "CD-2025-002",
    "detections": [{"stage": 4, "confidence": 0.97}],
    "risk_level": "CRITICAL",
}


async def deliver(system: System, payload: dict[str, Any]) -> None:
    """Send one detection, which must be accepted."""
    async with system.client() as client:
        assert (await client.send_detection(payload)).success


def test_a_critical_detection_goes_to_the_chat_and_to_whatsapp(
    with_system: Callable[..., Any],
) -> None:
    async def use(system: System) -> list[Message]:
        await deliver(system, WORST)
        return await system.outbox.pending()

    chat, whatsapp = with_system(use)
    assert (chat.channel, whatsapp.channel) == ("chat", "whatsapp")
    assert whatsapp.recipient == "whatsapp:+34600000000"
    assert "CD-2025-002" in chat.body
    assert len(whatsapp.body) <= 1600


def test_a_harmless_detection_disturbs_nobody(with_system: Callable[..., Any]) -> None:
    async def use(system: System) -> int:
        await deliver(system, {**WORST, "risk_level": "LOW"})
        return len(await system.outbox.pending())

    assert with_system(use) == 0


def test_each_message_is_sent_once(with_system: Callable[..., Any]) -> None:
    async def use(system: System) -> tuple[list[str], int]:
        await deliver(system, WORST)
        sent: list[str] = []

        async def send(message: Message) -> None:
            sent.append(message.channel)

        for _ in range(2):
            await system.outbox.deliver_pending(send)
        return sent, len(await system.outbox.pending())

    assert with_system(use) == (["chat", "whatsapp"], 0)


def test_what_could_not_be_sent_is_sent_the_next_time(with_system: Callable[..., Any]) -> None:
    async def use(system: System) -> tuple[int, int]:
        await deliver(system, WORST)

        async def refuse(message: Message) -> None:
            raise NotSent("no network")

        async def send(message: Message) -> None:
            pass

        first = await system.outbox.deliver_pending(refuse)
        second = await system.outbox.deliver_pending(send)
        return first.sent, second.sent

    assert with_system(use) == (0, 2)
