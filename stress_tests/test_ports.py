"""Does a port belong to one system at a time, and is it free when that system has stopped?

Systems are started on two ports, stopped, and started again, with requests in flight; starts fail
because the port is taken or the configuration is bad, or are cancelled. Whoever is refused must
have had a rival, two never serve one port, and a system that runs answers.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from hypothesis import strategies as st

from desvelo import ConcurrentMachine, at_rest, current_target, operation
from strategies import webhook_ids
from strategies.payloads import envelope, plain_completed
from stress_tests.budget import case_of

PORTS = (8000, 8001)
ports = st.sampled_from((8000, 8000, 8001))

NO_SUCH_FOLDER = "/no/such/folder/vigia.db"


class Ports(ConcurrentMachine):
    """Systems that come and go on two ports."""

    longest_elapse = 10.0

    async def setup(self) -> None:
        self.target = current_target()
        self.running: dict[int, list[Any]] = {port: [] for port in PORTS}
        """Systems that have started and are not being stopped."""
        self.tenants = dict.fromkeys(PORTS, 0)
        """How many systems have the port, or are about to take it or to give it back."""
        self.tenancies = dict.fromkeys(PORTS, 0)
        """How many there have ever been."""
        self.clients = {port: self.new_client(port) for port in PORTS}

    async def shutdown(self) -> None:
        for port in PORTS:
            await self.clients[port].close()
            for system in self.running[port]:
                await system.stop()

    def new_client(self, port: int) -> Any:
        return self.target.client(f"http://127.0.0.1:{port}/webhook", timeout=5, retry_count=1)

    @operation(port=ports, patience=st.none() | st.integers(0, 12))
    async def start(self, port: int, patience: int | None) -> str:
        """Start a system; some give up after so many iterations of the event loop."""
        system = self.target.system(port=port)
        if patience is None:
            return await self.begin(system, port)
        starting = asyncio.create_task(self.begin(system, port))
        try:
            for _ in range(patience):
                await asyncio.sleep(0)
        finally:
            starting.cancel()
            await asyncio.wait([starting])
        return "given up" if starting.cancelled() else starting.result()

    @operation(port=ports)
    async def start_badly(self, port: int) -> str:
        system = self.target.system(port=port, database_path=NO_SUCH_FOLDER)
        try:
            await self.begin(system, port)
        except AssertionError:
            raise
        except Exception as error:
            return type(error).__name__
        raise AssertionError("a system without a database has started")

    @operation(port=ports)
    async def stop(self, port: int) -> str:
        if not self.running[port]:
            return "nothing to stop"
        await self.end(self.running[port].pop(), port)
        return "stopped"

    @operation(port=ports, stopped=st.booleans())
    async def restart(self, port: int, stopped: bool) -> str:
        """Start a system that has run: it must refuse, and go on, unless it was stopped."""
        if not self.running[port]:
            return "nothing to restart"
        system = self.running[port].pop()
        if stopped:
            await self.end(system, port)
            return await self.begin(system, port)
        try:
            await system.start()
        except Exception as error:
            return f"refused: {type(error).__name__}"
        finally:
            self.running[port].append(system)
        raise AssertionError("a system that was running has started again")

    @operation(port=ports, webhook_id=webhook_ids())
    async def send(self, port: int, webhook_id: str) -> int:
        event = envelope("detection.completed", plain_completed("TEST-001"), webhook_id)
        return int((await self.clients[port].send_async(event)).status_code)

    async def begin(self, system: Any, port: int) -> str:
        """Start a system, which may be refused because there is another one."""
        self.tenants[port] += 1
        self.tenancies[port] += 1
        others, before = self.tenants[port] - 1, self.tenancies[port]
        try:
            await system.start()
        except OSError as refusal:
            if refusal.errno != errno.EADDRINUSE:
                raise
            if not others and self.tenancies[port] == before:
                raise AssertionError(f"refused, and nobody else has port {port}") from refusal
            if str(port) not in str(refusal):
                raise AssertionError(f"the error names no port: {refusal}") from refusal
            return "refused"
        else:
            self.running[port].append(system)
            return "started"
        finally:
            if system not in self.running[port]:
                self.tenants[port] -= 1

    async def end(self, system: Any, port: int) -> None:
        """Stop a system, which then has given its port back, cancelled or not."""
        try:
            await system.stop()
        finally:
            self.tenants[port] -= 1

    @at_rest()
    def one_system_serves_a_port(self) -> None:
        for port, systems in self.running.items():
            assert len(systems) < 2, f"{len(systems)} systems serve port {port}"

    @at_rest()
    async def who_runs_answers(self) -> None:
        for port, systems in self.running.items():
            if systems:
                async with health(port) as answer:
                    assert answer.status == 200


@asynccontextmanager
async def health(port: int) -> AsyncIterator[aiohttp.ClientResponse]:
    """Ask whoever listens at this port how he is."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/health") as answer,
    ):
        yield answer
        await answer.read()
    # The closed connection reaches the server before the next check looks.
    await asyncio.sleep(0)


TestPorts = pytest.mark.stress(phase="webhook")(case_of(Ports, 0.5))
