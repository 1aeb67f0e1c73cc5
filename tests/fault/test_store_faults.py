"""Disks that fail beneath SQLite, and databases whose connections break."""

import asyncio
import sqlite3

import pytest

from desvelo import World, fault
from desvelo.servers.embedded_redis import EmbeddedRedis

INSERT = "INSERT INTO orders VALUES ('bread')"


def written(path, one, *, journal="delete"):
    """Return what three transactions were told when a fault waits for the first, and the rows."""
    told = []

    def write(database):
        try:
            with database:
                database.execute(INSERT)
            told.append("written")
        except sqlite3.OperationalError as error:
            told.append(str(error))

    async def program(database):
        await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.to_thread(write, database)

    with World() as world:
        database = world.within(lambda: sqlite3.connect(path, check_same_thread=False))
        world.within(lambda: database.execute(f"PRAGMA journal_mode={journal}"))
        world.within(lambda: database.execute("CREATE TABLE orders (what TEXT)"))
        other = world.start("other", lambda: program(database))
        world.begin_to_decide()
        asked = world.start("program", lambda: asyncio.sleep(1))
        world.within(lambda: one.strike(world, asked, 0))
        world.finish([other])
        assert told == ["written"] * 3, "a fault of another operation"
        told.clear()
        asked = world.start("again", lambda: program(database))
        world.within(lambda: one.strike(world, asked, 0))
        world.finish([asked])
        [[rows]] = world.within(lambda: database.execute("SELECT count(*) FROM orders").fetchall())
        world.within(database.close)
    with sqlite3.connect(path) as outside:
        outside.execute(INSERT)
        assert outside.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    outside.close()
    return told, rows - 3


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize(
    ("one", "said"),
    [(fault.disk_full, "database or disk is full"), (fault.sync_fails, "disk I/O error")],
    ids=repr,
)
def test_sqlite_says_what_it_says_of_such_a_disk_and_goes_on(one, said, journal, tmp_path):
    if one is fault.sync_fails and journal == "wal":
        pytest.skip("in WAL mode SQLite syncs at checkpoints only")
    assert written(tmp_path / "x.db", one, journal=journal) == ([said, "written", "written"], 2)


def test_a_database_connection_breaks_and_its_session_ends():
    async def program():
        reader, writer = await asyncio.open_connection("127.0.0.1", 6379)
        writer.write(b"*1\r\n$4\r\nPING\r\n")
        await reader.readline()
        await asyncio.sleep(5)
        try:
            return await reader.read()
        finally:
            writer.close()

    with World() as world:
        server = EmbeddedRedis()
        world.run(server.start())
        asked = world.start("program", program)
        world.elapse(2)
        assert len(server.connections) == 1
        world.within(lambda: fault.disconnect.strike(world, asked, 0))
        world.finish([asked])
        world.settle()
        assert isinstance(asked.error, ConnectionResetError)
        assert not server.connections
        world.run(server.stop())
