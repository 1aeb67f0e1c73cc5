"""Connections are lent to one caller at a time, and come back as good as new."""

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from vigia_reference.clinical.errors import PoolClosed, PoolExhausted
from vigia_reference.clinical.pool import AsyncConnectionPool, ConnectionPool


class Fake:
    """A connection that remembers what was done with it."""

    def __init__(self) -> None:
        self.closed = False
        self.in_transaction = False
        self.breaks = False
        self.rollbacks = 0

    def rollback(self) -> None:
        if self.breaks:
            raise ConnectionError
        self.rollbacks += 1
        self.in_transaction = False

    def close(self) -> None:
        self.closed = True


class AsyncFake(Fake):
    """The same, awaited."""

    async def rollback(self) -> None:
        super().rollback()

    async def close(self) -> None:
        super().close()


async def _fake() -> Any:
    return AsyncFake()


def test_a_connection_is_used_again_and_never_by_two_at_once() -> None:
    pool: Any = ConnectionPool(Fake)
    with pool.connection() as first, pool.connection() as second:
        assert first is not second
    with pool.connection() as third:
        assert third in {first, second}


@pytest.mark.parametrize("breaks", [False, True])
def test_a_connection_that_comes_back_inside_a_transaction_is_rolled_back(breaks: bool) -> None:
    pool: Any = ConnectionPool(Fake)
    with contextlib.suppress(LookupError), pool.connection() as connection:
        connection.in_transaction = True
        connection.breaks = breaks
        raise LookupError
    with pool.connection() as following:
        assert (following is connection) == (not breaks)
        assert not following.in_transaction
    assert connection.closed == breaks


@pytest.mark.asyncio
@pytest.mark.parametrize("breaks", [False, True])
async def test_the_same_holds_for_tasks(breaks: bool) -> None:
    pool: Any = AsyncConnectionPool(_fake)
    with contextlib.suppress(LookupError):
        async with pool.connection() as connection:
            connection.in_transaction = True
            connection.breaks = breaks
            raise LookupError
    async with pool.connection() as following:
        assert (following is connection) == (not breaks)
        assert not following.in_transaction
    assert connection.closed == breaks


def test_whoever_finds_none_left_waits_until_one_comes_back() -> None:
    pool: Any = ConnectionPool(Fake, size=1)
    got: list[Any] = []

    def take() -> None:
        with pool.connection() as connection:
            got.append(connection)

    with pool.connection() as held:
        waiting = threading.Thread(target=take)
        waiting.start()
        assert got == []
    waiting.join()
    assert got == [held]


def test_waiting_has_an_end() -> None:
    pool: Any = ConnectionPool(Fake, size=1, timeout=0.01)
    with pool.connection(), pytest.raises(PoolExhausted), pool.connection():
        pass


@pytest.mark.asyncio
async def test_waiting_has_an_end_for_tasks_too() -> None:
    pool: Any = AsyncConnectionPool(_fake, size=1, timeout=0.01)
    async with pool.connection():
        with pytest.raises(PoolExhausted):
            async with pool.connection():
                pass
    async with pool.connection():
        pass


def test_a_failure_to_connect_takes_no_place() -> None:
    answers = iter([ConnectionRefusedError(), ConnectionRefusedError(), Fake()])

    def connect() -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    pool: Any = ConnectionPool(connect, size=1)
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError), pool.connection():
            pass
    with pool.connection():
        pass


def test_closing_closes_those_in_use_when_they_come_back() -> None:
    pool: Any = ConnectionPool(Fake)
    pool.open(2)
    with pool.connection() as used:
        pool.close()
        pool.close()
        assert not used.closed
    assert used.closed
    with pytest.raises(PoolClosed), pool.connection():
        pass


@pytest.mark.asyncio
async def test_closing_closes_those_of_tasks_when_they_come_back() -> None:
    pool: Any = AsyncConnectionPool(_fake)
    await pool.open(2)
    async with pool.connection() as used:
        await pool.close()
        await asyncio.sleep(0)
        assert not used.closed
    assert used.closed
    with pytest.raises(PoolClosed):
        async with pool.connection():
            pass
