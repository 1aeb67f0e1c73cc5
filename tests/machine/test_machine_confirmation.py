"""Findings of machines are replayed on kernel sockets: with faults, and with drawn values."""

import asyncio

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from desvelo import ConcurrentMachine, at_rest, fault, operation

PORT = 8080


class Asking(ConcurrentMachine):
    """Whatever goes wrong on the way to an answer is a failure here."""

    cancellable = False
    whole = True

    async def setup(self):
        self.server = await asyncio.start_server(self.answer, "127.0.0.1", PORT)

    async def shutdown(self):
        self.server.close()

    async def answer(self, reader, writer):
        try:
            asked = await reader.read(100)
            assert asked == b"a question" or not self.whole, asked
            writer.write(asked.upper())
        except ConnectionError:
            pass
        finally:
            writer.close()

    @operation()
    async def ask(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        try:
            writer.write(b"a question")
            async with asyncio.timeout(30):
                said = await reader.read(100)
            assert said == b"A QUESTION", said
        finally:
            writer.close()


@pytest.mark.parametrize(
    "one",
    [fault.reset, fault.reset.in_request, fault.refuse, fault.drip, fault.crash_server],
    ids=repr,
)
def test_what_a_fault_brings_out_is_confirmed(one, find):
    machine = type("Faulty", (Asking,), {"faults": (one,)})
    done = find(machine, examples=400)
    assert done.finding.confirmed is True, done.finding.confirmation
    assert "Confirmed on kernel sockets." in done.text


class Drawing(Asking):
    """Draws while it runs, so that its program cannot be run again without Hypothesis."""

    @rule(data=st.data())
    def look(self, data):
        self.seen = data.draw(st.integers(0, 3))

    @at_rest()
    def nothing_was_seen(self):
        if self.started:
            assert getattr(self, "seen", 0) != 2


def test_a_program_that_draws_as_it_runs_is_confirmed_by_drawing_again(find):
    done = find(Drawing, examples=400)
    assert done.finding.confirmed is True, done.finding.confirmation
