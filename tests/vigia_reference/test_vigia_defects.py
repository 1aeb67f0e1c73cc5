"""Every planted defect shows on kernel sockets, where the correct system does not."""

import asyncio
import gc
import json
import sqlite3
import threading
import time
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from tests.vigia_reference.misbehaving_server import Naps
from tests.vigia_reference.payload_samples import completed, updated
from vigia_reference import Parts, RateLimits, Settings, System, WebhookClient
from vigia_reference.defects import DEFECTS, UnknownDefect, get
from vigia_reference.defects.clock import CLOCK_DEFECTS
from vigia_reference.defects.database import DATABASE_DEFECTS
from vigia_reference.defects.leaks import LEAK_DEFECTS
from vigia_reference.defects.network import NETWORK_DEFECTS
from vigia_reference.defects.redis import REDIS_DEFECTS
from vigia_reference.defects.shutdown import SHUTDOWN_DEFECTS
from vigia_reference.defects.threads import THREAD_DEFECTS

Symptom = Callable[[Parts], Awaitable[bool]]
"""Whether a system built from these parts shows the defect."""

TRIES = 40


def running(parts: Parts, **settings: Any) -> System:
    return System(replace(Settings(port=0), **settings), parts)


async def two_patients_with_one_code(parts: Parts) -> bool:
    async with running(parts) as system, system.client() as client:
        await asyncio.gather(*[client.send_async(completed("A")) for _ in range(4)])
        return len(await system.store.list_patients("A")) > 1


async def fewer_counted_than_stored(parts: Parts) -> bool:
    async with running(parts) as system, system.client() as client:
        await asyncio.gather(*[client.send_async(completed("A")) for _ in range(4)])
        patient = await system.store.get_or_create_patient("A")
        return int(patient["detection_count"]) != len(
            await system.store.get_patient_detections("A")
        )


async def an_old_value_wins(parts: Parts) -> bool:
    async with running(parts) as system, system.client() as client:
        await client.send_async(updated("A", "2025-06-01T12:00:01Z", gender="female"))
        await client.send_async(updated("A", "2025-06-01T12:00:00Z", gender="male"))
        patient = await system.store.get_or_create_patient("A")
        return bool(patient["gender"] == "male")


async def fewer_patients_than_codes(parts: Parts) -> bool:
    async with running(parts) as system, system.client() as client:
        for code in ("A-1", "a-1", " A-1", "\uff21-1"):
            await client.send_async(completed(code))
        return len(await system.store.list_patients()) < 4


async def the_cache_is_behind_the_store(parts: Parts) -> bool:
    async with running(parts) as system, system.client() as client, aiohttp.ClientSession() as http:
        await client.send_async(completed("A"))

        async def look(path: str) -> None:
            async with http.get(f"{system.url}{path}") as answer:
                await answer.read()

        # With a connection that is open already the read reaches the server before the write.
        await look("/health")
        await asyncio.gather(look("/patients/A"), client.send_async(completed("A")))
        return await system.records.patient("A") != await system.store.find_patient("A")


async def one_webhook_is_stored_twice(parts: Parts) -> bool:
    async with running(parts) as system, system.client() as client:
        await asyncio.gather(*[client.send_async(completed("A", "id")) for _ in range(4)])
        return len(await system.store.get_patient_detections("A")) > 1


async def a_repeated_webhook_is_stored_twice_after_a_disconnect(parts: Parts) -> bool:
    async with running(parts) as system, system.client() as client:
        find = system.store._find
        writing, go_on = threading.Event(), threading.Event()

        def held_up(connection: sqlite3.Connection, code: str) -> dict[str, Any] | None:
            writing.set()
            go_on.wait(5)
            return find(connection, code)

        system.store._find = held_up  # type: ignore[method-assign]
        body = json.dumps(completed("A", "id")).encode()
        _, writer = await asyncio.open_connection("127.0.0.1", system.server.port)
        writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await asyncio.to_thread(writing.wait, 5)
        writer.transport.abort()
        # Until the server has seen the connection go.
        await asyncio.sleep(0.02)
        go_on.set()
        await client.send_async(completed("A", "id"))
        return len(await system.store.get_patient_detections("A")) > 1


async def a_slow_transaction_is_stored_twice(parts: Parts) -> bool:
    async with running(parts) as system, system.client() as client:
        find = system.store._find

        def slow_find(connection: sqlite3.Connection, code: str) -> dict[str, Any] | None:
            time.sleep(0.06)
            return find(connection, code)

        system.store._find = slow_find  # type: ignore[method-assign]
        await client.send_async(completed("A", "id"))
        return len(await system.store.get_patient_detections("A")) > 1


async def more_pass_than_are_allowed(parts: Parts) -> bool:
    async with (
        running(parts, rate_limits=RateLimits(webhook=1)) as system,
        system.client(retry_count=1) as client,
    ):
        responses = await asyncio.gather(*[client.send_async(completed()) for _ in range(4)])
        return sum(response.success for response in responses) > 1


async def a_lost_answer_stores_twice(parts: Parts) -> bool:
    async with running(parts) as system:
        lost = 0

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal lost
            inward, outward = await asyncio.open_connection("127.0.0.1", system.server.port)
            outward.write(await reader.read(65536))
            answer = await inward.read(65536)
            lost += 1
            if lost > 1:
                writer.write(answer)
            for each in (writer, outward):
                each.close()
                await each.wait_closed()

        async with await asyncio.start_server(forward, "127.0.0.1", 0) as proxy:
            port = proxy.sockets[0].getsockname()[1]
            client = parts.client(f"http://127.0.0.1:{port}/webhook", sleep=Naps())
            async with client:
                assert (await client.send_async(completed("A"))).success
        return len(await system.store.get_patient_detections("A")) > 1


async def a_session_is_left_open(parts: Parts) -> bool:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        async with running(parts) as system:
            client = system.client()
            await asyncio.gather(client.send_async(completed()), client.send_async(completed()))
            await client.close()
            del client
        gc.collect()
    return any("Unclosed client session" in str(warning.message) for warning in seen)


async def a_failure_is_reported_as_success(parts: Parts) -> bool:
    async with running(parts) as system, system.client() as client:
        bad = [{"event_type": "nonsense", "n": "x" * size} for size in (1, 900_000)]
        responses = await client.send_batch_async(bad)
        # What the defect leaves under way would outlive the client.
        await asyncio.sleep(0.02)
        return any(response.success for response in responses)


SYMPTOMS: dict[str, Symptom] = {
    "check-then-insert-patient": two_patients_with_one_code,
    "lost-counter-update": fewer_counted_than_stored,
    "out-of-order-patient-update": an_old_value_wins,
    "near-equal-codes-merged": fewer_patients_than_codes,
    "stale-cache-fill": the_cache_is_behind_the_store,
    "idempotency-key-checked-not-reserved": one_webhook_is_stored_twice,
    "cancelled-between-write-and-ack": a_repeated_webhook_is_stored_twice_after_a_disconnect,
    "timeout-after-commit-retried": a_slow_transaction_is_stored_twice,
    "rate-limiter-over-admits": more_pass_than_are_allowed,
    "retry-delivers-twice": a_lost_answer_stores_twice,
    "session-created-twice": a_session_is_left_open,
    "batch-send-loses-an-error": a_failure_is_reported_as_success,
}


@pytest.mark.parametrize("name", SYMPTOMS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_defect_shows(name: str) -> None:
    def attempt() -> bool:
        parts = get(name).parts(Parts())
        return asyncio.run(quietly(SYMPTOMS[name], parts))

    assert any(attempt() for _ in range(TRIES))


@pytest.mark.parametrize("name", SYMPTOMS)
def test_the_correct_system_does_not_show_it(name: str) -> None:
    assert not any(asyncio.run(_of(SYMPTOMS[name], Parts())) for _ in range(3))


async def _of(symptom: Symptom, parts: Parts) -> bool:
    return await symptom(parts)


async def quietly(symptom: Symptom, parts: Parts) -> bool:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    return await symptom(parts)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_client_with_one_session_fails_in_the_second_loop() -> None:
    parts = get("client-unusable-after-loop-ended").parts(Parts())
    assert _works_in_two_loops(Parts().client)
    assert not _works_in_two_loops(parts.client)
    gc.collect()


def _works_in_two_loops(make: type[WebhookClient]) -> bool:
    client = make("http://127.0.0.1:9/webhook", retry_count=1)

    async def use() -> str:
        return (await client.send_async(completed())).message

    try:
        return [asyncio.run(use())[:10] for _ in range(2)] == ["Connection"] * 2
    except RuntimeError:
        return False


def test_every_defect_is_listed_with_all_that_is_known_of_it() -> None:
    elsewhere = {
        one.name
        for one in (
            *DATABASE_DEFECTS,
            *THREAD_DEFECTS,
            *REDIS_DEFECTS,
            *LEAK_DEFECTS,
            *NETWORK_DEFECTS,
            *CLOCK_DEFECTS,
            *SHUTDOWN_DEFECTS,
        )
    }
    assert set(DEFECTS) == {*SYMPTOMS, "client-unusable-after-loop-ended", *elsewhere}
    for name, defect in DEFECTS.items():
        assert defect.name == name
        assert defect.kind
        assert defect.where
        assert defect.breaks.endswith(".")
        assert defect.operations >= 1
        assert defect.deviations >= 0
        assert defect.parts(Parts()) != Parts()


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownDefect, match="'lost-counter-update'"):
        get("lost-counter-updates")
