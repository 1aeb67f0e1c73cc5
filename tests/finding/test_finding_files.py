import json
import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from desvelo import Finding, explore
from desvelo.errors import FindingFileError
from desvelo.finding.files import write_whole
from desvelo.schedule.decisions import Deviation, Key, Schedule

from lost_update import ENVIRONMENT  # isort: skip


def a_finding(**changes):
    values = {
        "kind": "race",
        "error": AssertionError("2 rows for one code"),
        "site": "shop.py:3 in check",
        "scenario": "shop.py",
        "operations": ["first", "second"],
        "schedule": Schedule([Deviation(Key("first", "arrive", 0), 8)], seed=3),
        "decisions": [["arrive", "first", 8], ["arrive", "second", 0]],
        "executions": 12,
        "seconds": 0.5,
    }
    return Finding(**(values | changes))


@pytest.fixture
def saved(tmp_path):
    return a_finding().save(tmp_path)


def changed(path, **values):
    data = json.loads(path.read_text(encoding="utf-8"))
    for name, value in values.items():
        if value is None:
            del data[name]
        else:
            data[name] = value
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_what_is_saved_is_what_is_loaded(tmp_path):
    finding = a_finding(story_text="one\ntwo", digest="abc", settings={"mode": "any-order"})
    loaded = Finding.load(finding.save(tmp_path))
    assert loaded.to_json() == finding.to_json()
    assert str(loaded.error) == "AssertionError: 2 rows for one code"
    assert loaded.summary() == finding.summary()


def test_the_file_is_named_after_kind_and_signature_and_readable_by_all(saved):
    assert saved.name == f"race-{a_finding().signature}.json"
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(saved.stat().st_mode) == 0o666 & ~mask


def test_the_signature_does_not_depend_on_lines_and_numbers():
    moved = a_finding(site="shop.py:99 in check", operations=["first-7", "second-8"])
    other = a_finding(site="shop.py:3 in other")
    assert moved.operation_kinds() == a_finding().operation_kinds()
    assert moved.signature == a_finding().signature != other.signature


@pytest.mark.parametrize("other", ["shop.py:Second", "market.py:First"])
def test_findings_of_different_scenarios_are_different_files(tmp_path, other):
    stuck = {"kind": "deadlock", "site": "deadlock"}
    one = a_finding(**stuck, scenario="shop.py:First").save(tmp_path)
    assert a_finding(**stuck, scenario=other).save(tmp_path) != one
    assert a_finding(**stuck, scenario="/elsewhere/shop.py:First").save(tmp_path) == one


def test_a_long_summary_of_a_deadlock_is_cut_at_its_end():
    names = ", ".join(f"patient-{number}" for number in range(9))
    error = RuntimeError(f"nothing can happen any more: {names} wait for each other: all the rest")
    said = a_finding(kind="deadlock", error=error).summary()
    assert said.startswith("deadlock: patient-0, patient-1, ")
    assert said.endswith("… (2 operations, 1 deviation from FIFO)")
    assert "all the rest" not in said


def test_a_finding_file_holds_nothing_but_plain_values(saved):
    data = json.loads(saved.read_text(encoding="utf-8"))
    assert data["schema"] == 1
    assert data["schedule"] == {"seed": 3, "deviations": [["first", "arrive", 0, 8]]}
    assert data["versions"]["python"].count(".") == 2


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda p: p.unlink(), "there is no finding file"),
        (lambda p: p.write_text(p.read_text()[:200]), "truncated or is not JSON"),
        (lambda p: p.write_text(""), "truncated or is not JSON"),
        (lambda p: p.write_text("[1]"), "not a finding of Desvelo"),
        (lambda p: p.write_bytes(b"\xff\xfe\x00"), "cannot be read"),
        (lambda p: changed(p, schema=99), "schema 99"),
        (lambda p: changed(p, schema="one"), "schema 'one'"),
        (lambda p: changed(p, kind="haunting"), "kind 'haunting', which this version does not"),
        (lambda p: changed(p, schedule=None), "it has no 'schedule'"),
        (lambda p: changed(p, error="oops"), "cannot be read|can be read"),
        (lambda p: changed(p, executions="many"), "can be read"),
        (lambda p: changed(p, schedule={"seed": 0, "deviations": [[1]]}), "schedule is not read"),
    ],
)
def test_an_unusable_file_is_refused_with_one_sentence(saved, damage, said):
    damage(saved)
    with pytest.raises(FindingFileError, match=said) as caught:
        Finding.load(saved)
    assert "\n" not in str(caught.value)


def test_a_write_that_fails_leaves_the_file_as_it_was_and_nothing_beside_it(saved, monkeypatch):
    before = saved.read_text()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        a_finding(executions=99).save(saved)
    assert saved.read_text() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_file_that_must_not_be_replaced_is_not(tmp_path):
    place = tmp_path / "test_x.py"
    write_whole(place, "one", replace=False)
    with pytest.raises(FileExistsError):
        write_whole(place, "two", replace=False)
    assert place.read_text() == "one"
    assert list(tmp_path.iterdir()) == [place]


def test_a_scenario_below_the_current_folder_is_named_relative_to_it(write_scenario, tmp_path):
    write_scenario()
    finding = explore(str(tmp_path / "account.py"), max_seconds=20, seed=1, save=tmp_path / "found")
    assert finding is not None
    assert Finding.load(finding.path).scenario == "account.py"


SLOW_TO_SHRINK = """
    import asyncio

    def setup():
        return {"n": 0}

    def operations(state):
        async def add():
            seen = state["n"]
            sum(range(300_000))  # real time, so that every attempt at shrinking takes some
            await asyncio.sleep(0.001)
            state["n"] = seen + 1

        return {f"add_{number}": add for number in range(12)}

    def check(state):
        assert state["n"] == 12
"""


def test_a_kill_while_shrinking_leaves_a_whole_file_that_replays(write_scenario, tmp_path):
    scenario = write_scenario("slow", SLOW_TO_SHRINK)
    folder = tmp_path / "found"
    command = [sys.executable, "-m", "desvelo.cli", "explore", str(scenario), "--save", str(folder)]
    running = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    try:
        until = time.monotonic() + 30
        while not (files := list(folder.glob("*.json"))) and time.monotonic() < until:
            assert running.poll() is None, running.stderr.read().decode()
            time.sleep(0.005)
        assert running.poll() is None, "it was to be killed while it shrinks"
    finally:
        running.send_signal(signal.SIGKILL)
        _, said = running.communicate()
    assert running.returncode == -signal.SIGKILL, said
    early = Finding.load(files[0])
    assert early.kind == "race"
    assert early.replay().failed
