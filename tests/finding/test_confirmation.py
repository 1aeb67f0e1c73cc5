"""Confirmation: a finding is replayed on kernel sockets, which can say no."""

import asyncio
import json
from dataclasses import replace

import pytest

from desvelo import Finding, explore
from desvelo.execution import Outcome, Settings, execute
from desvelo.failure import Failure, Hang
from desvelo.finding import confirmation
from desvelo.report.terminal import Explored, summary
from desvelo.scenario import Scenario
from desvelo.schedule.decisions import Deviation, Key, Schedule
from desvelo.schedule.policy import Fifo
from desvelo.world.kernel import Kernel
from desvelo.world.network import Network, Pipe
from desvelo.world.sockets import SimSocket

PORT = 8000


class Slow:
    """An answer that comes in two parts is taken for whole; shows when the message is cut."""

    async def setup(self):
        state = {"said": []}

        async def serve(reader, writer):
            state["said"].append(await reader.read(100))
            writer.close()

        state["server"] = await asyncio.start_server(serve, "127.0.0.1", PORT)
        return state

    def operations(self, state):
        async def tell():
            reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
            writer.write(b"a whole message")
            await reader.read()
            writer.close()

        return {"tell": tell}

    def check(self, state):
        assert state["said"] == [b"a whole message"]

    async def teardown(self, state):
        state["server"].close()


class TwoParts(Slow):
    """Fails when the network changes the order of what was written, and only then."""

    def operations(self, state):
        async def tell():
            _, writer = await asyncio.open_connection("127.0.0.1", PORT)
            writer.write(b"one")
            await asyncio.sleep(0.001)
            writer.write(b"two")
            await asyncio.sleep(1)
            writer.close()

        return {"tell": tell}

    async def setup(self):
        state = {"said": []}

        async def serve(reader, writer):
            state["said"].append(await reader.read())
            writer.close()

        state["server"] = await asyncio.start_server(serve, "127.0.0.1", PORT)
        return state

    def check(self, state):
        assert state["said"] == [b"onetwo"]


class AfterTheEnd(Slow):
    """Fails when a network takes bytes from a socket that has said its last."""

    def operations(self, state):
        async def tell():
            import socket

            loop = asyncio.get_running_loop()
            end = socket.socket()
            end.setblocking(False)
            await loop.sock_connect(end, ("127.0.0.1", PORT))
            await loop.sock_sendall(end, b"a whole message")
            end.shutdown(socket.SHUT_WR)
            try:
                await loop.sock_sendall(end, b"and more")
            except BrokenPipeError:
                state["refused"] = True
            end.close()

        return {"tell": tell}

    def check(self, state):
        assert "refused" in state


class OnePort(Slow):
    """Fails when two servers may listen at one port."""

    def operations(self, state):
        async def second():
            try:
                server = await asyncio.start_server(lambda *ends: None, "127.0.0.1", PORT)
            except OSError:
                return
            server.close()
            state["two"] = True

        return {"second": second}

    def check(self, state):
        assert "two" not in state


def explored(scenario, **options):
    found = explore(scenario, max_seconds=20, seed=1, **options)
    assert found is not None
    return found


def test_a_finding_is_confirmed_and_its_story_file_and_summary_say_so(tmp_path):
    found = explored(Slow, save=tmp_path)
    assert (found.confirmed, found.confirmation) == (True, "")
    assert found.story().endswith("\n\nConfirmed on kernel sockets.")
    assert "kernel sockets" not in found.story_text
    again = Finding.load(found.path)
    assert again.confirmed is True
    assert again.story() == found.story()
    assert "   Confirmed on kernel sockets." in summary([Explored("it", 1, 1, 1.0)], [again])


def test_what_is_not_confirmed_says_why_in_one_line(tmp_path):
    found = explored(Slow)
    confirmation.Confirmation(False, "it did not fail there").mark(found)
    found.save(tmp_path)
    again = Finding.load(found.path)
    said = "Not confirmed on kernel sockets: it did not fail there."
    assert again.story().endswith(f"\n\n{said}")
    assert f"   {said}" in summary([], [again, again, again]).splitlines()[-3:]
    assert json.loads(found.path.read_text())["confirmed"] is False


def test_a_finding_from_before_there_was_a_reason_can_be_read(tmp_path):
    found = explored(Slow)
    data = found.to_json()
    del data["confirmation"]
    data["confirmed"] = None
    place = tmp_path / "old.json"
    place.write_text(json.dumps(data))
    assert Finding.load(place).told_confirmation() == ""


# the simulated network does what no kernel does


def in_any_order(self, segment):
    """Let the first message overtake nothing, and the last one everything."""
    segment.permitted = True
    ready = [one for one in self.segments if one.permitted and one.data is not None]
    if len(self.segments) > 1 or segment.data is None:
        for one in reversed(ready):
            self.segments.remove(one)
            self.deliver(one.data)
    while self.segments and segment.data is None:
        self.deliver(self.segments.popleft().data)


def test_bytes_out_of_order_are_refused_by_the_kernel(monkeypatch):
    monkeypatch.setattr(Pipe, "_permit", in_any_order)
    found = explored(TwoParts)
    assert "twoone" in str(found.error)
    assert found.confirmed is False
    assert found.confirmation.startswith("it did not fail there")


def test_bytes_after_the_end_are_refused_by_the_kernel(monkeypatch):
    monkeypatch.setattr(SimSocket, "_writing", lambda self, call: self.outgoing)
    found = explored(AfterTheEnd)
    assert found.confirmed is False
    assert "did not fail there" in found.confirmation


def test_a_port_that_is_taken_is_refused_by_the_kernel(monkeypatch):
    monkeypatch.setattr(Network, "_is_taken", lambda self, sock, key: False)
    monkeypatch.setattr(Network, "_rivals", staticmethod(lambda key, among: []))
    found = explored(OnePort)
    assert found.confirmed is False
    assert "did not fail there" in found.confirmation


def test_bytes_that_vanish_arrive_through_the_kernel(monkeypatch):
    deliver = Pipe.deliver

    def losing(self, segment):
        deliver(self, None if segment is not None and b"message" in segment else segment)

    monkeypatch.setattr(Pipe, "deliver", losing)
    found = explored(Slow)
    assert (found.confirmed, found.deviations) == (False, 0)


def test_what_never_ends_is_confirmed_long_before_the_bound_on_iterations():
    class Spinning(Slow):
        def operations(self, state):
            async def wait():
                while "server" in state:  # noqa: ASYNC110 - for ever
                    await asyncio.sleep(0)

            return {"wait": wait}

    found = explored(Slow)
    settings = Settings(max_polls=1 << 40)

    def run(kernel):
        chosen = replace(settings, kernel=kernel)
        return execute(Scenario(Spinning), Fifo(), chosen, trace=True)

    hang = Failure("hang", Hang(), "hang")
    assert confirmation.confirm(found, hang, run).confirmed is True


# it never stands in the way


def test_a_kernel_that_does_not_follow_in_time_is_a_reason(monkeypatch):
    monkeypatch.setattr(confirmation, "Kernel", lambda seconds, **options: Kernel(0))
    found = explored(Slow)
    assert found.confirmed is False
    assert found.confirmation == "it took more than 0 s of processor time"


def test_whatever_breaks_there_does_not_end_the_exploration(monkeypatch):
    def broken(self, world, **options):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Kernel, "network", broken)
    found = explored(Slow)
    assert found.confirmed is False
    assert found.confirmation.endswith("OSError: [Errno 24] Too many open files")


@pytest.mark.parametrize("deviation", ["tell/split/9"])
def test_a_decision_that_was_never_met_is_named(deviation, monkeypatch):
    actor, kind, ordinal = deviation.split("/")
    found = explored(Slow)
    found.schedule = Schedule([Deviation(Key(actor, kind, int(ordinal)), 1)])
    nothing = Outcome(Schedule(), None, ("tell",), 0, [])
    failure = Failure("race", AssertionError(), "")
    result = confirmation.confirm(found, failure, lambda kernel: nothing)
    assert result.confirmed is False
    assert result.why == (
        'it did not fail there: the deviation "tell: its message #10 is cut after its first '
        'byte" never came up'
    )


def test_threads_are_not_asked():
    class Threads:
        runtime = "threads"

        def setup(self):
            return {"hits": 0}

        def operations(self, state):
            def hit():
                seen = state["hits"]
                seen += 1
                state["hits"] = seen

            return {"one": hit, "two": hit}

        def check(self, state):
            assert state["hits"] == 2

    found = explored(Threads)
    assert found.confirmed is None
    assert found.told_confirmation() == (
        "Kernel sockets were not asked: its threads run for real already."
    )
