"""Faults of machines: how many may come, which may not be listed, and what they bring out."""

import asyncio
import time

import pytest

from desvelo import ConcurrentMachine, at_rest, fault, operation

SHOP = ("shop.example", 80)


class Shop(ConcurrentMachine):
    """A client that tries again when its connection breaks or nothing comes, and a plain server."""

    cancellable = False
    longest_elapse = 0

    async def setup(self):
        self.stored, self.asked = [], 0
        self.server = await asyncio.start_server(self.serve, *SHOP)

    async def shutdown(self):
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader, writer):
        try:
            if (line := await reader.readline()).endswith(b"\n"):
                self.stored.append(line)
                writer.write(b"ok\n")
        except OSError:
            pass
        finally:
            writer.close()

    async def ask(self, line):
        reader, writer = await asyncio.open_connection(*SHOP)
        try:
            writer.write(line)
            async with asyncio.timeout(20):
                return await reader.readline()
        finally:
            writer.close()

    @operation()
    async def order(self):
        self.asked += 1
        for _ in range(3):
            try:
                if await self.ask(b"bread\n") == b"ok\n":
                    return
            except OSError:
                pass
            await asyncio.sleep(1)


class StoredTwice(Shop):
    """Knows no order again when it is repeated."""

    @at_rest()
    def no_order_is_stored_twice(self):
        assert len(self.stored) <= self.asked, f"{self.asked} asked, {len(self.stored)} stored"


class LastOneWins(Shop):
    """The retry says something newer; the older attempt must not overwrite it."""

    @operation()
    async def order(self):
        for line in (b"1\n", b"2\n"):
            try:
                await self.ask(line)
            except OSError:
                continue
            self.said = line
            return

    @at_rest()
    def the_newest_is_kept(self):
        if self.stored:
            assert self.stored[-1] >= max(self.stored), self.stored


class HalfTaken(Shop):
    """The server takes what has come for all of it, when the connection breaks."""

    async def serve(self, reader, writer):
        line = b""
        try:
            while not line.endswith(b"\n"):
                line += await reader.readexactly(1)
            writer.write(b"ok\n")
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.stored += [line] if line else []
            writer.close()

    @at_rest()
    def orders_are_whole(self):
        assert all(line == b"bread\n" for line in self.stored), self.stored


class Lease(ConcurrentMachine):
    """Counts on the wall clock going forward, and not far."""

    cancellable = False
    longest_elapse = 0

    @operation()
    async def wait(self):
        began, alive = time.time(), time.monotonic()
        await asyncio.sleep(5)
        assert 4 < time.monotonic() - alive < 6
        passed = round(time.time() - began)
        if passed != 5:
            raise RuntimeError(f"{passed} s have passed")


FOUND = [
    (StoredTwice, fault.reset.before_response),
    (LastOneWins, fault.reorder),
    (HalfTaken, fault.reset.in_request),
    (Lease, fault.clock_jump),
]


@pytest.mark.parametrize(("machine", "one"), FOUND, ids=lambda v: getattr(v, "name", ""))
def test_a_defect_that_takes_one_fault_is_shrunk_to_it(machine, one, find):
    made = type(machine.__name__, (machine,), {"faults": (one,)})
    done = find(made, examples=200)
    injected = [step for step in done.steps if ".inject(" in step]
    assert len(injected) == 1, done.text
    assert "variant=" not in injected[0]
    assert len(done.steps) == 2
    assert done.finding.confirmed is not False, done.finding.confirmation
    assert f"fault: {one.describe('', 0).split('{')[0].split()[0]}" in done.text


def test_so_many_faults_come_as_are_allowed(find):
    seen = set()

    class Limited(Shop):
        faults = (fault.reset.at_most(1), fault.refuse, fault.lose_ack)
        most_faults = 2

        def teardown(self):
            seen.add((len(self.journal.injected), self.journal.injected.count("reset")))

    done = find(Limited, examples=60)
    assert done.error is None
    assert max(count for count, _ in seen) == 2
    assert max(resets for _, resets in seen) == 1


def test_no_faults_come_when_none_are_left(find):
    class Unfaulty(Shop):
        faults = fault.NETWORK
        most_faults = 0

        def teardown(self):
            assert not self.journal.injected

    assert find(Unfaulty, examples=20).error is None
