"""Does the whole service keep its promises on a network where anything may break, at any moment?

Detections are delivered, again and in batches, by clients that try again, and the service is
stopped and started again on its port. A second machine passes alarms on to a chat service.
Meanwhile the network does whatever it can. At rest the ledger is checked (`stress_tests.ledger`),
no alarm was told twice, and what counts as told was told. After shutdown every resource has been
returned.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st

from desvelo import at_rest, fault, operation
from strategies import detection_completed, pooled_codes, webhook_ids
from strategies.payloads import plain_completed
from stress_tests.budget import case_of
from stress_tests.ledger import Ledger
from stress_tests.scratch import database_file


class FaultyNetwork(Ledger):
    """Deliveries and restarts, with every fault of the network."""

    faults = fault.NETWORK
    longest_elapse = 10.0

    async def setup(self) -> None:
        await self.start_system(database_path=database_file())
        self.client = self.system.client(timeout=5)
        self.one_at_a_time = asyncio.Lock()
        self.restarts: list[asyncio.Future[None]] = []
        self.over = False

    async def shutdown(self) -> None:
        # Of an example that is given up, operations may begin even now.
        self.over = True
        await asyncio.gather(*self.restarts)
        await self.client.close()
        await self.system.stop()

    @operation(payload=detection_completed(pooled_codes()), webhook_id=webhook_ids())
    async def deliver(self, payload: dict[str, Any], webhook_id: str) -> bool:
        event = self.event(payload, webhook_id)
        return self.note([event], [await self.client.send_async(event)])

    @operation(number=st.integers(0, 3))
    async def redeliver(self, number: int) -> bool:
        event = self.sent_before(number)
        return event is not None and self.note([event], [await self.client.send_async(event)])

    @operation(
        payloads=st.lists(detection_completed(pooled_codes()), min_size=2, max_size=2),
        webhook_id=webhook_ids(),
    )
    async def batch(self, payloads: list[dict[str, Any]], webhook_id: str) -> bool:
        events = [self.event(one, f"{webhook_id}/{n}") for n, one in enumerate(payloads)]
        return self.note(events, await self.client.send_batch_async(events))

    @operation()
    async def restart(self) -> None:
        """Stop and start the service; whoever asked for it may go, it happens all the same."""
        if self.over:
            return
        restarting = asyncio.ensure_future(self.stop_and_start())
        self.restarts.append(restarting)
        while not restarting.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(restarting)
        restarting.result()

    async def stop_and_start(self) -> None:
        """Restart the service, one after the other."""
        async with self.one_at_a_time:
            await self.system.stop()
            await self.system.start()


class ChatService:
    """Takes one message a line, and answers that it has it."""

    address: ClassVar = ("chat.example", 443)

    def __init__(self) -> None:
        self.received: list[tuple[str, int]] = []
        """Channel and number of every message."""
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, *self.address)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if (line := await reader.readline()).endswith(b"\n"):
                channel, number = line.split()
                self.received.append((channel.decode(), int(number)))
                writer.write(b"ok\n")
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


class FaultyChat(Ledger):
    """Alarms that wait to be told, by several at once.

    A chat service that knows no identifiers takes a message that the network delivers twice for
    two, whatever the sender does: this fault is left out.
    """

    faults = tuple(one for one in fault.NETWORK if one is not fault.duplicate)
    longest_elapse = 10.0

    async def setup(self) -> None:
        self.chat = ChatService()
        await self.chat.start()
        await self.start_system()
        async with self.system.client() as client:
            event = self.event({**plain_completed("VG-2025-001"), "risk_level": "CRITICAL"}, "a")
            self.note([event], [await client.send_async(event)])

    async def shutdown(self) -> None:
        await self.system.stop()
        await self.chat.stop()

    @operation()
    async def pass_on_alarms(self) -> None:
        """Tell what is pending, and once more what could not be told."""
        for _ in range(2):
            await self.target.pass_on(self.system, self.tell)

    async def tell(self, channel: str, number: int) -> None:
        """Tell the chat service one message."""
        reader, writer = await asyncio.open_connection(*ChatService.address)
        try:
            writer.write(f"{channel} {number}\n".encode())
            if await asyncio.wait_for(reader.readline(), 5) != b"ok\n":
                raise ConnectionResetError("no answer")
        finally:
            writer.close()

    @at_rest()
    async def each_alarm_is_told_once(self) -> None:
        told = Counter(self.chat.received)
        twice = [alarm for alarm, count in told.items() if count > 1]
        assert not twice, f"told twice: {twice}"
        counted = await self.target.told(self.system)
        missed = [alarm for alarm in counted if alarm not in told]
        assert not missed, f"counts as told, and was not: {missed}"


TestFaultyNetwork = pytest.mark.stress(phase="webhook")(case_of(FaultyNetwork, 0.15))
TestFaultyChat = pytest.mark.stress(phase="webhook")(case_of(FaultyChat, 0.3))
