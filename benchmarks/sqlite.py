"""Executions per second with SQLite on disk: two transactions of two threads or two tasks.

    python -m benchmarks sqlite [--rounds 5] [--seconds 2] [--profile NAME]

Each of the two runs BEGIN, SELECT, UPDATE, COMMIT on a connection of its own to one file (WAL,
synchronous off), under schedules of the ``mix`` policy. The file is kept from one execution to the
next and its row reset. Seconds are CPU seconds of the process, all its threads together; the
wall clock's rate stands beside it.
"""

from __future__ import annotations

import argparse
import collections
import cProfile
import pstats
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from typing import Any

import aiosqlite

from desvelo.execution import Settings, execute
from desvelo.exploration import scale_of, young_garbage_only
from desvelo.scenario import Scenario
from desvelo.schedule.policy import Fifo, make_policy
from desvelo.world.boundary import Boundary


class Threads:
    """Two threads, each with a connection of its own, which are kept."""

    runtime = "threads"
    kept = True

    def __init__(self, folder: str) -> None:
        self.path = f"{folder}/counter.db"
        self.connections: list[sqlite3.Connection] = []
        self.seen: collections.Counter[tuple[int, str]] = collections.Counter()
        self.errors: list[str] = []
        with sqlite3.connect(self.path) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE IF NOT EXISTS counter (n INTEGER)")
            connection.execute("DELETE FROM counter")
            connection.execute("INSERT INTO counter VALUES (0)")
        connection.close()

    def connect(self) -> sqlite3.Connection:
        """Open a connection as the program would."""
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    def setup(self) -> None:
        """Begin at zero."""
        while len(self.connections) < 3:
            self.connections.append(self.connect())
        self.errors.clear()
        self.connections[2].execute("UPDATE counter SET n = 0")

    def operations(self, state: None) -> dict[str, Any]:
        return {
            "first": lambda: self.increment(self.connections[0]),
            "second": lambda: self.increment(self.connections[1]),
        }

    def increment(self, connection: sqlite3.Connection) -> None:
        """Read, add one, write: BUSY_SNAPSHOT when somebody wrote in between."""
        try:
            connection.execute("BEGIN")
            (number,) = connection.execute("SELECT n FROM counter").fetchone()
            connection.execute("UPDATE counter SET n = ?", (number + 1,))
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self.errors.append(error.sqlite_errorname)
            connection.execute("ROLLBACK")

    def check(self, state: None) -> None:
        (number,) = self.connections[2].execute("SELECT n FROM counter").fetchone()
        assert number == 2 - len(self.errors), (number, self.errors)
        self.seen[number, ", ".join(self.errors)] += 1


class ThreadsThatConnect(Threads):
    """The same, but each execution opens and closes its connections."""

    def check(self, state: None) -> None:
        super().check(state)
        while self.connections:
            self.connections.pop().close()


class Tasks(Threads):
    """The same with aiosqlite: each of its connections is a thread of its own."""

    runtime = "asyncio"

    async def setup(self) -> list[aiosqlite.Connection]:  # type: ignore[override]
        connections = []
        for _ in range(2):
            connection = await aiosqlite.connect(self.path, isolation_level=None)
            await connection.execute("PRAGMA synchronous = OFF")
            connections.append(connection)
        self.errors.clear()
        await connections[0].execute("UPDATE counter SET n = 0")
        return connections

    def operations(self, state: Any) -> dict[str, Any]:
        return {
            "first": lambda: self.increment_async(state[0]),
            "second": lambda: self.increment_async(state[1]),
        }

    async def increment_async(self, connection: aiosqlite.Connection) -> None:
        try:
            await connection.execute("BEGIN")
            cursor = await connection.execute("SELECT n FROM counter")
            (number,) = await cursor.fetchone()  # type: ignore[misc]
            await connection.execute("UPDATE counter SET n = ?", (number + 1,))
            await connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self.errors.append(error.sqlite_errorname)
            await connection.execute("ROLLBACK")

    async def check(self, state: Any) -> None:  # type: ignore[override]
        cursor = await state[1].execute("SELECT n FROM counter")
        (number,) = await cursor.fetchone()
        await cursor.close()
        assert number == 2 - len(self.errors), (number, self.errors)
        self.seen[number, ", ".join(self.errors)] += 1

    async def teardown(self, state: Any) -> None:
        for connection in state:
            await connection.close()


PROGRAMS: dict[str, type[Threads]] = {
    "threads": Threads,
    "threads-that-connect": ThreadsThatConnect,
    "aiosqlite": Tasks,
}


def rate(program: Threads, seconds: float) -> tuple[float, float, int]:
    """Return executions per CPU second and per second, and their number."""
    scenario, settings = Scenario(program, name="counter"), Settings()
    with Boundary(), young_garbage_only():
        scale = scale_of(execute(scenario, Fifo(), settings), settings)
        program.seen.clear()
        count, started, began = 0, time.process_time(), time.perf_counter()
        while time.process_time() - started < seconds:
            outcome = execute(scenario, make_policy("mix", count, scale), settings)
            assert outcome.failure is None, outcome.failure
            count += 1
        return (
            count / (time.process_time() - started),
            count / (time.perf_counter() - began),
            count,
        )


def main() -> int:
    """Measure in turn and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sqlite", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", choices=PROGRAMS)
    parser.add_argument("--profile", choices=PROGRAMS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.profile:
            profile = cProfile.Profile()
            program = PROGRAMS[options.profile](folder)
            profile.runcall(rate, program, options.seconds)
            pstats.Stats(profile).sort_stats("tottime").print_stats(40)
            return 0
        print(f"SQLite {sqlite3.sqlite_version}, Python {sys.version.split()[0]}\n")
        print("| | executions per CPU second (median) | lowest | highest | per second |")
        print("|---|---|---|---|---|")
        for name, kind in PROGRAMS.items():
            if options.only not in (None, name):
                continue
            program = kind(folder)
            measured = [rate(program, options.seconds) for _ in range(options.rounds)]
            cpu = [one for one, _, _ in measured]
            wall = statistics.median(one for _, one, _ in measured)
            print(
                f"| {name} | {statistics.median(cpu):.0f} | {min(cpu):.0f} | {max(cpu):.0f} "
                f"| {wall:.0f} |"
            )
            with suppress(AttributeError):
                print(f"  outcomes of the last round: {dict(program.seen)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
