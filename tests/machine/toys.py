"""Small machines, each with one bug (or none), whose smallest failure is known."""

import asyncio

import aiohttp
from aiohttp import web
from hypothesis import strategies as st
from hypothesis.stateful import rule

from desvelo import ConcurrentMachine, at_rest, fault, operation

PORT = 8080


class Correct(ConcurrentMachine):
    """Deposits that nothing can interrupt."""

    async def setup(self):
        self.balance = self.deposited = 0

    async def shutdown(self):
        self.balance = None

    @operation(amount=st.integers(1, 100))
    async def deposit(self, amount):
        await asyncio.sleep(0)
        self.balance += amount
        self.deposited += amount
        return amount

    @at_rest()
    def every_deposit_counts(self):
        assert self.balance == self.deposited, f"{self.balance} of {self.deposited}"


class LostUpdate(ConcurrentMachine):
    """A slow deposit loses a quick one that starts some iterations after it."""

    cancellable = False

    async def setup(self):
        self.balance = self.deposited = 0
        self.quick_turn, self.slow_turn = asyncio.Lock(), asyncio.Lock()

    async def _add(self, amount, turn):
        async with turn:
            seen = self.balance
            await asyncio.sleep(0)
            self.balance = seen + amount
            self.deposited += amount

    @operation(amount=st.integers(1, 100))
    async def quick(self, amount):
        await self._add(amount, self.quick_turn)

    @operation(amount=st.integers(1, 100))
    async def slow(self, amount):
        for _ in range(5):
            await asyncio.sleep(0)
        await self._add(amount, self.slow_turn)

    @at_rest()
    def every_deposit_counts(self):
        assert self.balance == self.deposited, f"{self.balance} of {self.deposited}"


class DrawsOn(LostUpdate):
    """A rule of it draws while it runs: its program cannot be taken again without Hypothesis."""

    @rule(data=st.data())
    def draw(self, data):
        data.draw(st.integers(0, 100))


class CheckThenInsert(ConcurrentMachine):
    """A server looks for a name, does something else, and inserts it."""

    cancellable = False

    async def setup(self):
        self.rows = []
        app = web.Application()
        app.router.add_post("/{name}", self._handle)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", PORT).start()
        self.session = aiohttp.ClientSession(f"http://127.0.0.1:{PORT}")

    async def shutdown(self):
        await self.session.close()
        await self.runner.cleanup()

    async def _handle(self, request):
        name = request.match_info["name"]
        if name not in self.rows:
            await request.read()
            await asyncio.sleep(0)
            self.rows.append(name)
        return web.Response(text="stored")

    @operation(name=st.sampled_from("abcd"))
    async def store(self, name):
        async with self.session.post(f"/{name}", data=b"x" * 10) as response:
            assert response.status == 200

    @at_rest()
    def every_name_is_stored_once(self):
        assert len(self.rows) == len(set(self.rows)), f"stored {self.rows}"


class CancelledHolder(ConcurrentMachine):
    """Whoever is cancelled between taking and giving back keeps what he took."""

    async def setup(self):
        self.taken = 0

    @operation(patience=st.integers(0, 9))
    async def work(self, patience):
        await asyncio.sleep(0)
        self.taken += 1
        await asyncio.sleep(patience)
        self.taken -= 1

    @operation()
    async def idle(self):
        await asyncio.sleep(0)

    @at_rest()
    def nothing_is_taken(self):
        assert self.taken == 0, f"{self.taken} taken"


class RetriedTwice(CheckThenInsert):
    """A client that repeats a request whose answer was lost: the server stores it again."""

    faults = (fault.stall, fault.reset, fault.lose_ack)

    async def _handle(self, request):
        self.rows.append(await request.text())
        return web.Response(text="stored")

    @operation()
    async def store(self):
        self.sent = getattr(self, "sent", 0) + 1
        name = str(self.sent)
        for _ in range(3):
            try:
                async with self.session.post("/x", data=name) as response:
                    await response.read()
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
