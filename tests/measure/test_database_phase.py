"""Threads on a database: what they lose is told, and so is what never ends."""

import itertools
import sqlite3
import threading
from dataclasses import replace

import pytest

from desvelo.errors import TargetError
from desvelo.measure.context import Context
from desvelo.measure.phases import database
from desvelo.measure.plan import Database, Settings
from desvelo.measure.result import Status
from desvelo.targets import load_target


class Counting:
    """Rows in a file of SQLite, one for each call; ``fault`` is what goes wrong with them."""

    def __init__(self, where, fault):
        self.where, self.fault = where, fault
        self.added = 0
        self.guard = threading.Lock()
        self.closed = False
        self.do("CREATE TABLE rows (thread INTEGER, iteration INTEGER)")
        self.operations = {"add": self.add, "count": self.count}

    def do(self, statement, *values):
        connection = sqlite3.connect(self.where, timeout=30)
        with connection:
            found = connection.execute(statement, values).fetchall()
        connection.close()
        return found

    def add(self, thread, iteration):
        if (thread, iteration) == (1, 1):
            if self.fault == "raises":
                raise sqlite3.OperationalError("database is locked")
            if self.fault == "hangs":
                threading.Event().wait()
        with self.guard:
            self.added += 1
        if (thread, iteration, self.fault) != (1, 1, "loses"):
            self.do("INSERT INTO rows VALUES (?, ?)", thread, iteration)

    def count(self, thread, iteration):
        assert self.do("SELECT count(*) FROM rows")[0][0]

    def problems(self):
        missing = self.added - self.do("SELECT count(*) FROM rows")[0][0]
        return [f"{missing} rows are lost"] if missing else []

    def conflicts(self):
        return 3

    def retries(self):
        return 2

    def close(self):
        self.closed = True


class Target:
    name = "rows"

    def __init__(self, fault=""):
        self.fault = fault

    def database_work(self, backend, where):
        self.work = Counting(where, self.fault)
        return self.work


def phase(target, tmp_path, *, backends=("sqlite",), threads=3, iterations=4):
    numbers = Database(threads, iterations, backends)
    return database.run(Context(target, replace(Settings(), database=numbers), tmp_path))


def test_every_operation_is_counted_and_timed(tmp_path):
    target = Target()
    result = phase(target, tmp_path)
    assert (result.status, result.problems) == (Status.PASSED, [])
    values = {name: metric.value for name, metric in result.metrics.items()}
    assert (values["operations"], values["success_rate"], values["error_rate"]) == (24, 1, 0)
    assert (values["conflicts"], values["retries"]) == (3, 2)
    assert result.latency.count == 24
    assert {"sqlite_add_p99", "sqlite_count_p99", "throughput_sqlite"} <= set(values)
    assert target.work.closed


def test_a_lost_row_is_a_problem_and_an_operation_that_raised_an_error(tmp_path):
    assert phase(Target("loses"), tmp_path).problems == ["sqlite: 1 rows are lost"]
    (tmp_path / "again").mkdir()
    result = phase(Target("raises"), tmp_path / "again")
    assert result.errors == {"sqlite add: OperationalError": 1}
    assert result.metrics["error_rate"].value == pytest.approx(1 / 24)
    assert result.problems == []


def test_threads_that_wait_for_ever_are_named_and_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "PATIENCE", 0.3)
    result = phase(Target("hangs"), tmp_path)
    assert result.problems == [
        "sqlite: nothing ended any more for 0.3 s, with threads that hang: 1 in add"
    ]
    assert result.metrics["operations"].value == 18


def test_a_target_without_database_work_is_told(tmp_path):
    with pytest.raises(TargetError, match=r"has no database_work\(\)"):
        phase(object(), tmp_path)


def test_the_reference_system_loses_nothing(tmp_path):
    result = phase(load_target("vigia_reference"), tmp_path, threads=6, iterations=3)
    assert result.problems == []
    assert result.metrics["success_rate"].value == 1


def test_what_the_reference_system_would_lose_is_told(tmp_path):
    work = load_target("vigia_reference").database_work("sqlite", str(tmp_path / "stress.db"))
    for thread, operation in itertools.product(range(2), work.operations.values()):
        operation(thread, 0)
    assert work.problems() == []
    broken = sqlite3.connect(tmp_path / "stress.db")
    with broken:
        broken.execute("DELETE FROM lpp_images WHERE file_path = '/images/1-0.jpg'")
        broken.execute("DELETE FROM lpp_detections WHERE rowid = 1")
        broken.execute("DELETE FROM system_logs")
    broken.close()
    told = " / ".join(work.problems())
    work.close()
    for part in ("saved and are lost: 1,", "stored in halves: 1,", "missing in the audit log: 1,"):
        assert part in told, told
