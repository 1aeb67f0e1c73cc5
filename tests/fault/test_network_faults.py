"""What a program sees of each fault of the network: the same on simulated and on kernel sockets."""

import asyncio
import contextlib
import socket

import aiohttp
import pytest
from aiohttp import web

from desvelo import ConcurrentMachine, World, fault, operation
from desvelo.world.kernel import Kernel

WHERE = ("shop.example", 80)
URL = "http://shop.example/"


class Shop:
    """A web server and a client that sends one request, waits, and sends another one."""

    def __init__(self, kernel=None):
        self.served = []
        self.world = World(kernel=kernel)
        self.world.network.watched = True

    async def start(self):
        application = web.Application()
        application.router.add_post("/", self.answer)
        self.runner = web.AppRunner(application)
        await self.runner.setup()
        await web.TCPSite(self.runner, *WHERE).start()

    async def answer(self, request):
        self.served.append((await request.read()).decode())
        return web.Response(text="thanks" * 20)

    async def ask(self):
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for text in ("one", "two"):
                async with session.post(URL, data=text * 20) as response:
                    await response.read()
                await asyncio.sleep(5)
            return "answered"

    def told(self, one, variant):
        """Return what the client was told and the server got, when a fault strikes at the start."""
        with self.world as world:
            world.call(self.start)
            world.begin_to_decide()
            client = world.start("ask", self.ask)
            world.selector.call(lambda: one.strike(world, client, variant))
            world.finish([client])
            world.settle()
            world.call(self.runner.cleanup)
        seen = client.result if client.error is None else type(client.error).__name__
        return seen, [text[:3] for text in self.served], client.error


BOTH = ["one", "two"]
RESET = "ClientOSError"
TOLD = [
    (fault.reset.before_request, 0, RESET, []),
    (fault.reset.in_request, 0, RESET, []),
    (fault.reset.in_request, 2, RESET, []),
    (fault.reset.after_request, 0, RESET, ["one"]),
    (fault.reset.before_response, 0, RESET, ["one"]),
    (fault.lose_ack, 0, RESET, ["one"]),
    (fault.reset.in_response, 0, RESET, ["one"]),
    (fault.reset.in_response, 2, "ClientPayloadError", ["one"]),
    (fault.reset.after_response, 0, "answered", BOTH),
    (fault.half_close, 0, "ServerDisconnectedError", ["one"]),
    (fault.stall, 0, "TimeoutError", []),
    (fault.drip, 0, "TimeoutError", ["one"]),
    (fault.drip, 1, "answered", BOTH),
    (fault.partial, 0, "answered", BOTH),
    (fault.duplicate, 0, "answered", ["one", "one", "two"]),
    (fault.reorder, 0, "TimeoutError", ["one"]),
    (fault.refuse, 0, "ClientConnectorError", []),
    (fault.lookup_fails, 0, "ClientConnectorDNSError", []),
]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(("one", "variant", "seen", "served"), TOLD, ids=repr)
def test_what_the_program_sees(one, variant, seen, served, caplog):
    caplog.set_level("CRITICAL")
    assert Shop().told(one, variant)[:2] == (seen, served)
    kernel = Kernel()
    assert Shop(kernel).told(one, variant)[:2] == (seen, served)
    assert not kernel.trouble


def test_a_name_is_not_found_as_the_resolver_says_it():
    error = Shop().told(fault.lookup_fails, 0)[2]
    assert "Temporary failure in name resolution" in str(error)


@pytest.mark.parametrize("real", [False, True])
def test_a_server_is_told_of_an_end_that_its_client_has_not_sent(real):
    async def serve(reader, writer):
        asked = await reader.readline()
        assert await reader.read() == b""
        writer.write(asked.upper())
        writer.close()

    async def ask():
        reader, writer = await asyncio.open_connection(*WHERE)
        writer.write(b"still here\n")
        try:
            return await reader.readline()
        finally:
            writer.close()

    kernel = Kernel() if real else None
    with World(kernel=kernel) as world:
        server = world.run(asyncio.start_server(serve, *WHERE))
        asked = world.start("ask", ask)
        world.selector.call(lambda: fault.half_close.by_client.strike(world, asked, 0))
        world.finish([asked])
        assert asked.result == b"STILL HERE\n"
        world.within(server.close)
    assert kernel is None or not kernel.trouble


class Restarted(ConcurrentMachine):
    """A server that is started again on its port by the machine."""

    faults = (fault.restart_server,)
    expected_errors = (OSError,)
    reuse = True
    restarts = 0

    async def setup(self):
        self.server = await self.listening()

    async def shutdown(self):
        self.server.close()

    async def restart(self):
        self.restarts += 1
        self.server.close()
        self.server = await self.listening()

    async def listening(self):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, self.reuse)
        try:
            sock.bind(("127.0.0.1", 80))
            return await asyncio.start_server(self.serve, sock=sock)
        except OSError:
            sock.close()
            raise

    async def serve(self, reader, writer):
        with contextlib.suppress(OSError):
            writer.write(await reader.readline())
        # The server closes first: its port is left in TIME_WAIT.
        writer.close()

    @operation()
    async def ask(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", 80)
        try:
            writer.write(b"x\n")
            answer = await reader.readline()
            await asyncio.sleep(10)
            return answer
        finally:
            writer.close()


def test_a_server_dies_and_comes_back_on_its_port():
    state = Restarted()
    first = state.ask()
    state.elapse(seconds=2)
    # The new process takes its time: until then nobody listens.
    state.inject(handle=first, number=0, deviations=[("arrive", 1, 80)])
    state.advance(polls=2)
    second = state.ask()
    state.wait_for(handle=second)
    assert isinstance(second.error, ConnectionRefusedError)
    assert state.restarts == 0
    state.settle()
    third = state.ask()
    state.settle()
    assert third.result == b"x\n"
    assert state.restarts == 1
    state.teardown()


def test_a_restart_that_does_not_reuse_the_address_meets_time_wait():
    class Careless(Restarted):
        reuse = False
        expected_errors = ()

    state = Careless()
    asked = state.ask()
    state.elapse(seconds=2)
    state.inject(handle=asked, number=0)
    with pytest.raises(OSError, match="Address already in use"):
        state.settle()
    state.teardown()
