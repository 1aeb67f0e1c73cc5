"""Runs are kept, found again, and nothing else is taken for a history."""

import sqlite3
import threading

import pytest

from desvelo.errors import UsageError
from desvelo.measure.history import open_history
from desvelo.measure.result import Metric, PhaseResult, Run, Status
from desvelo.servers.testing import need_postgres

MACHINE = {"system": "Linux", "cpu": "one", "cores": "2", "name": "a"}


def run_of(number, value=1.0, *, status=Status.PASSED, target="shop", machine=MACHINE):
    phase = PhaseResult("load", status, metrics={"p99": Metric(value, "s", "lower")})
    started = f"2026-01-01T00:{number // 60:02}:{number % 60:02}+00:00"
    return Run(f"r{number}", started, target, "ci", phases=[phase], machine=dict(machine))


@pytest.fixture(params=["sqlite", "postgresql"])
def history(request, tmp_path):
    if request.param == "sqlite":
        where = str(tmp_path / "new" / "history.sqlite")
    else:
        where = need_postgres().dsn
    with open_history(where) as found:
        yield found
        if request.param == "postgresql":
            found._rows.run("DROP SCHEMA desvelo CASCADE")


def test_a_run_comes_back_as_it_was_and_again_after_reopening(history, tmp_path):
    runs = [run_of(number) for number in range(3)]
    for run in (*runs, runs[1]):
        history.add(run)
    assert history.runs() == runs[::-1]
    assert history.get("r1") == runs[1]
    assert history.get("r9") is None
    assert history.before(runs[2]) == runs[1]
    assert history.before(runs[0]) is None
    if history._rows.name.endswith("history.sqlite"):
        with open_history(history._rows.name) as again:
            assert again.runs(1) == [runs[2]]


def test_the_past_of_a_metric_is_that_of_the_same_target_and_machine_when_it_passed(history):
    history.add(run_of(1, 0.1))
    history.add(run_of(2, 0.2, target="another"))
    history.add(run_of(3, 0.3, machine={**MACHINE, "cores": "64"}))
    history.add(run_of(4, 0.4, status=Status.FAILED))
    history.add(run_of(5, 0.5, machine={**MACHINE, "name": "b"}))
    history.add(run_of(7, 0.7))
    assert history.values(run_of(6), "load", "p99", 10) == [0.1, 0.5]
    assert history.values(run_of(6), "load", "p99", 1) == [0.5]
    assert history.values(run_of(6), "webhook", "p99", 10) == []


def test_two_runs_that_end_at_once_are_both_kept(tmp_path):
    where = str(tmp_path / "history.sqlite")

    def add(number):
        with open_history(where) as history:
            history.add(run_of(number))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_history(where) as history:
        assert len(history.runs()) == 8


def damaged(path):
    path.write_bytes(b"SQLite format 3\0" + b"x" * 5000)


def other_text(path):
    path.write_text("not a database at all, but long enough to be looked at" * 20)


def other_database(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()


def newer(path):
    with open_history(str(path)):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (damaged, "cannot be read"),
        (other_text, "cannot be read"),
        (other_database, "no history of runs"),
        (newer, "format 7.*update desvelo"),
    ],
)
def test_what_is_no_history_is_refused_and_left_as_it_is(make, told, tmp_path):
    path = tmp_path / "history.sqlite"
    make(path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=rf"history\.sqlite.*{told}"):
        open_history(str(path))
    assert path.read_bytes() == before


def test_a_full_disk_is_told_and_keeps_what_was_there(tmp_path):
    with open_history(str(tmp_path / "history.sqlite")) as history:
        history.add(run_of(1))
        (pages,) = history._rows.run("PRAGMA page_count")[0]
        history._rows.run(f"PRAGMA max_page_count = {pages}")
        large = run_of(2)
        large.reason = "x" * 100_000
        with pytest.raises(UsageError, match=r"cannot be written: database or disk is full"):
            history.add(large)
        assert [run.id for run in history.runs()] == ["r1"]


def test_a_history_on_another_machine_is_not_reached_by_accident():
    with pytest.raises(UsageError, match=r"--allow-host db\.example\.org"):
        open_history("postgresql://u:secret@db.example.org/runs")
