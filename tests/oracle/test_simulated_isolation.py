"""On databases of known levels, nothing is accused that the level forbids, and the rest is found.

``DESVELO_HISTORIES=10000 pytest tests/oracle/test_simulated_isolation.py`` runs that many each.
"""

import os
from itertools import permutations
from random import Random

import pytest

from tests.oracle.simulated_stores import (
    INITIAL,
    NoIsolation,
    Optimistic,
    ReadCommitted,
    ReadUncommitted,
    Snapshot,
    drawn_transactions,
    even,
    interleave,
)

HISTORIES = int(os.environ.get("DESVELO_HISTORIES", "600"))

SKEWS = {"write skew", "write skew by phantom"}
FUZZY = {"lost update", "non-repeatable read", "phantom", "read skew"}
LEVELS = {
    Optimistic: set(),
    Snapshot: SKEWS,
    ReadCommitted: SKEWS | FUZZY,
    ReadUncommitted: FUZZY | {"dirty read", "circular information flow"},
    NoIsolation: FUZZY | {"dirty read", "circular information flow", "dirty write"},
}


def logs(store, histories=HISTORIES, **options):
    random = Random(f"transactions on {store.__name__}")
    for _ in range(histories):
        yield interleave(random, store(), drawn_transactions(random), **options)


@pytest.mark.parametrize("store", LEVELS)
def test_serial_histories_are_never_accused(store):
    aborts = 0 if store is NoIsolation else 0.2  # nothing is undone there
    for log in logs(store, HISTORIES // 4, serial=True, aborts=aborts):
        assert log.anomalies() == []


@pytest.mark.parametrize("store", [one for one in LEVELS if one.level])
def test_a_level_is_never_accused_of_what_it_forbids(store):
    for log in logs(store):
        assert log.anomalies(store.level) == []


@pytest.mark.parametrize("store", LEVELS)
def test_everything_that_a_level_lets_through_is_found_by_its_name(store):
    names = {anomaly.name for log in logs(store) for anomaly in log.anomalies()}
    assert names >= LEVELS[store]


def serializable(log):
    """Try every serial order of the committed transactions that keeps the order of versions."""
    committed = [one for one in log.transactions if one.status == "committed"]
    return any(serial(order, log) for order in permutations(committed))


def serial(order, log):
    rows = dict(INITIAL)
    for transaction in order:
        own = dict(rows)
        events = sorted(
            [*transaction.reads, *transaction.writes, *transaction.looks], key=lambda e: e.place
        )
        for event in events:
            if event in transaction.writes:
                own[event.key] = event.value
            elif event in transaction.reads:
                if own.get(event.key) != event.value:
                    return False
            elif event.found != {k: v for k, v in own.items() if even(k, v)}:
                return False
        rows = own
    return versions_in_order(order, log)


def versions_in_order(order, log):
    def rank(transaction, key):
        last = max(write.place for write in transaction.writes if write.key == key)
        return transaction.ended if log.order == "commit" else last

    return all(
        ranks == sorted(ranks)
        for key in ("x", "y", "z")
        for ranks in [[rank(t, key) for t in order if any(w.key == key for w in t.writes)]]
    )


@pytest.mark.parametrize("store", LEVELS)
def test_rows_alone_agree_with_trying_every_serial_order(store):
    random = Random(f"rows on {store.__name__}")
    seen = set()
    for _ in range(HISTORIES):
        log = interleave(random, store(), drawn_transactions(random, looks=False))
        expected = serializable(log)
        assert (log.anomalies() == []) is expected, told(log)
        seen.add(expected)
    assert seen == ({True} if store is Optimistic else {True, False})


@pytest.mark.parametrize("store", LEVELS)
def test_what_some_serial_order_explains_is_never_accused(store):
    for log in logs(store):
        if log.anomalies():
            assert not serializable(log), told(log)


def told(log):
    return "\n".join(one.explain() for one in log.anomalies()) or str(
        [(t.name, t.status, t.reads, t.writes, t.looks) for t in log.transactions]
    )
