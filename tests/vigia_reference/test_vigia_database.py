"""One call, one transaction."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from vigia_reference.database import Database, DatabaseClosed


def insert(connection: sqlite3.Connection, name: str) -> None:
    connection.execute(
        "INSERT INTO system_logs (event_type, entity_type, created_at) VALUES (?, 'x', '')", (name,)
    )


def names(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT event_type FROM system_logs")]


@pytest_asyncio.fixture
async def database() -> AsyncIterator[Database]:
    opened = Database()
    await opened.open()
    yield opened
    await opened.close()


@pytest.mark.asyncio
async def test_what_a_function_writes_is_committed_when_it_returns(database: Database) -> None:
    await database.run(insert, "a")
    assert await database.run(names) == ["a"]


@pytest.mark.asyncio
async def test_what_a_function_writes_is_rolled_back_when_it_raises(database: Database) -> None:
    def insert_and_fail(connection: sqlite3.Connection) -> None:
        insert(connection, "a")
        raise LookupError

    with pytest.raises(LookupError):
        await database.run(insert_and_fail)
    assert await database.run(names) == []


@pytest.mark.asyncio
async def test_a_cancelled_caller_learns_of_it_after_the_commit(database: Database) -> None:
    def slowly(connection: sqlite3.Connection) -> None:
        time.sleep(0.03)
        insert(connection, "a")

    job = asyncio.create_task(database.run(slowly))
    await asyncio.sleep(0.01)
    job.cancel()
    await asyncio.sleep(0)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert await database.run(names) == ["a"]


@pytest.mark.asyncio
async def test_closing_waits_for_the_transactions_in_progress(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "vigia.db"))
    await database.open()
    jobs = [asyncio.create_task(database.run(insert, name)) for name in "abc"]
    await asyncio.sleep(0)
    await database.close()
    await asyncio.gather(*jobs)
    again = Database(str(tmp_path / "vigia.db"))
    await again.open()
    assert await again.run(names) == ["a", "b", "c"]
    await again.close()


@pytest.mark.asyncio
async def test_a_closed_database_refuses_work() -> None:
    database = Database()
    with pytest.raises(DatabaseClosed):
        await database.run(names)
    await database.open()
    await database.close()
    await database.close()
    with pytest.raises(DatabaseClosed):
        await database.run(names)


@pytest.mark.asyncio
async def test_a_file_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        await Database(str(tmp_path / "missing" / "vigia.db")).open()
