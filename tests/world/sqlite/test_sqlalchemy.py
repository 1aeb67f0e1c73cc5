"""SQLAlchemy on SQLite: under threads, and async on aiosqlite."""

import collections

import pytest

from desvelo.execution import Settings, execute
from desvelo.exploration import scale_of
from desvelo.scenario import Scenario
from desvelo.schedule.policy import Fifo, make_policy
from tests.world.sqlite.programs import fresh

sqlalchemy = pytest.importorskip("sqlalchemy", reason="pip install sqlalchemy")


class Increments:
    """Two threads, one engine: read the number, write it back plus one."""

    runtime = "threads"

    def __init__(self, folder, pool):
        self.folder = folder
        self.pool = pool
        self.seen = collections.Counter()

    def setup(self):
        path = fresh(self.folder, "WAL")
        engine = sqlalchemy.create_engine(f"sqlite:///{path}", poolclass=self.pool)
        self.errors = []
        return engine

    def operations(self, engine):
        return {"a": lambda: self.increment(engine), "b": lambda: self.increment(engine)}

    def increment(self, engine):
        try:
            with engine.begin() as connection:
                number = connection.execute(sqlalchemy.text("SELECT n FROM risk")).scalar_one()
                connection.execute(sqlalchemy.text("UPDATE risk SET n = :n"), {"n": number + 1})
        except sqlalchemy.exc.OperationalError as error:
            self.errors.append(error.orig.sqlite_errorname)

    def check(self, engine):
        with engine.begin() as connection:
            number = connection.execute(sqlalchemy.text("SELECT n FROM risk")).scalar_one()
        self.seen[number, *self.errors] += 1

    def teardown(self, engine):
        engine.dispose()


def explore(program, count=15):
    scenario, settings = Scenario(program, name="increments"), Settings()
    scale = scale_of(execute(scenario, Fifo(), settings), settings)
    program.seen.clear()
    for seed in range(count):
        outcome = execute(scenario, make_policy("mix", seed, scale), settings)
        assert outcome.failure is None
    return set(program.seen)


@pytest.mark.parametrize("pool", [sqlalchemy.QueuePool, sqlalchemy.NullPool])
def test_a_lost_update_between_two_threads_is_found(tmp_path, pool):
    # The driver begins a transaction only at the UPDATE, so the SELECT is outside of it.
    assert explore(Increments(tmp_path, pool)) == {(1,), (2,)}


def test_async_engines_work_on_aiosqlite(tmp_path):
    pytest.importorskip("aiosqlite", reason="pip install aiosqlite")
    pytest.importorskip("greenlet", reason="pip install 'sqlalchemy[asyncio]'")
    from sqlalchemy.ext.asyncio import create_async_engine

    class Async(Increments):
        runtime = "asyncio"

        async def setup(self):
            path = fresh(self.folder, "WAL")
            return create_async_engine(f"sqlite+aiosqlite:///{path}")

        async def increment(self, engine):
            async with engine.begin() as connection:
                found = await connection.execute(sqlalchemy.text("SELECT n FROM risk"))
                number = found.scalar_one()
                await connection.execute(
                    sqlalchemy.text("UPDATE risk SET n = :n"), {"n": number + 1}
                )

        async def check(self, engine):
            async with engine.begin() as connection:
                found = await connection.execute(sqlalchemy.text("SELECT n FROM risk"))
            self.seen[found.scalar_one()] += 1

        async def teardown(self, engine):
            await engine.dispose()

    assert explore(Async(tmp_path, None)) == {1, 2}
