"""When the client tries again, and what it tells."""

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import pytest

from tests.vigia_reference.misbehaving_server import Naps, Scripted, hang_up, never, status
from tests.vigia_reference.payload_samples import completed, detection
from vigia_reference import (
    Event,
    EventType,
    Settings,
    SyncWebhookClient,
    System,
    WebhookClient,
    WebhookResponse,
)


class Elsewhere:
    """A system that runs in another thread, for code that is not asynchronous."""

    def __enter__(self) -> System:
        self._runner = asyncio.Runner()
        started = threading.Event()
        self._stopping = asyncio.Event()
        self.system = System(Settings(port=0))

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            async with self.system:
                started.set()
                await self._stopping.wait()

        self._thread = threading.Thread(target=lambda: self._runner.run(serve()))
        self._thread.start()
        started.wait(5)
        return self.system

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._runner.close()


def test_the_defaults_are_thirty_seconds_and_three_attempts() -> None:
    parameters = inspect.signature(WebhookClient).parameters
    assert list(parameters)[:4] == ["webhook_url", "api_key", "timeout", "retry_count"]
    assert parameters["api_key"].default is None
    assert parameters["timeout"].default == 30
    assert parameters["retry_count"].default == 3


@pytest.mark.asyncio
async def test_a_detection_is_sent_as_a_full_envelope(scripted: Scripted) -> None:
    scripted.script = [status(200, success=True, message="ok", data={"n": 1})]
    async with WebhookClient(scripted.url, api_key="key") as client:
        response = await client.send_detection(detection())
    assert response == WebhookResponse(True, 200, "ok", {"n": 1})
    [body] = scripted.bodies
    assert body["event_type"] == "detection.completed"
    assert body["payload"] == detection()
    assert {"timestamp", "source", "version", "webhook_id"} < set(body)
    assert scripted.headers[0]["Authorization"] == "Bearer key"


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
@pytest.mark.asyncio
async def test_passing_errors_are_tried_three_times_with_one_id_and_growing_waits(
    scripted: Scripted, naps: Naps, code: int
) -> None:
    scripted.script = [status(code, message="not now")]
    async with WebhookClient(scripted.url, sleep=naps) as client:
        response = await client.send_async(completed())
    assert (response.success, response.status_code, response.message) == (False, code, "not now")
    assert len(scripted.bodies) == 3
    assert len({body["webhook_id"] for body in scripted.bodies}) == 1
    assert naps.seconds == [1, 2]


@pytest.mark.parametrize("code", [301, 307, 400, 401, 403, 404, 409, 422])
@pytest.mark.asyncio
async def test_other_errors_are_final(scripted: Scripted, naps: Naps, code: int) -> None:
    scripted.script = [status(code, success=False, message="no")]
    async with WebhookClient(scripted.url, sleep=naps) as client:
        response = await client.send_async(completed())
    assert (response.success, response.status_code, response.message) == (False, code, "no")
    assert len(scripted.bodies) == 1
    assert naps.seconds == []


@pytest.mark.asyncio
async def test_a_lost_answer_is_tried_again_and_the_second_answer_counts(
    scripted: Scripted, naps: Naps
) -> None:
    scripted.script = [hang_up, status(200, success=True, message="ok")]
    async with WebhookClient(scripted.url, sleep=naps) as client:
        response = await client.send_async(completed(webhook_id="mine"))
    assert response.success
    assert [body["webhook_id"] for body in scripted.bodies] == ["mine", "mine"]
    assert naps.seconds == [1]


@pytest.mark.asyncio
async def test_a_time_out_is_tried_again_and_told(scripted: Scripted, naps: Naps) -> None:
    scripted.script = [never]
    async with WebhookClient(scripted.url, timeout=0.02, sleep=naps) as client:
        response = await client.send_async(completed())
    assert response == WebhookResponse(False, 0, "Request timed out")
    assert len(scripted.bodies) == 3


@pytest.mark.asyncio
async def test_a_refused_connection_is_told(naps: Naps, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/webhook"
    async with WebhookClient(url, sleep=naps) as client:
        response = await client.send_async(completed())
    assert (response.success, response.status_code) == (False, 0)
    assert response.message.startswith("Connection error")
    assert len(naps.seconds) == 2


@pytest.mark.parametrize("url", ["", "no url", "http://", "ftp://127.0.0.1/x"])
@pytest.mark.asyncio
async def test_a_wrong_url_is_told(url: str, naps: Naps) -> None:
    async with WebhookClient(url, sleep=naps) as client:
        assert (await client.send_async(completed())).status_code == 0


@pytest.mark.parametrize(
    ("content", "success"),
    [
        ({"success": True}, True),
        ({"success": False, "message": "no"}, False),
        ({}, True),
    ],
)
@pytest.mark.asyncio
async def test_a_success_is_a_2xx_that_does_not_deny_it(
    scripted: Scripted, content: dict[str, Any], success: bool
) -> None:
    scripted.script = [status(200, **content)]
    async with WebhookClient(scripted.url) as client:
        assert (await client.send_async(completed())).success is success


@pytest.mark.asyncio
async def test_one_attempt_is_one_attempt(scripted: Scripted, naps: Naps) -> None:
    scripted.script = [status(500)]
    async with WebhookClient(scripted.url, retry_count=1, sleep=naps) as client:
        await client.send_async(completed())
    assert len(scripted.bodies) == 1
    with pytest.raises(ValueError, match="retry_count"):
        WebhookClient(scripted.url, retry_count=0)


@pytest.mark.asyncio
async def test_what_is_no_json_is_raised(scripted: Scripted) -> None:
    async with WebhookClient(scripted.url) as client:
        with pytest.raises(TypeError):
            await client.send_async({"event_type": object()})


@pytest.mark.asyncio
async def test_it_works_without_async_with_and_opens_one_session(system: System) -> None:
    client = system.client()
    opened: list[object] = []
    new_session = client._new_session

    def counted() -> aiohttp.ClientSession:
        opened.append(1)
        return new_session()

    client._new_session = counted  # type: ignore[method-assign]
    responses = await asyncio.gather(*[client.send_async(completed()) for _ in range(5)])
    assert all(response.success for response in responses)
    assert len(opened) == 1
    await client.close()
    await client.close()


@pytest.mark.asyncio
async def test_a_closed_client_refuses_to_send_until_entered_again(system: System) -> None:
    client = system.client()
    await client.close()
    assert await client.send_async(completed()) == WebhookResponse(False, 0, "Client is closed")
    async with client:
        assert (await client.send_async(completed())).success


@pytest.mark.asyncio
async def test_closing_ends_the_events_that_are_being_sent(scripted: Scripted) -> None:
    scripted.script = [never]
    client = WebhookClient(scripted.url)
    sending = asyncio.create_task(client.send_async(completed()))
    await scripted.arrived.wait()
    await client.close()
    assert not (await sending).success
    assert len(scripted.bodies) == 1


@pytest.mark.asyncio
async def test_closing_during_a_wait_opens_nothing_new(scripted: Scripted) -> None:
    scripted.script = [status(503)]
    client = WebhookClient(scripted.url, sleep=lambda seconds: client.close())
    response = await client.send_async(completed())
    assert response.status_code == 503
    assert len(scripted.bodies) == 1


@pytest.mark.asyncio
async def test_a_cancelled_send_leaves_the_client_usable(scripted: Scripted) -> None:
    scripted.script = [never, status(200, success=True)]
    async with WebhookClient(scripted.url) as client:
        sending = asyncio.create_task(client.send_async(completed()))
        await scripted.arrived.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert (await client.send_async(completed())).success


@pytest.mark.asyncio
async def test_a_batch_is_answered_in_order_with_every_failure(system: System) -> None:
    async with system.client() as client:
        responses = await client.send_batch_async(
            [
                completed("A-1"),
                {"event_type": "nonsense"},
                {"event_type": object()},
                Event.new(EventType.DETECTION_COMPLETED, detection("A-2")),
                {"event_type": "nonsense"},
            ]
        )
    assert [response.success for response in responses] == [True, False, False, True, False]
    assert [response.status_code for response in responses] == [200, 400, 0, 200, 400]


def test_it_sends_from_code_without_a_loop() -> None:
    with Elsewhere() as system:
        client = system.client()
        assert client.send(completed()).success
        assert [response.success for response in client.batch_send([completed(), {}])] == [
            True,
            False,
        ]


def test_it_sends_from_several_threads_at_once() -> None:
    with Elsewhere() as system, ThreadPoolExecutor(4) as threads:
        client = system.client()
        assert all(r.success for r in threads.map(client.send, [completed()] * 12))


def test_it_sends_from_a_thread_whose_loop_is_running() -> None:
    async def call(client: WebhookClient) -> WebhookResponse:
        return client.send(completed())

    with Elsewhere() as system:
        assert asyncio.run(call(system.client())).success


def test_it_makes_a_new_session_when_its_loop_has_ended() -> None:
    async def use(client: WebhookClient, close: bool) -> bool:
        response = await client.send_async(completed())
        if close:
            await client.close()
        return response.success

    with Elsewhere() as system:
        client = system.client()
        assert [asyncio.run(use(client, close)) for close in (False, True, False)] == [True] * 3


def test_it_forgets_a_loop_that_was_closed_without_asyncio_run() -> None:
    client = WebhookClient("http://127.0.0.1:9/webhook", retry_count=1)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(client.send_async(completed()))
    loop.close()
    assert not client.send(completed()).success
    assert client._sessions == {}


def test_the_synchronous_client_keeps_one_loop_and_one_session() -> None:
    with Elsewhere() as system, SyncWebhookClient(f"{system.url}/webhook") as client:
        assert client.send(completed()).success
        assert client.send_detection(detection()).success
        assert [response.success for response in client.batch_send([completed()])] == [True]
        with ThreadPoolExecutor(3) as threads:
            assert all(r.success for r in threads.map(client.send, [completed()] * 6))
        assert len(client._client._sessions) == 1
    assert client.send(completed()).message == "Client is closed"
    assert client.batch_send([completed()])[0].message == "Client is closed"
