"""Requests over real sockets to servers that answer well, late, wrongly or not at all."""

import asyncio
import contextlib
from collections import Counter

import pytest

from desvelo.measure.load import WebhookRequest
from desvelo.measure.load.arrivals import arrive
from desvelo.measure.load.client import Load
from desvelo.measure.load.ledger import Fate, Ledger
from desvelo.measure.load.tally import Tally
from desvelo.measure.load.users import send_all

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"


def requests(count):
    return [WebhookRequest("POST", "/", b"body", {}, str(number)) for number in range(count)]


@contextlib.asynccontextmanager
async def server(answer):
    """Serve with ``answer(number of the request, writer)``; yields its URL and the connections."""
    count, writers = 0, []

    async def serve(reader, writer):
        nonlocal count
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(4)
                count += 1
                await answer(count, writer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", writers
        for writer in writers:
            writer.close()


def send(answer, count=20, users=3, **options):
    async def main():
        async with server(answer) as (url, connections):
            tally = Tally(lambda status, body: status == 200 and body == b"done", Ledger())
            load = Load(url, tally, **options)
            window = await send_all(load, iter(requests(count)), users)
            return tally, window, len(connections)

    return asyncio.run(main())


def writes(text):
    async def answer(number, writer):
        writer.write(text)

    return answer


def test_each_user_keeps_one_connection_and_all_is_counted_once():
    tally, window, connections = send(writes(OK))
    assert connections == 3
    assert (tally.requests, tally.failed, len(tally.times)) == (20, 0, 20)
    assert len(tally.ledger.of(Fate.ACKNOWLEDGED)) == 20
    step = tally.step(window, users=3)
    assert step.latency.count == 20
    assert round(step.throughput * step.seconds) == 20


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ndo\r\n2\r\nne\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\ndone",
    ],
    ids=["in chunks", "after a 100", "closing the connection"],
)
def test_answers_are_read_in_all_their_forms(text):
    tally, _, _ = send(writes(text))
    assert tally.errors == {}
    assert tally.requests == 20


def test_an_answer_may_end_with_the_connection():
    async def answer(number, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\ndone")
        writer.close()

    assert send(answer, count=5)[0].errors == {}


async def closes_half_way(number, writer):
    writer.write(OK[:-2])
    writer.close()


async def closes_with_length(number, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\ndone")
    writer.close()


async def hangs(number, writer):
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("answer", "kind", "fate"),
    [
        (writes(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), "status 404", Fate.REFUSED),
        (writes(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), "status 500", Fate.UNKNOWN),
        (writes(OK[:-4] + b"oops"), "success without an acknowledgement", Fate.REFUSED),
        (writes(b"SSH-2.0-OpenSSH\r\n"), "answer is not HTTP", Fate.UNKNOWN),
        (closes_half_way, "connection closed before the answer was complete", Fate.UNKNOWN),
        (closes_with_length, "connection closed before the answer was complete", Fate.UNKNOWN),
        (hangs, "time-out", Fate.UNKNOWN),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_failure_is_counted_by_its_kind(answer, kind, fate):
    tally, _, _ = send(answer, count=4, users=2, timeout=0.05)
    assert tally.errors == {kind: 4}
    assert len(tally.ledger.of(fate)) == 4
    # A request that nobody answered counts with the time for which it was waited.
    timed = kind == "time-out" or fate is Fate.REFUSED or kind.startswith("status")
    assert len(tally.times) == (4 if timed else 0)


def test_nobody_listening_is_an_error_of_each_request():
    async def main():
        async with server(writes(OK)) as (url, _):
            pass
        tally = Tally(lambda status, body: True, Ledger())
        await send_all(Load(url, tally), iter(requests(4)), 4)
        return tally.errors

    assert asyncio.run(main()) == {"connection refused": 4}


def test_latency_of_arrivals_counts_from_the_moment_at_which_they_were_to_arrive():
    stall = 0.1

    async def answer(number, writer):
        if number == 1:
            await asyncio.sleep(stall)
        writer.write(OK)

    async def main():
        async with server(answer) as (url, _):
            tally = Tally(lambda status, body: True, Ledger())
            window = await arrive(Load(url, tally), iter(requests(4)), [0, 0, 0, 0], connections=1)
            return tally, window

    tally, _ = asyncio.run(main())
    # Three of the four were served at once, but only after they had waited for the first.
    assert len(tally.times) == 4
    assert min(tally.times) >= stall
    # A user who waits for the answer before asking again sees one slow answer in four.
    patient, _, _ = send(answer, count=4, users=1)
    assert sorted(patient.times)[2] < stall <= max(patient.times)


def test_arrivals_do_not_wait_for_answers_while_there_are_connections():
    together = []

    async def answer(number, writer):
        together.append(writer)
        if len(together) == 5:  # nobody is answered before all have arrived
            for one in together:
                one.write(OK)

    async def main():
        async with server(answer) as (url, connections):
            tally = Tally(lambda status, body: True, Ledger())
            offsets = [number * 0.002 for number in range(5)]
            await arrive(Load(url, tally), iter(requests(5)), offsets, connections=9)
            return tally, len(connections)

    tally, connections = asyncio.run(main())
    assert (tally.requests, tally.failed, connections) == (5, 0, 5)


def test_a_wall_clock_that_jumps_back_harms_nothing(monkeypatch):
    import time

    monkeypatch.setattr(time, "time", Counter(now=0).total)
    tally, window, _ = send(writes(OK))
    assert tally.failed == 0
    assert all(0 < one < 10 for one in tally.times)
    assert 0 < window.seconds < 10
