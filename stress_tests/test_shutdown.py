"""Is nothing lost, doubled or left behind when the service stops while it is at work?

Detections are delivered, alone and in batches, while others connect and send nothing, or half a
request, or keep a connection they do not use. At any moment the service stops, with patience or at
once, and perhaps starts again on the same port; and clients are closed while they send. At rest
the ledger is checked (`stress_tests.ledger`): what was acknowledged is stored once, nothing is
stored by half. Whoever sent is told what came of it, nothing is sent any more for a client that
was closed, every stop ends in bounded time, and after it the port is free.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from hypothesis import strategies as st

from desvelo import at_rest, current_target, fault, operation
from strategies import detection_completed, pooled_codes, webhook_ids
from stress_tests.budget import case_of
from stress_tests.ledger import Ledger
from stress_tests.scratch import database_file

SHUTDOWN_TIMEOUT = 4.0
"""Seconds that the service gives to requests in progress."""

LONGEST_STOP = 3 * SHUTDOWN_TIMEOUT + 1.0
LONGEST_HARD_STOP = 2.0
"""Virtual seconds that a stop may take, with patience and without."""

LONGEST_SEND = 30.0
"""Virtual seconds that an event may take: two attempts, a pause, and a stop that is waited for."""

HEAD = b"POST /webhook HTTP/1.1\r\nHost: vigia\r\nContent-Type: application/json\r\n"
BEGINNINGS = (
    HEAD + b'Content-Length: 100\r\n\r\n{"event',
    HEAD,
    b"GET /health HTTP/1.1\r\nHost: vigia\r\n\r\n",
    b"",
)
"""What a client sends that then falls silent: half a body, half a head, one request, nothing."""

SILENCE = 60.0
"""Virtual seconds after which it gives up."""


class Shutdown(Ledger):
    """Deliveries, silent clients, stops and starts."""

    faults = (fault.refuse, fault.reset)
    longest_elapse = 5.0

    async def setup(self) -> None:
        self.target = current_target()
        self.sent: dict[str, dict[str, Any]] = {}
        self.acknowledged: dict[str, None] = {}
        path = database_file()
        self.service = self.target.system(database_path=path, shutdown_timeout=SHUTDOWN_TIMEOUT)
        await self.service.start()
        self.client = self.service.client(timeout=5, retry_count=2)
        # Looks at what is stored, whether the service runs or not.
        self.system = self.target.system(database_path=path)
        await self.target.open_store(self.system)
        self.one_at_a_time = asyncio.Lock()

    async def shutdown(self) -> None:
        await self.client.close()
        await self.service.stop()
        await self.target.close_store(self.system)

    @operation(payload=detection_completed(pooled_codes()), webhook_id=webhook_ids())
    async def deliver(self, payload: dict[str, Any], webhook_id: str) -> bool:
        event = self.event(payload, webhook_id)
        async with asyncio.timeout(LONGEST_SEND):
            return self.note([event], [await self.client.send_async(event)])

    @operation(number=st.integers(0, 3))
    async def redeliver(self, number: int) -> bool:
        event = self.sent_before(number)
        if event is None:
            return False
        async with asyncio.timeout(LONGEST_SEND):
            return self.note([event], [await self.client.send_async(event)])

    @operation(
        payloads=st.lists(detection_completed(pooled_codes()), min_size=2, max_size=2),
        webhook_id=webhook_ids(),
    )
    async def batch(self, payloads: list[dict[str, Any]], webhook_id: str) -> bool:
        events = [self.event(one, f"{webhook_id}/{n}") for n, one in enumerate(payloads)]
        async with asyncio.timeout(LONGEST_SEND):
            return self.note(events, await self.client.send_batch_async(events))

    @operation(
        payload=detection_completed(pooled_codes()),
        webhook_id=webhook_ids(),
        seconds=st.sampled_from((0.0, 0.5, 1.5)),
    )
    async def close_while_sending(
        self, payload: dict[str, Any], webhook_id: str, seconds: float
    ) -> bool:
        """Send with a client of its own, and close that after some seconds."""
        event = self.event(payload, webhook_id)
        client = self.service.client(timeout=5, retry_count=3)
        sending = asyncio.create_task(client.send_async(event))
        try:
            await asyncio.sleep(seconds)
        finally:
            await client.close()
        async with asyncio.timeout(1):
            response = await sending
        return self.note([event], [response])

    @operation(beginning=st.sampled_from(BEGINNINGS))
    async def fall_silent(self, beginning: bytes) -> str:
        """Connect, send so much, and wait to be let go."""
        try:
            reader, writer = await asyncio.open_connection(self.service.settings.host, 8000)
        except OSError:
            return "refused"
        try:
            writer.write(beginning)
            async with asyncio.timeout(SILENCE):
                await reader.read(-1)
        except TimeoutError:
            return "gave up"
        except OSError:
            return "reset"
        finally:
            writer.close()
        return "let go"

    @operation(drain=st.sampled_from((True, False)))
    async def stop(self, drain: bool) -> None:
        """Stop the service; a stop that is cancelled goes on."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self.service.stop(drain=drain)
        took = loop.time() - began
        bound = LONGEST_STOP if drain else LONGEST_HARD_STOP
        assert took <= bound, f"a stop that should take {bound} s at most took {took:.1f} s"

    @operation()
    async def start_again(self) -> None:
        """Stop if need be, and start on the same port."""
        starting = asyncio.ensure_future(self.stop_and_start())
        while not starting.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(starting)
        starting.result()

    @at_rest()
    async def what_is_stored_is_answered_for(self) -> None:
        """An event without its key would be stored again when it is sent again."""
        answered = await self.target.answered(self.system)
        for path, _, _ in await self.target.images(self.system):
            assert self.sent[path]["webhook_id"] in answered, f"{path} is stored, its key is not"

    async def stop_and_start(self) -> None:
        async with self.one_at_a_time:
            await self.service.stop()
            await self.service.start()


TestShutdown = case_of(Shutdown, 0.3)
