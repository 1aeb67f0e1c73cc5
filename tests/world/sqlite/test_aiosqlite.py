"""aiosqlite as it is: each of its connections is a thread of the world."""

import asyncio
import collections
import sqlite3

import pytest

from desvelo.execution import Settings, execute
from desvelo.exploration import scale_of
from desvelo.scenario import Scenario
from desvelo.schedule.policy import Fifo, make_policy
from tests.world.sqlite.programs import fresh

aiosqlite = pytest.importorskip("aiosqlite", reason="pip install aiosqlite")


class Increments:
    """Two tasks that each read a number and write it back plus one."""

    begin = "BEGIN IMMEDIATE"

    def __init__(self, folder, journal="WAL"):
        self.folder = folder
        self.journal = journal
        self.errors = []
        self.seen = collections.Counter()

    async def setup(self):
        self.path = fresh(self.folder, self.journal)
        self.errors.clear()
        return [await aiosqlite.connect(self.path, isolation_level=None) for _ in range(2)]

    def operations(self, state):
        return {"a": lambda: self.increment(state[0]), "b": lambda: self.increment(state[1])}

    async def increment(self, connection):
        try:
            if self.begin:
                await connection.execute(self.begin)
            async with connection.execute("SELECT n FROM risk") as cursor:
                (number,) = await cursor.fetchone()
            await connection.execute("UPDATE risk SET n = ?", (number + 1,))
            if self.begin:
                await connection.commit()
        except sqlite3.OperationalError as error:
            self.errors.append(error.sqlite_errorname)
            await connection.rollback()

    async def check(self, state):
        async with state[0].execute("SELECT n FROM risk") as cursor:
            (number,) = await cursor.fetchone()
        self.seen[number, *self.errors] += 1

    async def teardown(self, state):
        await asyncio.gather(*(connection.close() for connection in state))


def explore(program, count=20):
    scenario, settings = Scenario(program, name="increments"), Settings()
    scale = scale_of(execute(scenario, Fifo(), settings), settings)
    program.seen.clear()
    for seed in range(count):
        outcome = execute(scenario, make_policy("mix", seed, scale), settings)
        assert outcome.failure is None
    return set(program.seen)


def test_several_connections_wait_for_each_other(tmp_path):
    assert explore(Increments(tmp_path)) == {(2,)}
    assert explore(Increments(tmp_path, "DELETE")) == {(2,)}


def test_a_lost_update_is_found(tmp_path):
    program = Increments(tmp_path)
    program.begin = ""
    assert explore(program) == {(1,), (2,)}


def test_an_upgrade_in_a_deferred_transaction_is_refused(tmp_path):
    program = Increments(tmp_path)
    program.begin = "BEGIN"
    assert explore(program) >= {(2,), (1, "SQLITE_BUSY_SNAPSHOT")}


def test_the_same_schedule_is_the_same_trace(tmp_path):
    program = Increments(tmp_path)
    scenario, settings = Scenario(program, name="increments"), Settings()
    scale = scale_of(execute(scenario, Fifo(), settings), settings)
    for seed in range(5):
        one, two = (
            execute(scenario, make_policy("mix", seed, scale), settings, trace=True)
            for _ in range(2)
        )
        assert one.trace.first_difference(two.trace) is None
        assert any(row.kind in ("statement", "waits") and row.lane == "a" for row in one.trace.rows)
