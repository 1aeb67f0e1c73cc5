"""Sockets that block: in a controlled thread they wait, and others run meanwhile."""

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from desvelo import World
from desvelo.errors import WorldStuck

ADDRESS = ("127.0.0.1", 7000)


def run(*operations: Callable[[], Any]) -> list[Any]:
    """Run each operation in a thread of its own, and return what they returned."""
    with World(runtime="threads") as world:
        started = [
            world.start(f"{number}-{operation.__name__}", operation)
            for number, operation in enumerate(operations)
        ]
        world.finish(started)
        for one in started:
            if one.error is not None:
                raise one.error
        return [one.result for one in started]


def serve(answer: Callable[[socket.socket], Any]) -> Callable[[], Any]:
    def server() -> Any:
        with socket.create_server(ADDRESS) as listener:
            connection, _ = listener.accept()
            with connection:
                return answer(connection)

    return server


def connected() -> socket.socket:
    while True:
        try:
            return socket.create_connection(ADDRESS)
        except ConnectionRefusedError:
            # The server's thread has not come so far.
            time.sleep(0.01)


def test_two_threads_talk_to_one_another() -> None:
    def client() -> bytes:
        with connected() as sock:
            sock.sendall(b"hello")
            return sock.recv(100)

    answered = serve(lambda connection: connection.sendall(connection.recv(100).upper()))
    assert run(answered, client) == [None, b"HELLO"]


def test_sending_more_than_fits_waits_for_the_reader() -> None:
    size = 1_000_000

    def read_slowly(connection: socket.socket) -> int:
        time.sleep(1)
        read = 0
        while data := connection.recv(65536):
            read += len(data)
        return read

    def client() -> None:
        with connected() as sock:
            sock.sendall(b"x" * size)

    assert run(serve(read_slowly), client) == [size, None]


def test_connecting_to_nobody_is_refused() -> None:
    with pytest.raises(ConnectionRefusedError):
        run(lambda: socket.create_connection(ADDRESS))


def test_a_time_out_runs_by_the_virtual_clock() -> None:
    def client() -> float:
        with connected() as sock:
            sock.settimeout(3600)
            began = time.monotonic()
            with pytest.raises(TimeoutError, match="timed out"):
                sock.recv(1)
            return time.monotonic() - began

    _, waited = run(serve(lambda connection: connection.recv(1)), client)
    assert 3600 <= waited < 3601


def test_a_non_blocking_socket_does_not_wait() -> None:
    def client() -> None:
        with connected() as sock:
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(1)

    run(serve(lambda connection: connection.recv(1)), client)


def test_waiting_for_an_answer_that_never_comes_is_a_deadlock_that_says_so() -> None:
    def client() -> None:
        with connected() as sock:
            sock.recv(1)

    with pytest.raises(WorldStuck):
        run(serve(lambda connection: connection.recv(1)), client)
