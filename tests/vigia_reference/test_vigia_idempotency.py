"""One webhook, one effect, one answer."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from vigia_reference.database import Database
from vigia_reference.idempotency import AlreadyAnswered, Idempotency


@pytest_asyncio.fixture
async def ledger() -> AsyncIterator[Idempotency]:
    database = Database()
    await database.open()
    yield Idempotency(database)
    await database.close()


class Effects:
    """Counts what it does, and answers with the count."""

    def __init__(self, ledger: Idempotency) -> None:
        self.ledger = ledger
        self.done = 0

    def write(self, connection: sqlite3.Connection) -> int:
        self.done += 1
        return self.done

    def attempt(self, key: str | None) -> Callable[[], Awaitable[str]]:
        async def run() -> str:
            return str(await self.ledger.commit(key, self.write, str))

        return run


@pytest.mark.asyncio
async def test_duplicates_at_once_get_the_first_ones_answer(ledger: Idempotency) -> None:
    effects = Effects(ledger)
    answers = await asyncio.gather(*[ledger.once("id", effects.attempt("id")) for _ in range(10)])
    assert answers == ["1"] * 10
    assert effects.done == 1


@pytest.mark.asyncio
async def test_a_duplicate_afterwards_gets_the_answer_on_record(ledger: Idempotency) -> None:
    effects = Effects(ledger)
    await ledger.once("id", effects.attempt("id"))
    assert await ledger.once("id", effects.attempt("id")) == "1"
    with pytest.raises(AlreadyAnswered):
        await ledger.check("id")
    await ledger.check("other")


@pytest.mark.asyncio
async def test_without_a_key_every_delivery_counts(ledger: Idempotency) -> None:
    effects = Effects(ledger)
    await asyncio.gather(*[ledger.once(None, effects.attempt(None)) for _ in range(3)])
    assert effects.done == 3


@pytest.mark.asyncio
async def test_a_failed_attempt_leaves_the_key_free(ledger: Idempotency) -> None:
    async def fail() -> str:
        raise LookupError

    outcomes = await asyncio.gather(
        ledger.once("id", fail), ledger.once("id", fail), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [LookupError, LookupError]
    assert await ledger.once("id", Effects(ledger).attempt("id")) == "1"


@pytest.mark.asyncio
async def test_cancelling_the_sender_does_not_cancel_the_attempt(ledger: Idempotency) -> None:
    effects = Effects(ledger)
    sender = asyncio.create_task(ledger.once("id", effects.attempt("id")))
    await asyncio.sleep(0)
    sender.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sender
    await ledger.drain(5)
    assert effects.done == 1
    assert await ledger.once("id", effects.attempt("id")) == "1"


@pytest.mark.asyncio
async def test_draining_cancels_what_takes_too_long(ledger: Idempotency) -> None:
    async def hang() -> str:
        await asyncio.sleep(60)
        return ""

    sender = asyncio.create_task(ledger.once("id", hang))
    await asyncio.sleep(0)
    await ledger.drain(0.01)
    with pytest.raises(asyncio.CancelledError):
        await sender
    assert await ledger.once("id", Effects(ledger).attempt("id")) == "1"
