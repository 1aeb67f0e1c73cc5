"""Connections in the world are what the code asked for, and do what `sqlite3` documents."""

import os
import sqlite3
import sqlite3.dbapi2
import sys
import warnings
from contextlib import closing, suppress
from sqlite3 import connect as imported_by_name

import pytest

from desvelo.schedule.decisions import ORDERS, Recorder
from desvelo.schedule.policy import Recorded
from desvelo.world import World
from desvelo.world.sqlite import connections as world_connections
from tests.world.sqlite.programs import fresh


def within(function, *arguments):
    with World() as world:
        return world.within(lambda: function(*arguments))


def threads(*calls, schedule=None, **options):
    """Run calls as threads under a written schedule; return the world's rows of statements."""
    recorder = Recorder(Recorded(schedule or {}))
    options.setdefault("switch_files", lambda file: False)
    with World(recorder, runtime="threads", trace=True, **options) as world:
        world.deciding = True
        operations = [world.start(chr(97 + number), call) for number, call in enumerate(calls)]
        world.finish(operations)
        for operation in operations:
            if operation.error is not None:
                raise operation.error
        return [
            (row.lane, row.text) for row in world.trace.rows if row.kind in ("statement", "waits")
        ]


class Own(sqlite3.Connection):
    """A connection that counts, as a user may write one."""

    count = 0

    def execute(self, *arguments):
        self.count += 1
        return super().execute(*arguments)

    def twice(self, sql):
        return [self.execute(sql).fetchone(), self.execute(sql).fetchone()]


class OwnCursor(sqlite3.Cursor):
    def fetchone(self):
        return "own", super().fetchone()


@pytest.mark.parametrize(
    "connect", [sqlite3.connect, sqlite3.dbapi2.connect, imported_by_name], ids=str
)
def test_every_door_leads_to_a_connection_of_the_world(connect):
    name = next(name for name, value in globals().items() if value is imported_by_name)

    def ask():
        connection = globals()[name](":memory:")
        assert isinstance(connection, world_connections.WorldConnection)
        assert isinstance(connection, sqlite3.Connection)
        assert type(connection).__name__ == "Connection"
        connection.close()

    within(ask)
    outside = connect(":memory:")
    assert not isinstance(outside, world_connections.WorldConnection)
    outside.close()


def test_a_factory_of_the_users_is_what_comes_out():
    def ask():
        connection = sqlite3.connect(":memory:", factory=Own)
        assert isinstance(connection, Own)
        assert connection.twice("SELECT 1") == [(1,), (1,)]
        assert connection.count == 2
        cursor = connection.cursor(OwnCursor)
        assert isinstance(cursor, OwnCursor)
        assert cursor.execute("SELECT 2").fetchone() == ("own", (2,))
        connection.close()

    within(ask)


def test_what_a_users_class_does_inside_is_a_point_at_which_others_run(tmp_path):
    path = fresh(tmp_path)

    def own():
        connection = sqlite3.connect(path, factory=Own, isolation_level=None)
        assert connection.twice("SELECT n FROM risk") == [(0,), (5,)]
        connection.close()

    def other():
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("UPDATE risk SET n = 5")
        connection.close()

    # At its third point, the second statement, the first thread lets the second one go first.
    threads(own, other, schedule={("a", "pause", 2): 20 * ORDERS})


def test_rows_and_text_come_as_the_code_has_set_them(tmp_path):
    def ask():
        connection = sqlite3.connect(fresh(tmp_path), detect_types=sqlite3.PARSE_COLNAMES)
        connection.row_factory = sqlite3.Row
        row = connection.execute("SELECT n FROM risk").fetchone()
        assert row["n"] == 0
        assert isinstance(row, sqlite3.Row)
        connection.text_factory = bytes
        assert connection.execute("SELECT 'a'").fetchone()[0] == b"a"
        assert [row["x"] for row in connection.execute("SELECT 1 AS x UNION SELECT 2")] == [1, 2]
        assert [tuple(row) for row in connection.execute("VALUES (1), (2), (3)").fetchmany(2)] == [
            (1,),
            (2,),
        ]
        connection.close()
        connection.close()
        with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
            connection.execute("SELECT 1")

    within(ask)


def test_a_with_block_commits_or_undoes(tmp_path):
    path = fresh(tmp_path)

    def ask():
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("UPDATE risk SET n = 1")
        with suppress(ZeroDivisionError), connection:
            connection.execute("UPDATE risk SET n = 2")
            raise ZeroDivisionError
        assert not connection.in_transaction
        connection.execute("UPDATE risk SET n = 3")
        connection.rollback()
        assert connection.execute("SELECT n FROM risk").fetchone() == (1,)
        connection.execute("UPDATE risk SET n = 4")
        connection.isolation_level = None
        assert connection.isolation_level is None
        connection.close()
        connection = sqlite3.connect(path)
        assert connection.execute("SELECT n FROM risk").fetchone() == (4,)
        connection.close()

    within(ask)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="autocommit came with Python 3.12")
def test_autocommit_means_what_it_means(tmp_path):
    path = fresh(tmp_path)

    def ask():
        connection = sqlite3.connect(path, autocommit=False)
        assert connection.autocommit is False
        assert connection.in_transaction
        connection.execute("UPDATE risk SET n = 1")
        connection.commit()
        assert connection.in_transaction
        connection.execute("UPDATE risk SET n = 2")
        connection.autocommit = True  # commits
        connection.execute("UPDATE risk SET n = n + 1")
        connection.close()
        connection = sqlite3.connect(path, autocommit=sqlite3.LEGACY_TRANSACTION_CONTROL)
        assert connection.execute("SELECT n FROM risk").fetchone() == (3,)
        connection.close()

    within(ask)


def test_dump_backup_blobs_and_bytes_work(tmp_path):
    path = fresh(tmp_path)

    def ask():
        connection = sqlite3.connect(path)
        assert 'INSERT INTO "risk" VALUES(0);' in connection.iterdump()
        copy = sqlite3.connect(":memory:")
        connection.backup(copy, pages=1, sleep=10)
        assert copy.execute("SELECT n FROM risk").fetchone() == (0,)
        copy.execute("CREATE TABLE image (data BLOB)")
        copy.execute("INSERT INTO image VALUES (zeroblob(3))")
        with copy.blobopen("image", "data", 1) as blob:
            blob.write(b"abc")
        assert copy.execute("SELECT data FROM image").fetchone() == (b"abc",)
        again = sqlite3.connect(":memory:")
        again.deserialize(copy.serialize())
        assert again.execute("SELECT count(*) FROM image").fetchone() == (1,)
        for one in (connection, copy, again):
            one.close()

    within(ask)


def test_only_the_thread_that_made_a_connection_may_use_it():
    connections = []

    def make():
        connections.append(sqlite3.connect(":memory:"))

    def use():
        connections[0].execute("SELECT 1")

    said = "created in thread a and this is thread b"
    with pytest.raises(sqlite3.ProgrammingError, match=said):
        threads(make, use)
    connections.pop().close()


def test_others_may_run_between_the_statements_of_a_script(tmp_path):
    path = fresh(tmp_path)
    traced = []

    def script():
        connection = sqlite3.connect(path, isolation_level=None)
        connection.set_trace_callback(traced.append)
        connection.executescript("UPDATE risk SET n = n + 1; UPDATE risk SET n = n * 10;")
        connection.close()

    def other():
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("UPDATE risk SET n = n + 5")
        connection.close()

    threads(script, other, schedule={("a", "pause", 1): 20 * ORDERS})
    assert traced == ["UPDATE risk SET n = n + 1;", " UPDATE risk SET n = n * 10;"]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT n FROM risk").fetchone() == (60,)
    connection.close()


@pytest.mark.parametrize(("level", "seen"), [(None, [(1,), (2,)]), ("", [(2,), (2,)])])
def test_others_may_run_between_the_rows_of_executemany_unless_it_is_one_transaction(
    tmp_path, level, seen
):
    path = fresh(tmp_path, "WAL")
    found = []

    def many():
        connection = sqlite3.connect(path, isolation_level=level)
        with connection:
            connection.executemany("UPDATE risk SET n = n + ?", [(1,), (1,)])
        connection.close()

    def look():
        connection = sqlite3.connect(path, isolation_level=None)
        found.extend(connection.execute("SELECT n FROM risk").fetchone() for _ in range(2))
        connection.close()

    schedule = (
        {("b", "arrive", 0): 2 * ORDERS, ("a", "pause", 1): 4 * ORDERS} if level is None else {}
    )
    if level is None:
        schedule |= {("b", "pause", 2): 20 * ORDERS}
    threads(many, look, schedule=schedule)
    assert found == seen


def test_a_connection_outlives_its_world_without_its_locks(tmp_path):
    path = fresh(tmp_path)
    kept = []

    def leave_open():
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        kept.append(connection)
        kept.append(connection.execute("SELECT n FROM risk"))

    threads(leave_open)
    assert not kept[0].in_transaction
    other = sqlite3.connect(path, timeout=0)
    with other:
        other.execute("UPDATE risk SET n = 3")
    other.close()
    assert kept[1].execute("SELECT n FROM risk").fetchone() == (3,)
    kept[0].close()


@pytest.mark.parametrize("inside", [False, True])
def test_who_catches_an_error_does_not_keep_the_locks_of_a_closed_connection(tmp_path, inside):
    path = fresh(tmp_path)

    def upgrade():
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT n FROM risk").fetchone()
            connection.execute("UPDATE risk SET n = 2")

    def write():
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE risk SET n = 1")
            caught = []
            try:
                upgrade()
            except sqlite3.OperationalError as error:
                caught.append(error)
            connection.execute("COMMIT")
            assert len(caught) == 1
            assert caught[0].__traceback__ is not None

    within(write) if inside else write()


def test_a_connection_made_on_import_is_warned_of_once(tmp_path, monkeypatch):
    (tmp_path / "clinic_with_connection.py").write_text(
        "import sqlite3\nconnection = sqlite3.connect(':memory:')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import clinic_with_connection

    with pytest.warns(RuntimeWarning, match="clinic_with_connection.connection is a connection"):
        World().close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        World().close()
    clinic_with_connection.connection.close()
    del sys.modules["clinic_with_connection"]


def test_the_trace_says_what_was_executed_and_what_came_of_it(tmp_path):
    path = os.fspath(fresh(tmp_path))

    def say():
        connection = sqlite3.connect(path)
        connection.row_factory = sqlite3.Row
        connection.execute("SELECT n\n  FROM risk").fetchone()
        connection.execute("SELECT n FROM risk WHERE n > 5").fetchall()
        connection.execute("UPDATE risk SET n = ? WHERE n < 100000 AND n > -100000 AND n = n", (1,))
        connection.commit()
        with pytest.raises(sqlite3.OperationalError):
            connection.execute("SELECT wrong FROM risk")
        connection.execute("UPDATE risk SET n = 2")
        connection.close()

    assert threads(say) == [
        ("a", "sqlite: SELECT n FROM risk  ➜ (0,)"),
        ("a", "sqlite: SELECT n FROM risk WHERE n > 5  ➜ no row"),
        ("a", "sqlite: UPDATE risk SET n = ? WHERE n < 100000 AND n > -100000 AND…  ➜ 1 row"),
        ("a", "sqlite: COMMIT"),
        ("a", "sqlite: SELECT wrong FROM risk  ✗ no such column: wrong"),
        ("a", "sqlite: UPDATE risk SET n = 2  ➜ 1 row"),
        ("a", "sqlite: closes the connection, which undoes its transaction"),
    ]
