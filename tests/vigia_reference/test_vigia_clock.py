"""The clock on the wall is set, and nothing that was promised changes; with a defect it does."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from tests.vigia_reference.payload_samples import completed, updated
from vigia_reference import Message, Parts, RateLimits, Settings, System
from vigia_reference.defects import get
from vigia_reference.defects.clock import CLOCK_DEFECTS
from vigia_reference.defects.network import NETWORK_DEFECTS
from vigia_reference.idempotency import AlreadyAnswered

SUMMER_ENDS = datetime(2025, 10, 26, 1, tzinfo=UTC)

Symptom = Callable[[Parts, Any], Awaitable[bool]]


def running(parts: Parts, **settings: Any) -> System:
    return System(Settings(port=0, **settings), parts)


async def a_token_passes_after_its_end(parts: Parts, wall: Any) -> bool:
    tokens = parts.tokens(60)
    token = tokens.issue()
    assert tokens.is_alive(token.text)
    wall.shift(timedelta(seconds=60))
    return tokens.is_alive(token.text)


async def a_token_outlives_its_lifetime(parts: Parts, wall: Any) -> bool:
    tokens = parts.tokens(0.01)
    token = tokens.issue()
    wall.shift(timedelta(hours=-1))
    await asyncio.sleep(0.01)
    return tokens.is_alive(token.text)


async def a_window_opens_early(parts: Parts, wall: Any) -> bool:
    async with running(parts, rate_limits=RateLimits(webhook=1)) as system:
        assert system.limiter is not None
        await system.limiter.admit("192.0.2.1", "/webhook")
        wall.shift(timedelta(hours=1))
        admission = await system.limiter.admit("192.0.2.1", "/webhook")
        return admission is not None and admission.admitted


async def an_answer_is_forgotten_early(parts: Parts, wall: Any) -> bool:
    async with running(parts, keep_answers_for=60) as system, system.client() as client:
        await client.send_async(completed("A", "id"))
        wall.shift(timedelta(hours=1))
        await client.send_async(completed("A", "id"))
        return len(await system.store.get_patient_detections("A")) > 1


async def the_older_is_told_first(parts: Parts, wall: Any) -> bool:
    async with running(parts) as system, system.client() as client:
        wall.move_to(SUMMER_ENDS - timedelta(seconds=1))
        await client.send_async(completed("A", "older"))
        before = await system.store.get_patient_detections("A")
        wall.move_to(SUMMER_ENDS + timedelta(seconds=1))
        await client.send_async(completed("A", "newer"))
        newest, *_ = await system.store.get_patient_detections("A")
        return newest in before


async def an_alarm_is_told_again(parts: Parts, wall: Any) -> bool:
    told = []

    async def lose_the_answer(message: Message) -> None:
        told.append(message.id)
        raise ConnectionResetError

    async with running(parts) as system:
        await system.database.run(system.outbox.enqueue, Message("chat", "#ward", "hola"))
        for _ in range(2):
            await system.outbox.deliver_pending(lose_the_answer)
    return len(told) > 1


async def a_failed_commit_is_not_told(parts: Parts, wall: Any) -> bool:
    def orphan(connection: sqlite3.Connection) -> None:
        # Of a constraint that is looked at in the end, only the commit can fail.
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute(
            "INSERT INTO lpp_images (id, patient_id, file_path, file_hash, created_at)"
            " VALUES ('a', 'nobody', '', '', '')"
        )

    async with running(parts) as system:
        try:
            await system.database.run(orphan)
        except sqlite3.Error:
            return False
    return True


SYMPTOMS: dict[str, Symptom] = {
    "token-ends-one-clock-jump-late": a_token_passes_after_its_end,
    "token-prolonged-by-clock": a_token_outlives_its_lifetime,
    "times-to-live-by-wall-clock": a_window_opens_early,
    "idempotency-key-expires-by-wall-clock": an_answer_is_forgotten_early,
    "detections-ordered-by-local-time": the_older_is_told_first,
    "alarm-told-again-after-lost-answer": an_alarm_is_told_again,
    "failed-commit-acknowledged": a_failed_commit_is_not_told,
}


@pytest.mark.parametrize("name", SYMPTOMS)
def test_the_defect_shows_and_the_correct_system_does_not(name: str) -> None:
    async def shows(parts: Parts) -> bool:
        with time_machine.travel(SUMMER_ENDS, tick=True) as wall:
            return await SYMPTOMS[name](parts, wall)

    assert asyncio.run(shows(get(name).parts(Parts())))
    assert not asyncio.run(shows(Parts()))


def test_every_defect_of_clock_and_network_is_here() -> None:
    assert set(SYMPTOMS) == {one.name for one in (*CLOCK_DEFECTS, *NETWORK_DEFECTS)}


@pytest.mark.asyncio
async def test_an_update_without_a_time_stands_although_the_clock_was_set_back() -> None:
    async with running(Parts()) as system:
        with time_machine.travel(SUMMER_ENDS, tick=True) as wall:
            await system.store.update_patient("A", {"ward": "3"})
            wall.shift(timedelta(hours=-1))
            patient = (await system.store.update_patient("A", {"ward": "4"})).patient
            assert patient["attributes"]["ward"] == "4"
            # What happened before either of them is still no news.
            earlier = SUMMER_ENDS - timedelta(minutes=30)
            patient = (await system.store.update_patient("A", {"ward": "2"}, earlier)).patient
            assert patient["attributes"]["ward"] == "4"


@pytest.mark.asyncio
async def test_answers_are_forgotten_when_their_time_is_over_and_not_before() -> None:
    async with running(Parts(), keep_answers_for=0.05) as system:

        async def answer(key: str) -> str:
            return await system.idempotency.commit(key, lambda _: key, str)

        await answer("a")
        await answer("b")
        with pytest.raises(AlreadyAnswered):
            await answer("a")
        await asyncio.sleep(0.06)
        await answer("c")
        await asyncio.sleep(0.06)
        await answer("d")
        assert await answer("a") == "a"
        with pytest.raises(AlreadyAnswered):
            await answer("d")


@pytest.mark.asyncio
async def test_a_client_exchanges_its_key_for_tokens_and_notices_no_end() -> None:
    async with (
        running(Parts(), api_key="key", token_lifetime=60) as system,
        system.token_client(retry_count=1) as client,
    ):
        with time_machine.travel(SUMMER_ENDS, tick=True) as wall:
            for number in range(3):
                event = updated("A", "2025-06-01T12:00:00Z", ward=str(number))
                assert (await client.send_async(event)).success
                wall.shift(timedelta(minutes=2))
        stranger = system.token_client(retry_count=1, api_key="another")
        async with stranger:
            response = await stranger.send_async(completed())
            assert (response.status_code, response.message) == (401, "Invalid API key")


def test_tokens_without_a_key_are_refused() -> None:
    with pytest.raises(ValueError, match="token_lifetime needs an api_key"):
        Settings(token_lifetime=60)
