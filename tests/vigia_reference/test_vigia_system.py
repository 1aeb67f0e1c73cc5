"""Starting, stopping, and staying whole under disturbance."""

import asyncio
import contextlib
import gc
import random
import socket
import sqlite3
import warnings
from pathlib import Path

import pytest

from tests.vigia_reference.payload_samples import completed, updated
from vigia_reference import Settings, System


@pytest.mark.asyncio
async def test_port_zero_reports_the_real_port() -> None:
    async with System(Settings(port=0)) as system:
        assert system.server.port > 0
        assert system.url == f"http://127.0.0.1:{system.server.port}"


@pytest.mark.asyncio
async def test_a_taken_port_is_reported_and_leaves_nothing_open() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        system = System(Settings(port=taken.getsockname()[1]))
        with pytest.raises(OSError, match="in use"):
            await system.start()
    await system.stop()


@pytest.mark.asyncio
async def test_a_system_that_runs_cannot_be_started_again_and_goes_on() -> None:
    async with System(Settings(port=0)) as system, system.client() as client:
        with pytest.raises(RuntimeError, match="has been started already"):
            await system.start()
        with pytest.raises(RuntimeError, match="has been started already"):
            await system.server.start()
        assert (await client.send_async(completed())).success


@pytest.mark.asyncio
async def test_a_start_that_fails_or_is_cancelled_can_be_tried_again(tmp_path: Path) -> None:
    system = System(Settings(port=0, database_path=str(tmp_path / "missing" / "vigia.db")))
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            await system.start()
    system = System(Settings(port=0))
    for turns in range(30):
        starting = asyncio.create_task(system.start())
        for _turn in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        if not starting.cancelled():
            await system.stop()
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", system.server.port or 1)) != 0
    async with system:
        pass
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.asyncio
async def test_a_start_waits_for_the_stop_before_it_and_a_stop_for_the_start() -> None:
    system = System(Settings(port=0))
    await system.start()
    await asyncio.gather(system.stop(), system.start())
    async with system.client() as client:
        assert (await client.send_async(completed())).success
    await asyncio.gather(system.stop(), system.start(), system.stop())
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", system.server.port)) != 0


@pytest.mark.asyncio
async def test_a_port_can_be_used_again_at_once() -> None:
    async with System(Settings(port=0)) as first, first.client() as client:
        await client.send_async(completed())
        port = first.server.port
    async with System(Settings(port=port)):
        pass


@pytest.mark.asyncio
async def test_stopping_twice_and_being_cancelled_while_stopping_close_everything() -> None:
    system = System(Settings(port=0))
    await system.start()
    stopping = asyncio.create_task(system.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await system.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.asyncio
async def test_stopping_twice_at_once_is_stopping_once() -> None:
    system = System(Settings(port=0))
    await system.start()
    async with system.client() as client:
        sending = asyncio.create_task(client.send_async(completed()))
        await asyncio.sleep(0.005)
        await asyncio.gather(system.stop(), system.stop())
        assert (await sending).success
    async with system:
        assert await system.store.list_patients() == []


@pytest.mark.asyncio
async def test_a_client_that_connects_while_it_stops_is_let_go() -> None:
    for turns in range(8):
        system = System(Settings(port=0))
        await system.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", system.server.port)
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.wait_for(system.stop(), 5)
        # The end of the stream, or a reset when the server had not accepted yet.
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        with contextlib.suppress(ConnectionResetError):
            await writer.wait_closed()


@pytest.mark.asyncio
async def test_a_file_keeps_what_was_acknowledged_and_the_keys_too(tmp_path: Path) -> None:
    settings = Settings(port=0, database_path=str(tmp_path / "vigia.db"))
    answers = []
    for _ in range(2):
        async with System(settings) as system, system.client() as client:
            answers.append(await client.send_async(completed("A-1", webhook_id="id")))
            assert len(await system.store.get_patient_detections("A-1")) == 1
    assert answers[0] == answers[1]
    assert answers[0].success


@pytest.mark.parametrize("seed", range(12))
def test_cancelled_repeated_and_concurrent_events_leave_it_whole(seed: int) -> None:
    """Forty events, a third of them cancelled at some moment, all sent again with their ids."""
    draw = random.Random(seed)

    async def disturb() -> None:
        async with System(Settings(port=0)) as system, system.client() as client:
            codes = ["A", "a", "B"]
            events = [
                completed(draw.choice(codes), webhook_id=f"id-{n}", risk_level="HIGH")
                if draw.random() < 0.7
                else {**updated(draw.choice(codes), status=n), "webhook_id": f"id-{n}"}
                for n in range(40)
            ]

            async def deliver(event: dict[str, object], patience: float) -> None:
                async with asyncio.timeout(patience):
                    assert (await client.send_async(event)).success

            async def look(code: str) -> None:
                await asyncio.sleep(draw.random() * 0.01)
                await system.records.patient(code)
                await system.records.latest_detection(code)

            await asyncio.gather(
                *[deliver(e, draw.choice([0.002, 0.004, 0.01, 5, 5, 5])) for e in events],
                *[deliver(e, 5) for e in events],
                *[look(draw.choice(codes)) for _ in range(20)],
                return_exceptions=True,
            )
            await asyncio.gather(*[deliver(event, 5) for event in events])
            for code in codes:
                sent = sum(
                    e["event_type"] == "detection.completed"
                    and e["payload"]["patient_code"] == code
                    for e in events
                )
                stored = await system.store.get_patient_detections(code)
                assert len(stored) == sent
                assert len(await system.store.list_patients(code)) <= 1
                patient = await system.store.find_patient(code)
                assert patient is None or patient["detection_count"] == sent
                assert await system.records.patient(code) == patient
                assert await system.records.latest_detection(code) == (
                    stored[0] if stored else None
                )
            detections = sum(e["event_type"] == "detection.completed" for e in events)
            assert len(await system.outbox.pending()) == detections
        assert asyncio.all_tasks() == {asyncio.current_task()}

    complaints: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        await disturb()
        gc.collect()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
    assert complaints == []
