"""Figures on real PostgreSQL under held I/O.

    python -m benchmarks postgres rate       executions per second, by driver
    python -m benchmarks postgres table      every interleaving of two small transactions
    python -m benchmarks postgres blocked    is a statement that waits for a lock always known?
    python -m benchmarks postgres deadlock   is a deadlock's victim always the same?
    python -m benchmarks postgres reset      ways to empty tables between two executions

``rate`` is best run on one core, for the client and the server: ``taskset -c 0 python -m ...``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg

from desvelo.execution import Settings, execute
from desvelo.exploration import scale_of, young_garbage_only
from desvelo.scenario import Scenario
from desvelo.schedule.policy import Fifo, make_policy
from desvelo.servers import postgres
from desvelo.world import World
from desvelo.world.boundary import Boundary

LEVELS = ("read committed", "repeatable read", "serializable")


# executions per second


class _TwoTransactions:
    """SELECT, INSERT, COMMIT, twice."""

    servers = (postgres,)

    def _empty(self) -> None:
        server = postgres()
        server.prepare("CREATE TABLE IF NOT EXISTS rate (code text)")
        server.reset("rate")

    def check(self, state: Any) -> None:
        """Nothing to check: it is the rate that counts."""


class WithAsyncpg(_TwoTransactions):
    async def setup(self) -> Any:
        self._empty()

    def operations(self, state: Any) -> dict[str, Any]:
        async def register() -> None:
            connection = await asyncpg.connect(postgres().dsn)
            async with connection.transaction():
                await connection.fetchval("SELECT count(*) FROM rate WHERE code = $1", "a")
                await connection.execute("INSERT INTO rate VALUES ($1)", "a")
            await connection.close()

        return {"first": register, "second": register}


class WithPsycopgAsync(_TwoTransactions):
    async def setup(self) -> Any:
        self._empty()

    def operations(self, state: Any) -> dict[str, Any]:
        async def register() -> None:
            connection = await psycopg.AsyncConnection.connect(postgres().dsn)
            await connection.execute("SELECT count(*) FROM rate WHERE code = %s", ("a",))
            await connection.execute("INSERT INTO rate VALUES (%s)", ("a",))
            await connection.commit()
            await connection.close()

        return {"first": register, "second": register}


class WithPsycopg(_TwoTransactions):
    runtime = "threads"

    def setup(self) -> Any:
        self._empty()

    def operations(self, state: Any) -> dict[str, Any]:
        def register() -> None:
            connection = psycopg.connect(postgres().dsn)
            connection.execute("SELECT count(*) FROM rate WHERE code = %s", ("a",))
            connection.execute("INSERT INTO rate VALUES (%s)", ("a",))
            connection.commit()
            connection.close()

        return {"first": register, "second": register}


class WithOpenAsyncpg(WithAsyncpg):
    """The same with the connections made in ``setup``, as a pool does."""

    async def setup(self) -> Any:
        self._empty()
        return [await asyncpg.connect(postgres().dsn) for _ in range(2)]

    def operations(self, state: Any) -> dict[str, Any]:
        async def register(connection: Any) -> None:
            async with connection.transaction():
                await connection.fetchval("SELECT count(*) FROM rate WHERE code = $1", "a")
                await connection.execute("INSERT INTO rate VALUES ($1)", "a")

        return {"first": lambda: register(state[0]), "second": lambda: register(state[1])}

    async def teardown(self, state: Any) -> None:
        for connection in state:
            await connection.close()


class WithOpenPsycopg(WithPsycopg):
    """The same with the connections made in ``setup``, as a pool does."""

    def setup(self) -> Any:
        self._empty()
        return [psycopg.connect(postgres().dsn) for _ in range(2)]

    def operations(self, state: Any) -> dict[str, Any]:
        def register(connection: Any) -> None:
            connection.execute("SELECT count(*) FROM rate WHERE code = %s", ("a",))
            connection.execute("INSERT INTO rate VALUES (%s)", ("a",))
            connection.commit()

        return {"first": lambda: register(state[0]), "second": lambda: register(state[1])}

    def teardown(self, state: Any) -> None:
        for connection in state:
            connection.close()


DRIVERS: dict[str, type] = {
    "asyncpg": WithAsyncpg,
    "asyncpg, connections open": WithOpenAsyncpg,
    "psycopg async": WithPsycopgAsync,
    "psycopg in threads": WithPsycopg,
    "psycopg in threads, connections open": WithOpenPsycopg,
}


def rate(options: argparse.Namespace) -> int:
    print(
        f"PostgreSQL {postgres().version}; {options.rounds} rounds of {options.seconds} s, median"
    )
    print(f"{'two times SELECT, INSERT, COMMIT':38} {'per s':>8} {'per CPU s':>10} {'server':>8}")
    for name, kind in DRIVERS.items():
        scenario = Scenario(kind())
        settings = Settings()
        with Boundary(), young_garbage_only():
            scale = scale_of(execute(scenario, Fifo(), settings, trace=True), settings)
            rounds = [
                _round(scenario, settings, scale, options.seconds) for _ in range(options.rounds)
            ]
        wall, ours, server = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{name:38} {wall:8.0f} {ours:10.0f} {server:7.0%}")
    return 0


def _round(scenario: Scenario, settings: Settings, scale: Any, seconds: float) -> Any:
    """Return executions per second, per CPU second of both, and the server's part of that."""
    before, count = _server_seconds(), 0
    wall, ours = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        policy = make_policy("mix", count, scale)
        outcome = execute(scenario, policy, settings)
        assert outcome.failure is None, outcome.failure
        count += 1
    wall = time.perf_counter() - wall
    ours, server = time.process_time() - ours, _server_seconds() - before
    return count / wall, count / (ours + server), server / (ours + server)


def _server_seconds() -> float:
    """Return the CPU seconds of all processes of a server of ours."""
    main = postgres().process
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == main or stat.parent.name == str(main):
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


# every interleaving


def interleavings(
    run: Callable[[list[int]], list[list[int]]],
) -> Iterator[tuple[list[int], list[list[int]]]]:
    """Go through all schedules, depth first.

    ``run`` follows a list of choices as far as it goes and takes the first of what is possible
    after that; it returns what was possible at each step.
    """
    prefix: list[int] = []
    while True:
        possible = run(prefix)
        taken = [*prefix, *(options[0] for options in possible[len(prefix) :])]
        yield taken, possible
        for step in range(len(taken) - 1, -1, -1):
            rest = [one for one in possible[step] if one > taken[step]]
            if rest:
                prefix = [*taken[:step], rest[0]]
                break
        else:
            return


def one_schedule(
    level: str, choices: list[int], programs: list[list[str]]
) -> tuple[list[list[int]], list[str], bool]:
    """Carry out statements in a chosen order; each is sent when it is its session's turn.

    Returns what was possible at each step, the outcome of each session, and whether any
    statement had to wait.
    """
    possible: list[list[int]] = []
    outcomes = ["" for _ in programs]
    waited = False

    async def main(world: World) -> None:
        nonlocal waited
        count = len(programs)
        connections = [await asyncpg.connect(postgres().dsn) for _ in range(count)]
        at, known = [0] * count, [False] * count
        under_way: list[asyncio.Task[str] | None] = [None] * count

        async def send(who: int) -> str:
            statement = programs[who][at[who]]
            try:
                if statement.startswith("SELECT"):
                    known[who] = bool(await connections[who].fetch(statement))
                elif not (statement.startswith("INSERT") and known[who]):
                    await connections[who].execute(statement)
            except asyncpg.PostgresError as error:
                return str(error.sqlstate)
            return ""

        while True:
            free = [
                who for who in range(count) if not under_way[who] and at[who] < len(programs[who])
            ]
            if not free:
                break
            step = len(possible)
            possible.append(free)
            who = choices[step] if step < len(choices) else free[0]
            under_way[who] = asyncio.create_task(send(who))
            # The bridge settles within the delivery; what is not answered by then waits.
            await asyncio.sleep(0.001)
            for other, task in enumerate(under_way):
                if task is not None and task.done():
                    outcomes[other] = outcomes[other] or task.result()
                    at[other] += 1
                    under_way[other] = None
            waited = waited or any(under_way)
            assert world.bridge is not None
            assert len(world.bridge.waits()) == sum(task is not None for task in under_way)
        for connection in connections:
            await connection.close()

    with World(servers=[postgres]) as world:
        world.run(main(world))
    return possible, outcomes, waited


def all_outcomes(level: str, *, unique: bool) -> tuple[int, int, int, Counter[str]]:
    """Return schedules, how many with waiting, how many with duplicates, and the errors met."""
    server = postgres()
    server.run("DROP TABLE IF EXISTS registry")
    server.run(f"CREATE TABLE registry (code text {'UNIQUE' if unique else ''})")
    program = [
        f"BEGIN ISOLATION LEVEL {level}",
        "SELECT * FROM registry WHERE code = 'x'",
        "INSERT INTO registry VALUES ('x')",
        "COMMIT",
    ]
    schedules = waiting = duplicates = 0
    errors: Counter[str] = Counter()

    def run(choices: list[int]) -> list[list[int]]:
        nonlocal schedules, waiting, duplicates
        server.reset("registry")
        possible, outcomes, waited = one_schedule(level, choices, [program, program])
        schedules += 1
        waiting += waited
        duplicates += int(server.run("SELECT count(*) FROM registry")[0][0] or 0) > 1
        errors.update(outcome for outcome in outcomes if outcome)
        return possible

    for _ in interleavings(run):
        pass
    return schedules, waiting, duplicates, errors


def table(options: argparse.Namespace) -> int:
    print("two sessions, each BEGIN, SELECT, INSERT, COMMIT; every interleaving")
    print(
        f"{'table':10} {'isolation':16} {'schedules':>9} {'waiting':>8} {'duplicates':>11}  errors"
    )
    started, total = time.perf_counter(), 0
    with Boundary(), young_garbage_only():
        for unique in (False, True):
            for level in LEVELS:
                schedules, waiting, duplicates, errors = all_outcomes(level, unique=unique)
                total += schedules
                said = (
                    ", ".join(f"{count} times {state}" for state, count in errors.items()) or "none"
                )
                print(
                    f"{'UNIQUE' if unique else 'no UNIQUE':10} {level:16} {schedules:9}  "
                    f"{waiting:7}  {duplicates:10}  {said}"
                )
    seconds = time.perf_counter() - started
    print(f"PostgreSQL {postgres().version}; {total} schedules in {seconds:.1f} s")
    return 0


# statements that wait


class _Locks:
    """What must happen: who holds which row, and who waits for it."""

    def __init__(self, sessions: int) -> None:
        self.holders: dict[int, int] = {}
        self.queues: dict[int, list[int]] = {}
        self.waits_for: dict[int, int] = {}

    def take(self, who: int, row: int) -> None:
        holder = self.holders.setdefault(row, who)
        if holder != who:
            self.queues.setdefault(row, []).append(who)
            self.waits_for[who] = row

    def release(self, who: int) -> None:
        for row in [row for row, holder in self.holders.items() if holder == who]:
            queue = self.queues.get(row, [])
            if queue:
                self.holders[row] = queue.pop(0)
                del self.waits_for[self.holders[row]]
            else:
                del self.holders[row]


def blocked(options: argparse.Namespace) -> int:
    """Compare what the bridge says with what the locks say, statement by statement."""
    server = postgres()
    server.run(
        "CREATE TABLE IF NOT EXISTS counted (id int PRIMARY KEY, n int); TRUNCATE counted;"
        "INSERT INTO counted SELECT i, 0 FROM generate_series(1, 3) i"
    )
    load = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.load)
    ]
    seen = Counter()
    started = time.perf_counter()
    try:
        with Boundary(), young_garbage_only():
            chance = random.Random(1)
            while seen["statements"] < options.statements:
                with World(servers=[server]) as world:
                    world.run(_contend(world, chance, seen))
    finally:
        for process in load:
            process.kill()
            process.wait()
    seconds = time.perf_counter() - started
    print(
        f"{seen['statements']} statements, {seen['waiting']} of them had to wait: "
        f"{seen['missed']} missed, {seen['false']} falsely said to wait "
        f"({seconds:.0f} s, {options.load} other busy processes)"
    )
    return int(bool(seen["missed"] or seen["false"]))


async def _contend(world: World, chance: random.Random, seen: Counter[str]) -> None:
    sessions = 3
    connections = [await asyncpg.connect(postgres().dsn) for _ in range(sessions)]
    locks = _Locks(sessions)
    rows = [0] * sessions
    under_way: dict[int, asyncio.Task[Any]] = {}
    for _ in range(40):
        free = [who for who in range(sessions) if who not in under_way]
        who = chance.choice(free)
        if rows[who] == 0:
            statement = "BEGIN"
            rows[who] = 1
        elif rows[who] > 3 or chance.random() < 0.3:
            statement = "COMMIT"
            rows[who] = 0
            locks.release(who)
        else:
            # Upwards only, so that nobody waits in a circle.
            row = chance.randint(rows[who], 3)
            rows[who] = row + 1
            statement = f"UPDATE counted SET n = n + 1 WHERE id = {row}"
            locks.take(who, row)
        under_way[who] = asyncio.create_task(connections[who].execute(statement))
        await asyncio.sleep(0.001)
        under_way = {who: task for who, task in under_way.items() if not task.done()}
        said, right = set(under_way), set(locks.waits_for)
        assert world.bridge is not None
        assert len(world.bridge.waits()) == len(said)
        seen["statements"] += 1
        seen["waiting"] += who in right
        seen["missed"] += len(right - said)
        seen["false"] += len(said - right)


# deadlocks


def deadlock(options: argparse.Namespace) -> int:
    server = postgres()
    server.run(
        "CREATE TABLE IF NOT EXISTS counted (id int PRIMARY KEY, n int); TRUNCATE counted;"
        "INSERT INTO counted SELECT i, 0 FROM generate_series(1, 3) i"
    )
    victims: Counter[str] = Counter()
    seconds = []
    with Boundary(), young_garbage_only():
        for _ in range(options.times):
            started = time.perf_counter()
            with World(servers=[server]) as world:
                for name, rows in (("first", (1, 2)), ("second", (2, 3)), ("third", (3, 1))):
                    world.start(name, lambda rows=rows: _lock_both(rows))
                world.finish(world.operations)
                victims[
                    ", ".join(one.name for one in world.operations if one.error is not None)
                ] += 1
            seconds.append(time.perf_counter() - started)
    told = ", ".join(f"{victim} {count} times" for victim, count in victims.items())
    print(f"victim of {options.times} deadlocks of three: {told}")
    print(f"median {statistics.median(seconds) * 1000:.1f} ms for an execution")
    return int(len(victims) != 1)


async def _lock_both(rows: tuple[int, int]) -> None:
    connection = await asyncpg.connect(postgres().dsn)
    try:
        async with connection.transaction():
            for row in rows:
                await connection.execute("UPDATE counted SET n = n + 1 WHERE id = $1", row)
                await asyncio.sleep(0.01)
    finally:
        await connection.close()


# emptying tables


def reset(options: argparse.Namespace) -> int:
    server = postgres()
    names = [f"emptied_{number}" for number in range(8)]
    for name in names:
        server.run(
            f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (id serial PRIMARY KEY, t text)"
        )
    fill = "; ".join(f"INSERT INTO {name} (t) VALUES ('a'), ('b')" for name in names)
    from desvelo.world.held.postgres.connection import PostgresConnection

    connection = PostgresConnection(server.address)
    other = PostgresConnection(server.address)
    everything = ", ".join(names)
    ways: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "server.reset(): DELETE of all in one message": (
            lambda: connection.query(fill),
            lambda: server.reset(*names),
        ),
        "TRUNCATE of all": (
            lambda: connection.query(fill),
            lambda: connection.query(f"TRUNCATE {everything} RESTART IDENTITY"),
        ),
        "ROLLBACK TO SAVEPOINT (one session only)": (
            lambda: connection.query("BEGIN; SAVEPOINT s; " + fill),
            lambda: connection.query("ROLLBACK TO s; ROLLBACK"),
        ),
        "CREATE DATABASE from a template": (
            lambda: other.query("DROP DATABASE IF EXISTS copied"),
            lambda: other.query("CREATE DATABASE copied TEMPLATE template1"),
        ),
    }
    print(f"{'8 tables, 2 rows each':46} median of {options.times}")
    for name, (before, action) in ways.items():
        times = []
        for _ in range(options.times if "DATABASE" not in name else 10):
            before()
            started = time.perf_counter()
            action()
            times.append(time.perf_counter() - started)
        print(f"{name:46} {statistics.median(times) * 1000:7.2f} ms")
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks postgres", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("rate")
    one.add_argument("--seconds", type=float, default=3.0)
    one.add_argument("--rounds", type=int, default=5)
    one.set_defaults(run=rate)
    commands.add_parser("table").set_defaults(run=table)
    one = commands.add_parser("blocked")
    one.add_argument("--statements", type=int, default=10_000)
    one.add_argument("--load", type=int, default=2)
    one.set_defaults(run=blocked)
    one = commands.add_parser("deadlock")
    one.add_argument("--times", type=int, default=50)
    one.set_defaults(run=deadlock)
    one = commands.add_parser("reset")
    one.add_argument("--times", type=int, default=200)
    one.set_defaults(run=reset)
    options = parser.parse_args(arguments)
    status: int = options.run(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
