"""What a log of transactions takes, what it makes of what it cannot know, and what it says."""

from itertools import pairwise

import pytest

from desvelo import ConcurrentMachine, operation
from desvelo.errors import UsageError
from desvelo.failure import failure_of
from desvelo.oracle.isolation import LEVELS, IsolationAnomaly, forbidden_at
from desvelo.oracle.transactions import TransactionLog

LOST = "r1[x=1] r2[x=1] w1[x=2] c1 w2[x=3] c2"


def names(log, level="serializable"):
    return [one.name for one in log.anomalies(level)]


def test_the_message_is_short_and_says_who_must_come_before_whom():
    with pytest.raises(IsolationAnomaly) as caught:
        TransactionLog.parse(LOST).check()
    assert str(caught.value).splitlines() == [
        "lost update (G-single) of T2 and T1 on x",
        "  T2 comes before T1, because T2 read x = 1, which T1 overwrote with 2,",
        "  but T1 comes before T2, because T2 overwrote T1's x = 2 with 3.",
    ]


def test_it_is_reported_as_a_race_with_its_name():
    with pytest.raises(IsolationAnomaly) as caught:
        TransactionLog.parse(LOST).check()
    failure = failure_of(caught.value, "check")
    assert failure.kind == "race"
    assert failure.summary().startswith("IsolationAnomaly: lost update (G-single) of T2 and T1")


def test_a_level_is_checked_for_what_it_forbids_only():
    log = TransactionLog.parse(LOST)
    log.check("read committed")
    with pytest.raises(IsolationAnomaly, match="lost update"):
        log.check("REPEATABLE READ")


def test_each_level_forbids_what_the_one_below_forbids():
    ladder = ["read uncommitted", "read committed", "repeatable read", "serializable"]
    for lower, higher in pairwise(ladder):
        assert forbidden_at(lower) < forbidden_at(higher)
    assert forbidden_at("snapshot") == forbidden_at("repeatable_read")
    assert set(LEVELS["serializable"]) == forbidden_at("serializable")


def test_an_unknown_level_is_named_with_the_known_ones():
    with pytest.raises(UsageError, match="'strict'; they are: read uncommitted, read committed"):
        forbidden_at("strict")


def test_two_increments_to_one_value_are_a_lost_update():
    assert names(TransactionLog.parse("r1[x=1] r2[x=1] w1[x=2] w2[x=2] c1 c2")) == ["lost update"]


def test_a_value_that_two_have_written_accuses_nobody_of_having_been_read():
    text = "w1[x=2] a1 w2[x=2] c2 r3[x=2] c3"
    assert names(TransactionLog.parse(text, initial={})) == []


def test_a_transaction_that_is_tried_again_writes_the_same_once_more():
    text = "w1[x=2] a1 w2[x=2] c2 r3[x=2] r3[y=1] r4[x=2] w3[x=3] c3 w4[x=4] c4"
    assert names(TransactionLog.parse(text, initial={"x": 1})) == ["lost update"]


def test_a_value_that_may_have_been_there_before_accuses_nobody():
    text = "w1[x=2] r2[x=2] a1 c2"
    assert names(TransactionLog.parse(text)) == []
    assert names(TransactionLog.parse(text, initial={"x": 2})) == []
    assert names(TransactionLog.parse(text, initial={"x": 1})) == ["dirty read"]


def test_a_transaction_in_doubt_accuses_nobody():
    text = "r1[x=1] w2[x=2] r1[y=1] w2[y=2] r3[x=2] r3[y=1] c3"
    assert names(TransactionLog.parse(text, initial={"x": 1, "y": 1})) == []


def test_an_aborted_transaction_is_not_judged():
    assert names(TransactionLog.parse(LOST.replace("c1", "a1"))) == []


def test_reading_what_one_wrote_oneself_is_nothing():
    assert names(TransactionLog.parse("r1[x=1] w1[x=2] r1[x=2] w1[x=3] r1[x=3] c1")) == []


def test_a_row_read_twice_with_two_values_is_found_whoever_changed_it():
    (anomaly,) = TransactionLog.parse("r1[x=1] r1[x=2] c1").anomalies()
    assert anomaly.explain().splitlines() == [
        "non-repeatable read (G-single) of T1 on x",
        "  T1 read x = 1 and then 2, and did not write it.",
    ]


def test_a_condition_looked_for_twice_with_two_answers_is_a_phantom():
    log = TransactionLog()
    one = log.begin("report")
    one.find("active plans", {"a": "active"})
    one.find("active plans", {"a": "active", "b": "active"})
    one.commit()
    (anomaly,) = log.anomalies("repeatable read")
    assert anomaly.name == "phantom"
    assert anomaly.steps == (
        "report looked for active plans twice: it found a and then a, b, and wrote nothing.",
    )


def test_two_active_plans_are_a_write_skew_by_phantom():
    def active(key, value):
        return value == "active"

    log = TransactionLog(initial={})
    one, two = log.begin("plan a"), log.begin("plan b")
    one.find("active plans", {}, active)
    two.find("active plans", {}, active)
    one.write("a", "active")
    two.write("b", "active")
    one.commit()
    two.commit()
    assert names(log, "snapshot") == []
    (anomaly,) = log.anomalies()
    assert (anomaly.name, anomaly.code) == ("write skew by phantom", "G2")


def test_a_row_that_was_deleted_is_missed_by_a_look():
    def active(key, value):
        return value == "active"

    log = TransactionLog(initial={"a": "active", "n": 1})
    one, two = log.begin(), log.begin()
    one.find("active plans", {"a": "active"}, active)
    two.delete("a")
    two.write("n", 0)
    two.commit()
    one.read("n", 0)
    one.commit()
    assert names(log) == ["read skew"]


def test_a_condition_that_fails_is_named():
    log = TransactionLog(initial={"a": 1})
    one = log.begin()
    one.find("active plans", {}, lambda key, value: value["status"] == "active")
    one.commit()
    with pytest.raises(UsageError, match=r"the look for 'active plans' fails for 'a' = 1: TypeErr"):
        log.anomalies()


def test_versions_tell_writes_apart_that_have_one_value():
    log = TransactionLog(order="version")
    one, two, three = log.begin(), log.begin(), log.begin()
    one.write("x", version=1)
    one.commit()
    two.read("x", version=1)
    three.read("x", version=1)
    two.write("x", version=2)
    three.write("x", version=3)
    two.commit()
    three.commit()
    (anomaly,) = log.anomalies()
    assert anomaly.name == "lost update"
    assert "T3 read x = version 1, which T2 overwrote with version 2" in anomaly.steps[0]


def test_a_log_ordered_by_versions_wants_them():
    log = TransactionLog.parse("w1[x=1] c1", order="version")
    with pytest.raises(UsageError, match="T1 wrote 'x' without version="):
        log.anomalies()


def test_nothing_happens_in_a_transaction_that_has_ended():
    one = TransactionLog().begin()
    one.abort()
    with pytest.raises(UsageError, match="read of transaction 'T1', which has been aborted alread"):
        one.read("x", 1)


def test_a_transaction_that_is_tried_again_has_a_number():
    log = TransactionLog()
    assert [log.begin("order").name for _ in range(2)] == ["order", "order (2)"]


@pytest.mark.parametrize("text", ["r1(x)", "b1", "r1[x", "w[x=1]"])
def test_what_is_no_event_of_a_history_is_named(text):
    with pytest.raises(UsageError, match="is no event of a history; write"):
        TransactionLog.parse(text)


def test_an_order_of_versions_that_is_none_is_refused():
    with pytest.raises(UsageError, match="'time' is none of write, commit, version"):
        TransactionLog(order="time")


def test_a_machine_looks_at_its_log_at_rest():
    class Stock(ConcurrentMachine):
        async def setup(self):
            self.log = TransactionLog(initial={"stock": 10})
            self.stock = 10

        @operation()
        async def order(self):
            import asyncio

            noted = self.log.begin("order")
            stock = noted.read("stock", self.stock)
            await asyncio.sleep(0)
            self.stock = noted.write("stock", stock - 1)
            noted.commit()

    state = Stock()
    state.order()
    state.order()
    state.settle()
    with pytest.raises(IsolationAnomaly, match=r"lost update .* of order \(2\) and order on stock"):
        state.log.check()
    state.teardown()
