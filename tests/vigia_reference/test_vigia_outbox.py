"""Messages go out once."""

import asyncio

import pytest

from tests.vigia_reference.payload_samples import detection
from vigia_reference import DetectionReport, Message, System
from vigia_reference.outbox import WHATSAPP_BODY_LIMIT, NotSent, whatsapp_message


async def enqueue(system: System, *bodies: str) -> None:
    for body in bodies:
        await system.database.run(system.outbox.enqueue, Message("chat", "#ward", body))


@pytest.mark.parametrize(
    ("risk_level", "channels"),
    [
        (None, []),
        ("LOW", []),
        ("MEDIUM", []),
        ("HIGH", ["chat"]),
        ("CRITICAL", ["chat", "whatsapp"]),
    ],
)
@pytest.mark.asyncio
async def test_risk_decides_who_is_told(
    system: System, risk_level: str | None, channels: list[str]
) -> None:
    report = DetectionReport.from_payload(detection("A-1", risk_level=risk_level), str)
    alerts = system.outbox.alerts(report)
    assert [alert.channel for alert in alerts] == channels
    assert all("A-1" in alert.body for alert in alerts)


def test_a_number_gets_its_prefix_once_and_a_body_is_cut_at_the_limit() -> None:
    assert whatsapp_message("+346", "hola").recipient == "whatsapp:+346"
    assert whatsapp_message("whatsapp:+346", "hola").recipient == "whatsapp:+346"
    assert whatsapp_message("+346", "x" * 1600).body == "x" * 1600
    assert len(whatsapp_message("+346", "x" * 1601).body) == WHATSAPP_BODY_LIMIT == 1600


@pytest.mark.asyncio
async def test_several_deliverers_send_each_message_once_and_in_order(system: System) -> None:
    await enqueue(system, *"abcdef")
    sent: list[str] = []

    async def send(message: Message) -> None:
        await asyncio.sleep(0)
        sent.append(message.body)

    counts = await asyncio.gather(*[system.outbox.deliver_pending(send) for _ in range(3)])
    assert sorted(sent) == list("abcdef")
    assert sum(count.sent for count in counts) == 6
    assert await system.outbox.pending() == []


@pytest.mark.asyncio
async def test_a_message_that_could_not_be_sent_waits_for_the_next_round(system: System) -> None:
    await enqueue(system, "a", "b")

    async def fail_on_a(message: Message) -> None:
        if message.body == "a":
            raise NotSent

    count = await system.outbox.deliver_pending(fail_on_a)
    assert (count.sent, count.failed) == (1, 1)
    assert [message.body for message in await system.outbox.pending()] == ["a"]


@pytest.mark.asyncio
async def test_a_message_that_may_have_been_sent_is_in_doubt_and_not_sent_again(
    system: System,
) -> None:
    await enqueue(system, "a")
    sent: list[str] = []

    async def lose_the_answer(message: Message) -> None:
        sent.append(message.body)
        raise ConnectionError

    for _ in range(2):
        await system.outbox.deliver_pending(lose_the_answer)
    assert sent == ["a"]
    assert [message.body for message in await system.outbox.in_doubt()] == ["a"]


@pytest.mark.asyncio
async def test_a_message_whose_sending_was_cancelled_is_in_doubt(system: System) -> None:
    await enqueue(system, "a")

    began = asyncio.Event()

    async def hang(message: Message) -> None:
        began.set()
        await asyncio.sleep(60)

    delivering = asyncio.create_task(system.outbox.deliver_pending(hang))
    await began.wait()
    delivering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivering
    assert [message.body for message in await system.outbox.in_doubt()] == ["a"]


@pytest.mark.asyncio
async def test_a_deliverer_that_is_cancelled_before_it_sends_gives_its_claim_back(
    system: System,
) -> None:
    await enqueue(system, "a")

    async def send(message: Message) -> None:
        raise AssertionError("must not be reached")

    delivering = asyncio.create_task(system.outbox.deliver_pending(send))
    await asyncio.sleep(0)
    delivering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivering
    assert [message.body for message in await system.outbox.pending()] == ["a"]
