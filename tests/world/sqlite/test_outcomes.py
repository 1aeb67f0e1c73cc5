"""What statements come to in the world is what they come to in real SQLite, in every order."""

import collections

import pytest

from tests.world.sqlite.programs import fresh, policies, replay_for_real, run

UPGRADE = ("BEGIN", "SELECT n FROM risk", "fetch", "UPDATE risk SET n = n + 1", "COMMIT")
IMMEDIATE = (
    "BEGIN IMMEDIATE",
    "SELECT n FROM risk",
    "fetch",
    "UPDATE risk SET n = n + 1",
    "COMMIT",
)
EXCLUSIVE = ("BEGIN EXCLUSIVE", "UPDATE risk SET n = n + 1", "COMMIT")
BLIND = ("BEGIN", "UPDATE risk SET n = n + 1", "UPDATE risk SET n = n * 2", "COMMIT")
AUTOCOMMIT = ("UPDATE risk SET n = n + 1", "SELECT n FROM risk", "fetch")
READER = ("SELECT n FROM risk", "fetch", "BEGIN", "SELECT n FROM risk", "fetch", "COMMIT")
WRITE_AFTER_LOOKING = ("SELECT n FROM risk", "UPDATE risk SET n = n + 1", "fetch")

PROGRAMS = {
    "two upgrades": {"a": UPGRADE, "b": UPGRADE},
    "upgrade and immediate": {"a": UPGRADE, "b": IMMEDIATE},
    "upgrade and exclusive": {"a": UPGRADE, "b": EXCLUSIVE},
    "blind write and reader": {"a": BLIND, "b": READER},
    "autocommit and reader": {"a": AUTOCOMMIT, "b": READER, "c": AUTOCOMMIT},
    "unfinished query and exclusive": {"a": WRITE_AFTER_LOOKING, "b": EXCLUSIVE},
    "three": {"a": UPGRADE, "b": BLIND, "c": READER},
}


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_outcomes_are_those_of_real_connections_in_the_same_order(tmp_path, name, journal):
    orders = set()
    for policy in policies(24, "pos"):
        log, _ = run(fresh(tmp_path, journal), PROGRAMS[name], policy)
        assert replay_for_real(fresh(tmp_path, journal), log) == log
        orders.add(tuple((who, sql) for who, sql, _ in log))
    assert len(orders) >= 5


def outcomes(tmp_path, programs, journal, schedules=30, **options):
    """Return how often which errors came, over many schedules."""
    seen = collections.Counter()
    for policy in policies(schedules):
        log, seconds = run(fresh(tmp_path, journal), programs, policy, **options)
        seen[tuple(sorted(o for _, _, o in log if isinstance(o, str)))] += 1
        assert seconds < options.get("timeout", 0) + 1
    return seen


def test_a_snapshot_that_is_too_old_is_told_from_a_lock_that_is_taken(tmp_path):
    both = {"a": UPGRADE, "b": UPGRADE}
    wal = outcomes(tmp_path, both, "WAL", timeout=5)
    assert set(wal) == {(), ("SQLITE_BUSY",), ("SQLITE_BUSY_SNAPSHOT",)}
    # With a rollback journal the reader's lock is in the way of the writer's commit instead.
    assert set(outcomes(tmp_path, both, "DELETE", timeout=5)) == {(), ("SQLITE_BUSY",)}


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
@pytest.mark.parametrize("program", [IMMEDIATE, EXCLUSIVE, BLIND, ("UPDATE risk SET n = n + 1",)])
def test_who_takes_the_lock_first_thing_waits_and_is_never_refused(tmp_path, program, journal):
    everybody = dict.fromkeys("abc", program)
    assert set(outcomes(tmp_path, everybody, journal, schedules=12, timeout=5)) == {()}
