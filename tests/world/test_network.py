"""The simulated network behaves as TCP on one machine does."""

import asyncio
import errno
import socket
import struct

import pytest

from desvelo.errors import UnsupportedInWorld
from desvelo.schedule.decisions import ORDERS, Recorder
from desvelo.schedule.policy import Recorded, make_policy
from desvelo.world import World

LOCAL = "127.0.0.1"


def run(main, recorder=None, **options):
    with World(recorder, **options) as world:
        world.deciding = recorder is not None
        return world.run(main())


def listener(host=LOCAL, port=0, *, reuse=False, backlog=128, family=socket.AF_INET):
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    if reuse:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(backlog)
    return sock


async def connected(server, loop=None):
    """Return the client's and the server's end of a new connection."""
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)
    await loop.sock_connect(client, server.getsockname())
    accepted, _ = await loop.sock_accept(server)
    return client, accepted


async def pair():
    server = listener()
    ends = await connected(server)
    server.close()
    return ends


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        (LOCAL, LOCAL, True),
        ("0.0.0.0", LOCAL, True),
        (LOCAL, "0.0.0.0", True),
        (LOCAL, "127.0.0.2", False),
    ],
)
@pytest.mark.parametrize("reuse", [False, True])
def test_a_port_has_one_listener_for_each_address(first, second, taken, reuse):
    async def main():
        listener(first, 4000, reuse=reuse)
        if taken:
            with pytest.raises(OSError) as caught:
                listener(second, 4000, reuse=reuse)
            assert caught.value.errno == errno.EADDRINUSE
        else:
            listener(second, 4000, reuse=reuse)

    run(main)


def test_a_bound_socket_that_does_not_listen_is_in_the_way_unless_addresses_are_reused():
    async def main():
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((LOCAL, 4000))
        with pytest.raises(OSError, match="Address already in use"):
            listener(LOCAL, 4000)
        listener(LOCAL, 4000, reuse=True)

    run(main)


def test_reuse_port_lets_two_servers_share_a_port():
    async def main():
        servers = []
        for _ in range(2):
            server = socket.socket()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            server.bind((LOCAL, 4000))
            server.listen()
            servers.append(server)
        with pytest.raises(OSError, match="Address already in use"):
            listener(LOCAL, 4000)

    run(main)


@pytest.mark.parametrize("host", [LOCAL, "0.0.0.0"])
def test_after_the_server_closed_first_its_port_waits_for_a_minute(host):
    async def main():
        server = listener(port=4000)
        client, accepted = await connected(server)
        accepted.close()
        server.close()
        await asyncio.sleep(0.1)
        client.close()
        await asyncio.sleep(1)
        with pytest.raises(OSError, match="Address already in use"):
            listener(host, 4000)
        listener(host, 4000, reuse=True).close()
        await asyncio.sleep(60)
        listener(host, 4000)

    run(main)


def test_after_the_client_closed_first_the_servers_port_is_free_at_once():
    async def main():
        server = listener(port=4000)
        client, accepted = await connected(server)
        client.close()
        await asyncio.sleep(0.1)
        accepted.close()
        server.close()
        listener(port=4000)

    run(main)


def test_an_open_connection_keeps_the_port_of_a_closed_server():
    async def main():
        server = listener(port=4000)
        _ends = await connected(server)
        server.close()
        with pytest.raises(OSError, match="Address already in use"):
            listener(port=4000)
        listener(port=4000, reuse=True)

    run(main)


def test_ephemeral_ports_run_out_and_come_back_after_their_wait():
    async def main():
        server = listener(port=4000)
        ends = [await connected(server) for _ in range(3)]
        with pytest.raises(OSError) as caught:
            await connected(server)
        assert caught.value.errno == errno.EADDRNOTAVAIL
        client, accepted = ends[0]
        client.close()
        await asyncio.sleep(0.1)
        accepted.close()
        with pytest.raises(OSError, match="Cannot assign"):
            await connected(server)
        await asyncio.sleep(61)
        again, _ = await connected(server)
        return again.getsockname()[1]

    assert run(main, network={"ephemeral": range(50_000, 50_003)}) == 50_000


def test_a_socket_that_found_no_port_may_try_again():
    async def main():
        server = listener(port=4000)
        _client, _accepted = await connected(server)
        other = socket.socket()
        other.setblocking(False)
        for _ in range(2):
            with pytest.raises(OSError, match="Cannot assign"):
                other.connect(server.getsockname())

    run(main, network={"ephemeral": range(50_000, 50_001)})


def test_a_full_backlog_makes_the_next_client_wait_until_somebody_is_accepted():
    async def main():
        loop = asyncio.get_running_loop()
        server = listener(backlog=2)
        clients = []
        for _ in range(5):
            client = socket.socket()
            client.setblocking(False)
            clients.append(client)
        tasks = [loop.create_task(loop.sock_connect(c, server.getsockname())) for c in clients]
        await asyncio.sleep(1)
        before = [task.done() for task in tasks]
        clients[2].close()
        tasks[2].cancel()
        for _ in range(2):
            await loop.sock_accept(server)
        await asyncio.sleep(1)
        return before, [task.done() for task in tasks]

    assert run(main) == ([True, True, False, False, False], [True] * 5)


def test_nobody_listening_means_refused():
    async def main():
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(LOCAL, 4000)

    run(main)


def test_connections_that_nobody_accepted_are_reset_when_the_server_closes():
    async def main():
        loop = asyncio.get_running_loop()
        server = listener()
        client = socket.socket()
        client.setblocking(False)
        await loop.sock_connect(client, server.getsockname())
        await asyncio.sleep(0.1)
        server.close()
        with pytest.raises(ConnectionResetError):
            await loop.sock_recv(client, 10)

    run(main)


def test_connections_are_accepted_in_the_order_in_which_they_came():
    async def main():
        loop = asyncio.get_running_loop()
        server = listener()
        names = []
        for _ in range(5):
            client = socket.socket()
            client.setblocking(False)
            await loop.sock_connect(client, server.getsockname())
            names.append(client.getsockname())
        return names == [(await loop.sock_accept(server))[1] for _ in range(5)]

    assert run(main)


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_a_port_out_of_range_is_one_clear_error(port):
    async def main():
        with pytest.raises(OverflowError, match="port must be 0-65535"):
            await asyncio.open_connection(LOCAL, port)
        with pytest.raises(OverflowError, match="port must be 0-65535"):
            await asyncio.start_server(lambda r, w: None, LOCAL, port)

    run(main)


def test_a_half_closed_connection_still_carries_the_other_direction():
    async def main():
        loop = asyncio.get_running_loop()
        one, other = await pair()
        one.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(other, 10) == b""
        await loop.sock_sendall(other, b"late answer")
        assert await loop.sock_recv(one, 100) == b"late answer"
        with pytest.raises(BrokenPipeError):
            one.send(b"more")

    run(main)


def test_closing_with_unread_data_resets_the_peer():
    async def main():
        loop = asyncio.get_running_loop()
        one, other = await pair()
        await loop.sock_sendall(one, b"never read")
        await asyncio.sleep(0.1)
        other.close()
        with pytest.raises(ConnectionResetError):
            await loop.sock_recv(one, 10)

    run(main)


def test_closing_with_data_that_is_still_under_way_resets_the_peer_too():
    async def main():
        one, other = await pair()
        one.send(b"too late")
        other.close()
        await asyncio.sleep(0.1)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            one.send(b"more")

    run(main)


def test_lingering_for_no_time_resets_the_peer():
    async def main():
        loop = asyncio.get_running_loop()
        one, other = await pair()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()
        with pytest.raises(ConnectionResetError):
            await loop.sock_recv(other, 10)

    run(main)


def test_what_was_sent_before_closing_is_read_before_the_end():
    async def main():
        loop = asyncio.get_running_loop()
        one, other = await pair()
        one.send(b"last words")
        one.close()
        await asyncio.sleep(1)
        return await loop.sock_recv(other, 4), await loop.sock_recv(other, 99), other.recv(1)

    assert run(main) == (b"last", b" words", b"")


def test_the_first_write_to_a_closed_peer_goes_out_and_a_later_one_fails():
    async def main():
        one, other = await pair()
        other.close()
        await asyncio.sleep(0.1)
        assert one.send(b"first") == 5
        await asyncio.sleep(0.1)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            one.send(b"second")

    run(main)


def test_a_connection_holds_as_much_as_its_capacity_and_no_more():
    async def main():
        loop = asyncio.get_running_loop()
        one, other = await pair()
        assert one.send(b"x" * 150) == 100
        with pytest.raises(BlockingIOError):
            one.send(b"y")
        sending = asyncio.create_task(loop.sock_sendall(one, b"z" * 250))
        await asyncio.sleep(1)
        assert not sending.done()
        received = b""
        while len(received) < 350:
            received += await loop.sock_recv(other, 7)
        await sending
        return received

    assert run(main, network={"capacity": 100}) == b"x" * 100 + b"z" * 250


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (0, [b"abcdef"]),
        (1, [b"a", b"bcdef"]),
        (2, [b"abc", b"def"]),
        (3, [b"abcde", b"f"]),
    ],
)
def test_a_message_may_arrive_in_parts(value, parts):
    async def main():
        loop = asyncio.get_running_loop()
        one, other = await pair()
        await loop.sock_sendall(one, b"abcdef")
        received = [await loop.sock_recv(other, 100)]
        while len(b"".join(received)) < 6:
            received.append(await loop.sock_recv(other, 100))
        return received

    held = {("world", "split", 0): value, ("world", "deliver", 1): 3 * ORDERS}
    assert run(main, Recorder(Recorded(held))) == parts


def test_a_write_may_be_accepted_in_part_only():
    async def main():
        loop = asyncio.get_running_loop()
        one, other = await pair()
        accepted = one.send(b"abcdef")
        await loop.sock_sendall(one, b"abcdef"[accepted:])
        received = b""
        while len(received) < 6:
            received += await loop.sock_recv(other, 100)
        return accepted, received

    assert run(main, Recorder(Recorded({("world", "split", 0): 4}))) == (3, b"abcdef")


def test_a_small_read_leaves_the_rest_for_the_next_one():
    async def main():
        loop = asyncio.get_running_loop()
        one, other = await pair()
        await loop.sock_sendall(one, b"abcdef")
        first = await loop.sock_recv(other, 2)
        peeked = other.recv(2, socket.MSG_PEEK)
        buffer = bytearray(10)
        count = await loop.sock_recv_into(other, buffer)
        return first, peeked, bytes(buffer[:count])

    assert run(main) == (b"ab", b"cd", b"cdef")


def test_a_socket_pair_is_connected():
    async def main():
        loop = asyncio.get_running_loop()
        one, other = socket.socketpair()
        one.setblocking(False)
        other.setblocking(False)
        await loop.sock_sendall(one, b"hello")
        return await loop.sock_recv(other, 10)

    assert run(main) == b"hello"


def test_the_state_of_a_socket_is_what_python_tells_of_a_real_one():
    async def main():
        fresh = socket.socket()
        assert fresh.fileno() > 0
        assert fresh.getsockname() == ("0.0.0.0", 0)
        with pytest.raises(OSError, match="not connected"):
            fresh.getpeername()
        with pytest.raises(OSError, match="not connected"):
            fresh.shutdown(socket.SHUT_RDWR)
        assert isinstance(fresh, socket.socket)
        assert fresh.type is socket.SOCK_STREAM
        fresh.close()
        assert fresh.fileno() == -1
        with pytest.raises(OSError, match="Bad file descriptor"):
            fresh.getsockname()
        one, other = await pair()
        assert one.getpeername() == other.getsockname()
        with pytest.raises(OSError, match="already connected"):
            one.connect((LOCAL, 1))
        with pytest.raises(UnsupportedInWorld, match=r"socket.sendto\(\)"):
            one.sendto(b"", (LOCAL, 1))

    run(main)


def test_every_name_has_an_address_and_an_address_knows_its_name():
    async def main():
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo("db.example.org", "postgresql", type=socket.SOCK_STREAM)
        again = socket.getaddrinfo("DB.example.org", 5432)
        assert found == again
        address, port = found[0][4]
        assert port == 5432
        assert socket.gethostbyname("db.example.org") == address
        assert socket.gethostbyaddr(address)[0] == "db.example.org"
        assert socket.gethostbyname_ex("other.example.org")[2] != [address]
        assert socket.getfqdn("db.example.org") == "db.example.org"
        assert socket.gethostname() == "desvelo"
        assert await loop.getnameinfo((address, port)) == (address, "5432")
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo("db.example.org", "no-such-service")
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo("::1", 80, socket.AF_INET)

    run(main)


@pytest.mark.parametrize("host", ["::1", "localhost", "127.0.0.1"])
def test_a_server_on_localhost_is_reached_over_both_families(host):
    async def main():
        server = await asyncio.start_server(lambda r, w: w.close(), "localhost", 4000)
        families = {sock.family for sock in server.sockets}
        reader, writer = await asyncio.open_connection(host, 4000)
        peer = writer.get_extra_info("peername")
        await reader.read()
        writer.close()
        server.close()
        return families, peer[0]

    families, peer = run(main)
    assert families == {socket.AF_INET, socket.AF_INET6}
    assert peer == ("::1" if host == "::1" else LOCAL)


def test_a_wildcard_of_the_sixth_version_takes_the_fourth_unless_told_not_to():
    async def main():
        server = socket.socket(socket.AF_INET6)
        server.bind(("::", 4000))
        server.listen()
        _, writer = await asyncio.open_connection(LOCAL, 4000)
        writer.close()
        server.close()
        server = socket.socket(socket.AF_INET6)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind(("::", 4001))
        server.listen()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(LOCAL, 4001)

    run(main)


def test_an_asyncio_server_restarts_on_its_port_at_once():
    async def main():
        async def answer(reader, writer):
            writer.write(await reader.readexactly(5))
            writer.close()

        for _ in range(3):
            server = await asyncio.start_server(answer, LOCAL, 4000)
            reader, writer = await asyncio.open_connection(LOCAL, 4000)
            writer.write(b"hello")
            assert await reader.read() == b"hello"
            writer.close()
            server.close()
            await server.wait_closed()

    for seed in range(30):
        run(main, Recorder(make_policy("mix", seed, 60)))
