"""Waiting for a lock: in virtual time, by SQLite's own rules, while the others go on."""

import sqlite3
import threading
import time

import pytest

from desvelo.errors import UnsupportedInWorld
from desvelo.world import World
from desvelo.world.sqlite import system
from desvelo.world.timekeeping import real_perf_counter
from tests.world.sqlite.programs import fresh


def in_threads(*calls, **options):
    """Run calls as threads of a world; return their errors and the virtual seconds that passed."""
    with World(runtime="threads", **options) as world:
        world.deciding = True
        operations = [
            world.start(chr(ord("a") + number), call) for number, call in enumerate(calls)
        ]
        world.finish(operations)
        errors = [operation.error for operation in operations]
        return errors, world.clock.now_ns / 1e9 - 1000, world.trace


def holding(path, seconds, begin="BEGIN IMMEDIATE"):
    def hold():
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(begin)
        connection.execute("UPDATE risk SET n = n + 1")
        time.sleep(seconds)
        connection.execute("COMMIT")
        connection.close()

    return hold


def writing(path, *pragmas, **options):
    def write():
        connection = sqlite3.connect(path, **options)
        for pragma in pragmas:
            connection.execute(pragma)
        try:
            with connection:
                connection.execute("UPDATE risk SET n = n + 1")
        finally:
            connection.close()

    return write


def test_a_statement_waits_as_long_as_the_lock_is_held_and_no_real_time(tmp_path):
    path = fresh(tmp_path)
    began = real_perf_counter()
    errors, seconds, _ = in_threads(holding(path, 3), writing(path))
    assert errors == [None, None]
    assert 3 <= seconds < 3.2
    assert real_perf_counter() - began < 2.5
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT n FROM risk").fetchone() == (2,)
    connection.close()


@pytest.mark.parametrize(
    ("pragmas", "options", "patience"),
    [
        ((), {}, 5),
        ((), {"timeout": 30}, 30),
        ((), {"timeout": 0}, 0),
        (("PRAGMA busy_timeout = 1500",), {}, 1.5),
    ],
)
def test_after_the_timeout_the_database_is_locked(tmp_path, pragmas, options, patience):
    path = fresh(tmp_path)
    failed_at = []

    def write():
        began = time.monotonic()
        try:
            writing(path, *pragmas, **options)()
        finally:
            failed_at.append(time.monotonic() - began)

    errors, _, _ = in_threads(holding(path, 100), write)
    assert errors[0] is None
    assert isinstance(errors[1], sqlite3.OperationalError)
    assert str(errors[1]) == "database is locked"
    assert failed_at[0] == pytest.approx(patience, abs=0.01)


def test_the_timeout_can_still_be_asked_for():
    def ask():
        connection = sqlite3.connect(":memory:", timeout=7)
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (7000,)
        connection.close()

    assert in_threads(ask)[0] == [None]


def test_a_writer_that_waits_for_readers_keeps_new_readers_out(tmp_path):
    path = fresh(tmp_path, "DELETE")
    said = []

    def read_long():
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("BEGIN")
        said.append(connection.execute("SELECT n FROM risk").fetchone())
        time.sleep(1)
        connection.execute("COMMIT")
        connection.close()

    def write():
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("UPDATE risk SET n = 7")  # waits for the reader, and lets no other in
        connection.close()

    def read_later():
        time.sleep(0.5)
        connection = sqlite3.connect(path, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            connection.execute("SELECT n FROM risk")
        connection.close()
        connection = sqlite3.connect(path, timeout=5)
        said.append(connection.execute("SELECT n FROM risk").fetchone())
        connection.close()

    assert in_threads(read_long, write, read_later)[0] == [None, None, None]
    assert said == [(0,), (7,)]


def test_a_connection_used_by_two_threads_is_used_by_one_at_a_time(tmp_path):
    path = fresh(tmp_path)
    order = []

    def slow(number):
        order.append("in")
        time.sleep(1)
        order.append("out")
        return number

    connection = None

    def shared():
        nonlocal connection
        if connection is None:
            connection = sqlite3.connect(path, check_same_thread=False)
            connection.create_function("slow", 1, slow)
        connection.execute("SELECT slow(n) FROM risk").fetchall()

    assert in_threads(shared, shared)[0] == [None, None]
    assert order == ["in", "out", "in", "out"]
    connection.close()


def test_a_lock_of_python_and_one_of_the_database_end_as_they_would_for_real(tmp_path):
    path = fresh(tmp_path)
    lock = None

    def database_first():
        nonlocal lock
        lock = lock or threading.Lock()
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(1)
        with lock:
            connection.execute("UPDATE risk SET n = 1")
        connection.execute("COMMIT")
        connection.close()

    def lock_first():
        nonlocal lock
        lock = lock or threading.Lock()
        with lock:
            time.sleep(1)
            connection = sqlite3.connect(path, isolation_level=None)
            try:
                connection.execute("BEGIN IMMEDIATE")
            finally:
                connection.close()

    errors, seconds, trace = in_threads(database_first, lock_first, trace=True)
    assert [str(error) for error in errors] == ["None", "database is locked"]
    assert 6 <= seconds < 6.1
    rows = [
        row.text for row in trace.rows if row.lane == "b" and row.kind in ("statement", "waits")
    ]
    assert rows == [
        "sqlite: BEGIN IMMEDIATE  waits for the lock of clinic.db, held by a",
        "sqlite: BEGIN IMMEDIATE  ✗ database is locked",
    ]


def test_the_loops_own_thread_lets_threads_go_on_while_it_waits(tmp_path):
    path = fresh(tmp_path)

    async def main():
        import asyncio

        holder = asyncio.create_task(asyncio.to_thread(holding(path, 2)))
        await asyncio.sleep(1)
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("UPDATE risk SET n = n + 1")
        connection.close()
        await holder
        return asyncio.get_running_loop().time() - 1000

    with World() as world:
        world.deciding = True
        assert 2 <= world.run(main()) < 2.2


def test_a_thread_that_waits_for_a_lock_when_the_world_ends_is_ended(tmp_path):
    path = fresh(tmp_path)
    before = threading.active_count()
    with World(runtime="threads") as world:
        world.deciding = True
        world.start("a", holding(path, 1000))
        b = world.start("b", writing(path, timeout=100))
        for _ in range(20):
            world.within(world.loop._run_once)
        assert not b.done
    assert threading.active_count() == before
    # Nothing is left behind that holds the file.
    with sqlite3.connect(path, timeout=0) as connection:
        connection.execute("UPDATE risk SET n = n + 1")
    connection.close()


def test_without_its_library_sqlite_never_waits_in_real_time(tmp_path, monkeypatch):
    """As in a Python that has SQLite built into itself and hides its functions."""
    monkeypatch.setattr(system, "library", lambda: None)
    path = fresh(tmp_path)
    errors, _, _ = in_threads(holding(path, 10), writing(path))
    assert errors[0] is None
    assert isinstance(errors[1], UnsupportedInWorld)
    assert "a shared libsqlite3" in str(errors[1])
    errors, _, _ = in_threads(holding(path, 10), writing(path, timeout=0))
    assert str(errors[1]) == "database is locked"
