"""A world on kernel sockets: real bytes on loopback, the decisions and the clock as ever."""

import asyncio
import gc
import os
import socket
import ssl
import stat
import struct
import time
from pathlib import Path

import pytest
import trustme
from random_programs import drawn, outcome

from desvelo.exploration import young_garbage_only
from desvelo.schedule.decisions import Deviation, Key, Recorder, Schedule
from desvelo.schedule.policy import Recorded, Scale, make_policy
from desvelo.world import World
from desvelo.world.boundary import Boundary
from desvelo.world.kernel import Kernel, KernelGaveUp

RESET = struct.pack("ii", 1, 0)


def on_kernel(main, **options):
    kernel = Kernel(5)
    with World(kernel=kernel, **options) as world:
        result = world.run(main())
    assert kernel.trouble == ""
    return result, kernel


async def echo(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_what_is_written_goes_through_the_kernel_of_this_machine():
    sent = []

    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", 8000)
        reader, writer = await asyncio.open_connection("127.0.0.1", 8000)
        real = server.sockets[0]._sock.real
        sent.append((real.getsockname()[0], stat.S_ISSOCK(os.fstat(real.fileno()).st_mode)))
        writer.write(b"to and fro")
        answer = await reader.read(100)
        writer.close()
        server.close()
        return answer

    answer, kernel = on_kernel(main)
    assert answer == b"to and fro"
    assert kernel.connections == 1
    assert sent == [("127.0.0.1", True)]


def test_a_port_that_is_taken_on_the_real_machine_does_not_matter():
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]

    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", port)
        assert server.sockets[0].getsockname() == ("127.0.0.1", port)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        peer = writer.get_extra_info("peername")
        writer.close()
        server.close()
        return peer

    with taken:
        peer, _ = on_kernel(main)
    assert peer == ("127.0.0.1", port)


def test_a_server_for_everybody_listens_on_loopback_only():
    def open_to_everybody():
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return {row[1] for row in rows if row[3] == "0A" and row[1].startswith("00000000:")}

    async def main():
        before = open_to_everybody()
        server = await asyncio.start_server(echo, "0.0.0.0", 8000)
        reader, writer = await asyncio.open_connection("shop.example.org", 8000)
        writer.write(b"x")
        said = await reader.read(1)
        assert open_to_everybody() <= before
        writer.close()
        server.close()
        return said

    assert on_kernel(main)[0] == b"x"


def test_time_is_virtual_all_the_same():
    async def main():
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time() - before

    started = time.perf_counter()
    passed, _ = on_kernel(main)
    assert round(passed) == 3600
    assert time.perf_counter() - started < 60


def test_a_megabyte_passes_through_the_bounded_buffers():
    async def main():
        server = await asyncio.start_server(echo, "::1", 8000)
        reader, writer = await asyncio.open_connection("::1", 8000)

        async def send():
            writer.write(os.urandom(1 << 20))
            await writer.drain()
            writer.write_eof()

        sending = asyncio.ensure_future(send())
        size = 0
        while data := await reader.read(1 << 16):
            size += len(data)
        await sending
        writer.close()
        server.close()
        return size

    assert on_kernel(main)[0] == 1 << 20


def test_unix_sockets_and_pairs_are_real_too_and_leave_no_file():
    async def main():
        server = await asyncio.start_unix_server(echo, "/run/desvelo/echo")
        reader, writer = await asyncio.open_unix_connection("/run/desvelo/echo")
        writer.write(b"here")
        said = [await reader.read(4)]
        writer.close()
        server.close()
        one, other = socket.socketpair()
        one.setblocking(False)
        other.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(one, b"there")
        said.append(await loop.sock_recv(other, 10))
        one.close()
        other.close()
        return said

    before = set(Path("/tmp").glob(f"desvelo-{os.getpid()}-*"))
    assert on_kernel(main)[0] == [b"here", b"there"]
    assert set(Path("/tmp").glob(f"desvelo-{os.getpid()}-*")) == before


def test_nobody_listening_is_said_by_the_kernel():
    async def main():
        errors = []
        for host in ("127.0.0.1", "::1", "elsewhere.example"):
            try:
                await asyncio.open_connection(host, 9)
            except ConnectionRefusedError as error:
                errors.append(type(error).__name__)
        return errors

    assert on_kernel(main)[0] == ["ConnectionRefusedError"] * 3


def test_a_port_in_use_is_refused_by_the_kernel():
    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", 8000)
        try:
            await asyncio.start_server(echo, "127.0.0.1", 8000)
        except OSError as error:
            return error.errno
        finally:
            server.close()

    assert on_kernel(main)[0] == 98


def test_a_connection_that_is_aborted_is_reset_at_the_other_end():
    async def main():
        ended = asyncio.get_running_loop().create_future()

        async def serve(reader, writer):
            try:
                await reader.read(10)
            except ConnectionResetError as error:
                ended.set_result(type(error).__name__)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 8000)
        _, writer = await asyncio.open_connection("127.0.0.1", 8000)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
        said = await ended
        server.close()
        return said

    assert on_kernel(main)[0] == "ConnectionResetError"


def test_a_delivery_is_seen_when_its_decision_says_so():
    def run(kernel):
        order = []
        plan = Schedule([Deviation(Key("first", "deliver", 0), 40)])

        async def serve(reader, writer):
            order.append(await reader.read(10))
            writer.close()

        async def setup():
            return await asyncio.start_server(serve, "127.0.0.1", 8000)

        def client(data):
            async def call():
                _, writer = await asyncio.open_connection("127.0.0.1", 8000)
                writer.write(data)
                writer.close()

            return call

        with World(Recorder(Recorded(plan.values())), kernel=kernel) as world:
            server = world.call(setup)
            world.deciding = True
            world.finish([world.start(n, client(n.encode())) for n in ("first", "second")])
            world.settle()
            world.deciding = False
            world.call(server.close)
        return order

    assert run(Kernel(5)) == run(None) == [b"second", b"first"]


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_the_simulated_network_does_what_the_kernel_does(first):
    with Boundary(), young_garbage_only():
        for seed in range(first, first + 20):
            policy = make_policy("mix", seed, Scale(decisions=40, polls=60, arrivals=3))
            said, trace, schedule = outcome(drawn(seed), policy)
            kernel = Kernel(20)
            real, real_trace, _ = outcome(drawn(seed), Recorded(schedule.values()), kernel)
            assert real == said, seed
            assert trace.first_difference(real_trace) is None, seed
            assert kernel.trouble == "", seed
            gc.collect()


def test_every_descriptor_is_closed_at_the_end_whatever_the_program_leaves_open():
    async def main():
        await asyncio.start_server(echo, "127.0.0.1", 8000)
        await asyncio.start_unix_server(echo, "/run/echo")
        kept.append(await asyncio.open_connection("127.0.0.1", 8000))
        kept.append(socket.socket())

    kept = []
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with Boundary(), young_garbage_only():
            on_kernel(main)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_program_without_end_is_given_up_after_the_bound():
    async def main():
        while True:  # noqa: ASYNC110 - it is to spin
            await asyncio.sleep(0)

    kernel = Kernel(0.2)
    with World(kernel=kernel, max_polls=1 << 40) as world, pytest.raises(KernelGaveUp) as caught:
        world.run(main())
    assert str(caught.value) == "it took more than 0.2 s of processor time"


def test_encrypted_connections_work():
    authority = trustme.CA()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    ours.check_hostname = False
    ours.verify_mode = ssl.CERT_NONE

    async def main():
        server = await asyncio.start_server(echo, "localhost", 8443, ssl=theirs)
        reader, writer = await asyncio.open_connection("localhost", 8443, ssl=ours)
        writer.write(b"secret")
        said = await reader.readexactly(6)
        writer.close()
        server.close()
        return said

    assert on_kernel(main)[0] == b"secret"
