"""asyncpg in the world, on a real PostgreSQL."""

import asyncio

import asyncpg
import pytest

from desvelo.execution import Settings, execute
from desvelo.scenario import Scenario
from desvelo.schedule.decisions import Recorder
from desvelo.schedule.policy import Fifo, Scale, make_policy
from desvelo.world import World


def run(server, *operations, seed=None, trace=False):
    """Run operations at the same time; return them, and the hash of all that happened."""
    recorder = None
    if seed is not None:
        recorder = Recorder(make_policy("mix", seed, Scale(decisions=80, polls=40, arrivals=2)))
    with World(recorder, servers=[server], trace=trace) as world:
        world.deciding = seed is not None
        for number, call in enumerate(operations, 1):
            world.start(f"op-{number}", call)
        world.finish(world.operations)
        world.deciding = False
        world.settle()
        digest = world.trace.digest() if world.trace is not None else ""
        outcomes = [operation.outcome() for operation in world.operations]
        assert not world.refusals
        return outcomes, digest


def in_transaction(server, *statements, pause=0.0, isolation=None):
    async def operation():
        connection = await asyncpg.connect(server.dsn)
        try:
            async with connection.transaction(isolation=isolation):
                for statement in statements:
                    await connection.execute(statement)
                    await asyncio.sleep(pause)
        finally:
            await connection.close()

    return operation


def add(row):
    return f"UPDATE counter SET n = n + 1 WHERE id = {row}"


def counted(server):
    return [int(n) for (n,) in server.run("SELECT n FROM counter ORDER BY id")]


def test_values_of_all_sizes_go_to_and_fro(server):
    async def operation():
        connection = await asyncpg.connect(server.dsn)
        large = "x" * 1_000_000
        echoed = await connection.fetchval("SELECT $1::text", large)
        rows = await connection.fetch(
            "SELECT i, repeat('y', 100) t FROM generate_series(1, 5000) i"
        )
        await connection.close()
        return echoed == large, len(rows), rows[-1]["t"] == "y" * 100

    assert run(server, operation)[0] == ["returns (True, 5000, True)"]


@pytest.mark.parametrize("seed", range(8))
def test_messages_cut_anywhere_arrive(server, seed):
    async def operation():
        connection = await asyncpg.connect(server.dsn)
        found = await connection.fetch("SELECT i FROM generate_series(1, $1::int) i", 50)
        await connection.close()
        return len(found)

    assert run(server, operation, operation, seed=seed)[0] == ["returns 50"] * 2


def test_what_an_execution_leaves_open_is_undone(server):
    async def operation():
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("SET search_path = nowhere")
        await connection.execute("SELECT pg_advisory_lock(7)")
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO public.registry VALUES ('x')")
        return connection

    for _ in range(3):
        run(server, operation)
        assert server.run("SELECT count(*) FROM registry") == [["0"]]
    assert server.run("SELECT pg_try_advisory_lock(7)") == [["t"]]


def test_a_statement_that_waits_for_a_lock_goes_on_when_the_lock_is_free(server):
    first = in_transaction(server, add(1), "SELECT 1", pause=0.01)
    second = in_transaction(server, add(1), pause=0.001)
    outcomes, _ = run(server, first, second)
    assert outcomes == ["returns None"] * 2
    assert counted(server) == [2, 0, 0]


def test_what_still_waits_in_the_end_is_never_carried_out(server):
    async def holds():
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("BEGIN")
        await connection.execute(add(1))
        return connection

    async def waits():
        await asyncio.sleep(0.001)
        connection = await asyncpg.connect(server.dsn)
        await connection.execute(add(1))

    with World(servers=[server]) as world:
        holder = world.start("holds", holds)
        waiting = world.start("waits", waits)
        world.finish([holder])
        world.elapse(1)
        assert not waiting.done
        assert "waits for a lock held by session 1 of holds" in world.bridge.waits()[0]
    with World(servers=[server]):
        assert counted(server) == [0, 0, 0]


def test_a_transaction_that_never_ends_is_named_by_who_waits_for_it(server):
    class Forgotten:
        servers = (server,)

        def operations(self, state):
            return {"holds": self.holds, "waits": self.waits}

        async def holds(self):
            self.connection = await asyncpg.connect(server.dsn)
            await self.connection.execute("BEGIN")
            await self.connection.execute(add(1))

        async def waits(self):
            await asyncio.sleep(0.001)
            connection = await asyncpg.connect(server.dsn)
            await connection.execute(add(1))

    failure = execute(Scenario(Forgotten()), Fifo(), Settings()).failure
    assert failure.kind == "deadlock"
    assert f"{add(1)} in PostgreSQL session 2 waits for a lock held by session 1 of holds" in str(
        failure.error
    )


def test_the_victim_of_a_deadlock_is_who_closes_the_circle(server):
    operations = [
        in_transaction(server, add(one), add(other), pause=0.01)
        for one, other in ((1, 2), (2, 3), (3, 1))
    ]
    seen = {str(run(server, *operations, trace=True)) for _ in range(5)}
    assert len(seen) == 1
    outcomes, _ = run(server, *operations)
    assert [outcome.startswith("raises DeadlockDetected") for outcome in outcomes] == [
        False,
        False,
        True,
    ]
    assert "Process 3 waits for ShareLock on transaction ?; blocked by process 1" in outcomes[2]


def test_a_serialization_failure_is_an_outcome_like_any_other(server):
    select, insert = "SELECT * FROM registry", "INSERT INTO registry VALUES ('x')"
    operation = in_transaction(server, select, insert, pause=0.001, isolation="serializable")
    outcomes, _ = run(server, operation, operation)
    assert sum(outcome.startswith("raises SerializationError") for outcome in outcomes) == 1


def test_of_several_who_wait_for_a_row_the_first_gets_it(server):
    def renames(name, after):
        async def operation():
            await asyncio.sleep(after)
            connection = await asyncpg.connect(server.dsn)
            await connection.execute("UPDATE registry SET code = code || $1", name)
            await connection.close()

        return operation

    async def holds():
        connection = await asyncpg.connect(server.dsn)
        async with connection.transaction():
            await connection.execute("INSERT INTO registry VALUES ('')")
        async with connection.transaction():
            await connection.execute("UPDATE registry SET code = ''")
            await asyncio.sleep(1)
        await connection.close()

    for _ in range(10):
        server.reset("registry")
        run(server, holds, *(renames(letter, 0.1 * n) for n, letter in enumerate("abcd", 1)))
        assert server.run("SELECT code FROM registry") == [["abcd"]]


def test_a_time_out_cancels_a_statement_that_waits(server):
    async def impatient():
        await asyncio.sleep(0.01)
        connection = await asyncpg.connect(server.dsn)
        try:
            await connection.execute(add(1), timeout=0.5)
        except TimeoutError:
            return await connection.fetchval("SELECT n FROM counter WHERE id = 1")
        finally:
            await connection.close()

    outcomes, _ = run(server, in_transaction(server, add(1), pause=2), impatient)
    assert outcomes == ["returns None", "returns 0"]
    assert counted(server) == [1, 0, 0]


def test_copying_in_and_out(server):
    async def operation():
        connection = await asyncpg.connect(server.dsn)
        records = [(f"code-{number}",) for number in range(2000)]
        await connection.copy_records_to_table("registry", records=records)
        found = bytearray()

        async def take(data):
            found.extend(data)

        await connection.copy_from_table("registry", output=take)
        await connection.close()
        return len(found.splitlines())

    assert run(server, operation)[0] == ["returns 2000"]


def test_a_notification_comes_with_the_commit_that_sends_it(server):
    async def listens():
        connection = await asyncpg.connect(server.dsn)
        heard = asyncio.Event()
        told = []

        def on_notification(_, pid, channel, payload):
            told.append((pid, channel, payload))
            heard.set()

        await connection.add_listener("news", on_notification)
        await heard.wait()
        await connection.close()
        return told

    async def notifies():
        await asyncio.sleep(0.01)
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("NOTIFY news, 'hello'")
        await connection.close()

    outcomes, _ = run(server, listens, notifies)
    assert outcomes[0] == "returns [(2, 'news', 'hello')]"


def test_a_connection_too_many_is_refused_as_the_server_refuses_it(server):
    if not server.ours:
        pytest.skip("the server is not ours: no roles are made on it")
    server.prepare(f"CREATE ROLE single LOGIN CONNECTION LIMIT 1 PASSWORD '{server.password}'")
    options = server.connect_options | {"user": "single"}

    async def operation():
        connection = await asyncpg.connect(**options)
        await asyncio.sleep(0.1)
        await connection.close()

    outcomes, _ = run(server, operation, operation)
    assert outcomes[0] == "returns None"
    assert outcomes[1].startswith("raises TooManyConnectionsError: too many connections for role")


def test_a_session_that_is_ended_by_another_one_sees_it(server):
    async def ended():
        connection = await asyncpg.connect(server.dsn)
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        other = await asyncpg.connect(server.dsn)
        await other.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        await other.close()
        await connection.execute("SELECT 1")

    (outcome,), _ = run(server, ended)
    assert outcome.startswith("raises ConnectionDoesNotExistError")
    assert outcome.endswith("terminating connection due to administrator command")


@pytest.mark.parametrize("seed", range(5))
def test_the_same_decisions_give_the_same_trace(server, seed):
    operations = [
        in_transaction(server, add(one), add(other), "SELECT * FROM counter", pause=0.002)
        for one, other in ((1, 2), (2, 3), (3, 1))
    ]
    assert len({str(run(server, *operations, seed=seed, trace=True)) for _ in range(3)}) == 1
