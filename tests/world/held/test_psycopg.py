"""psycopg in the world: libpq is C with a socket of its own, and is relayed."""

import asyncio
import functools
import time

import psycopg
import pytest

from desvelo.errors import UnsupportedInWorld
from desvelo.schedule.decisions import Recorder
from desvelo.schedule.policy import Scale, make_policy
from desvelo.world import World
from desvelo.world.held import bridge
from desvelo.world.held.postgres import backend


def run(server, *operations, runtime="threads", seed=None, trace=False):
    """Run operations at the same time; return their outcomes, and the hash of what happened."""
    policy = None
    if seed is not None:
        policy = make_policy("mix", seed, Scale(decisions=80, polls=40, arrivals=2))
    recorder = Recorder(policy) if policy is not None else None
    with World(recorder, servers=[server], trace=trace, runtime=runtime) as world:
        world.deciding = seed is not None
        for number, call in enumerate(operations, 1):
            world.start(f"op-{number}", call)
        world.finish(world.operations)
        world.deciding = False
        world.settle()
        digest = world.trace.digest() if world.trace is not None else ""
        assert not world.refusals
        assert not world.network.sockets
        return [operation.outcome() for operation in world.operations], digest


def add(row):
    return f"UPDATE counter SET n = n + 1 WHERE id = {row}"


def counted(server):
    return [int(n) for (n,) in server.run("SELECT n FROM counter ORDER BY id")]


def in_transaction(server, *statements, pause=0.0, **options):
    def operation():
        with psycopg.connect(server.dsn, **options) as connection:
            for statement in statements:
                connection.execute(statement)
                time.sleep(pause)

    return operation


def in_async_transaction(server, *statements, pause=0.0):
    async def operation():
        async with await psycopg.AsyncConnection.connect(server.dsn) as connection:
            for statement in statements:
                await connection.execute(statement)
                await asyncio.sleep(pause)

    return operation


def test_values_of_all_sizes_go_to_and_fro(server):
    def operation():
        with psycopg.connect(server.dsn) as connection:
            large = "x" * 1_000_000
            echoed = connection.execute("SELECT %s::text", (large,)).fetchone()[0]
            rows = connection.execute("SELECT i FROM generate_series(1, 20000) i").fetchall()
        return echoed == large, len(rows)

    assert run(server, operation)[0] == ["returns (True, 20000)"]


@pytest.mark.parametrize("runtime", ["threads", "asyncio"])
def test_a_statement_waits_for_a_lock_and_goes_on(server, runtime):
    make = in_transaction if runtime == "threads" else in_async_transaction
    outcomes, _ = run(
        server, make(server, add(1), pause=0.01), make(server, add(1), add(2)), runtime=runtime
    )
    assert outcomes == ["returns None"] * 2
    assert counted(server) == [2, 1, 0]


@pytest.mark.parametrize("runtime", ["threads", "asyncio"])
def test_a_deadlock_has_the_same_victim_every_time(server, runtime):
    make = in_transaction if runtime == "threads" else in_async_transaction
    operations = [make(server, add(a), add(b), pause=0.01) for a, b in ((1, 2), (2, 1))]
    seen = {str(run(server, *operations, runtime=runtime, trace=True)) for _ in range(5)}
    assert len(seen) == 1
    assert seen.pop().count("raises DeadlockDetected") == 1


@pytest.mark.parametrize("runtime", ["threads", "asyncio"])
@pytest.mark.parametrize("seed", range(4))
def test_the_same_decisions_give_the_same_trace(server, runtime, seed):
    make = in_transaction if runtime == "threads" else in_async_transaction
    operations = [make(server, add(a), "SELECT 1", add(b), pause=0.01) for a, b in ((1, 2), (2, 1))]
    seen = {str(run(server, *operations, runtime=runtime, seed=seed, trace=True)) for _ in range(3)}
    assert len(seen) == 1


def test_a_server_that_is_slow_to_see_a_deadlock_tells_the_same(server, monkeypatch):
    def seen(**options):
        make = functools.partial(in_transaction, server, pause=0.01, **options)
        return run(server, make(add(1), add(2)), make(add(2), add(1)), trace=True)

    usual = seen()
    monkeypatch.setattr(backend, "_TELLING", backend._TELLING.replace("=1ms", "=60ms"))
    monkeypatch.setattr(backend, "_UNTOLD_AFTER", -1.0)
    # Options of its own, so that it gets connections of its own.
    assert seen(application_name="slow") == usual


def test_while_a_statement_takes_long_nobody_overtakes_who_waits_longer(server, monkeypatch):
    busy = (
        "DO $$ DECLARE start timestamptz := clock_timestamp(); BEGIN "
        "WHILE clock_timestamp() < start + interval '15 ms' LOOP END LOOP; END $$"
    )
    waiting = in_transaction(server, "SELECT 1", add(1), "SELECT 2", pause=0.005)
    operations = [in_transaction(server, add(1), busy, pause=0.01), *[waiting] * 4]
    usual = run(server, *operations, trace=True)
    monkeypatch.setattr(bridge, "LONG", -1.0)
    assert [run(server, *operations, trace=True) for _ in range(2)] == [usual] * 2


def test_who_waits_for_a_lock_holds_nothing_else_up(server, monkeypatch):
    monkeypatch.setattr(bridge, "LONG", 0.05)

    def drops():
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            time.sleep(0.02)
            connection.execute("CREATE DATABASE other")
            connection.execute("DROP DATABASE other")

    holds = in_transaction(server, add(1), "SELECT 1", pause=0.5)
    assert run(server, holds, in_transaction(server, add(1)), drops)[0] == ["returns None"] * 3


def test_copying_pipelines_and_prepared_statements(server):
    def operation():
        with psycopg.connect(server.dsn) as connection:
            with connection.cursor().copy("COPY registry FROM STDIN") as copy:
                for number in range(1000):
                    copy.write_row((f"code-{number}",))
            with connection.pipeline():
                for number in range(5):
                    connection.execute("INSERT INTO registry VALUES (%s)", (str(number),))
            for _ in range(8):
                found = connection.execute("SELECT count(*) FROM registry").fetchone()
            with connection.cursor().copy("COPY registry TO STDOUT") as copy:
                rows = sum(1 for _ in copy.rows())
            return found, rows

    assert run(server, operation)[0] == ["returns ((1005,), 1005)"]


@pytest.mark.parametrize("how", ["cancel", "cancel_safe"])
def test_a_statement_that_waits_is_cancelled(server, how):
    waiting = []

    def holds():
        with psycopg.connect(server.dsn) as connection:
            connection.execute(add(1))
            time.sleep(2)

    def waits():
        time.sleep(0.01)
        with psycopg.connect(server.dsn) as connection:
            waiting.append(connection)
            connection.execute(add(1))

    def cancels():
        time.sleep(0.5)
        getattr(waiting[0], how)()

    outcomes, _ = run(server, holds, waits, cancels)
    assert outcomes[::2] == ["returns None"] * 2
    assert outcomes[1].startswith("raises QueryCanceled")
    assert 'while updating tuple (?,?) in relation "counter"' in outcomes[1]
    assert counted(server) == [1, 0, 0]


def test_pools_of_connections_stand_on_it(server):
    psycopg_pool = pytest.importorskip("psycopg_pool")

    def in_threads():
        with psycopg_pool.ConnectionPool(server.dsn, min_size=1, max_size=2, open=True) as pool:
            for _ in range(3):
                with pool.connection() as connection:
                    connection.execute(add(1))

    async def in_tasks():
        async with psycopg_pool.AsyncConnectionPool(
            server.dsn, min_size=1, max_size=2, open=False
        ) as pool:
            for _ in range(3):
                async with pool.connection() as connection:
                    await connection.execute(add(1))

    assert run(server, in_threads, in_threads)[0] == ["returns None"] * 2
    assert run(server, in_tasks, in_tasks, runtime="asyncio")[0] == ["returns None"] * 2
    assert counted(server) == [12, 0, 0]


def test_a_connection_that_is_dropped_unclosed_is_a_leak(server):
    kept = []

    async def operation():
        kept.append(await psycopg.AsyncConnection.connect(server.dsn))

    with World(servers=[server]) as world:
        world.start("op", operation)
        world.finish(world.operations)
        world.settle()
        assert [sock.is_client for sock in world.network.sockets.values()].count(True) == 1
    asyncio.run(kept.pop().close())


def test_a_server_that_the_world_does_not_know_is_refused(server):
    async def operation():
        await psycopg.AsyncConnection.connect("postgresql://127.0.0.1:1/x")

    for servers in ([server], []):
        with World(servers=servers) as world, pytest.raises(UnsupportedInWorld, match="servers"):
            world.run(operation())


def test_sqlalchemy_stands_on_it(server):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    url = server.dsn.replace("postgresql://", "postgresql+psycopg://")

    def operation():
        engine = sqlalchemy.create_engine(url)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(add(1)))
        engine.dispose()

    assert run(server, operation, operation)[0] == ["returns None"] * 2
    assert counted(server) == [2, 0, 0]


def test_sqlalchemy_stands_on_it_in_coroutines(server):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    pytest.importorskip("greenlet")
    from sqlalchemy.ext.asyncio import create_async_engine

    def through(driver):
        async def operation():
            engine = create_async_engine(server.dsn.replace("postgresql:", f"postgresql+{driver}:"))
            async with engine.begin() as connection:
                await connection.execute(sqlalchemy.text(add(1)))
            await engine.dispose()

        return operation

    outcomes, _ = run(server, through("psycopg"), through("psycopg"), runtime="asyncio")
    assert outcomes == ["returns None"] * 2
    assert counted(server) == [2, 0, 0]
