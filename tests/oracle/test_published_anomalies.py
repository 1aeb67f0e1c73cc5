"""The histories of Berenson et al. 1995 and of Adya 1999, judged as they say."""

import pytest

from desvelo.oracle.transactions import TransactionLog

LEVELS = ("read uncommitted", "read committed", "repeatable read", "serializable")


def lowest_that_forbids(log):
    return next((level for level in LEVELS if log.anomalies(level)), None)


# Berenson et al. 1995: text, the name of the gravest anomaly, the lowest level that forbids it.
# H1 and H2 are dirty and fuzzy reads by their broad definitions; with values, as Adya shows, they
# are read skews: the sum of x and y was never 60, or 140.
BERENSON = {
    "H1": (
        "r1[x=50] w1[x=10] r2[x=10] r2[y=50] c2 r1[y=50] w1[y=90] c1",
        "read skew",
        "repeatable read",
    ),
    "H2": (
        "r1[x=50] r2[x=50] w2[x=10] r2[y=50] w2[y=90] c2 r1[y=90] c1",
        "read skew",
        "repeatable read",
    ),
    "H4": ("r1[x=100] r2[x=100] w2[x=120] c2 w1[x=130] c1", "lost update", "repeatable read"),
    "H5": (
        "r1[x=50] r1[y=50] r2[x=50] r2[y=50] w1[y=-40] w2[x=-40] c1 c2",
        "write skew",
        "serializable",
    ),
    "H1 under snapshot isolation": (
        "r1[x=50] w1[x=10] r2[x=50] r2[y=50] c2 r1[y=50] w1[y=90] c1",
        None,
        None,
    ),
    "A5A, read skew": (
        "r1[x=50] w2[x=10] w2[y@2=90] c2 r1[y@2=90] c1",
        "read skew",
        "repeatable read",
    ),
    "P0, constraint broken by dirty writes": (
        "w1[x=1] w2[x=2] w2[y=2] c2 w1[y=1] c1",
        "dirty write",
        "read uncommitted",
    ),
    "A1, dirty read": ("w1[x@1=1] r2[x@1=1] a1 c2", "dirty read", "read committed"),
    "A2, fuzzy read": (
        "r1[x=1] w2[x=2] c2 r1[x=2] c1",
        "non-repeatable read",
        "repeatable read",
    ),
}

# Adya 1999 (and Adya, Liskov, O'Neil 2000); x@1 is their x with the subscript 1.
ADYA = {
    "H1": (
        "r1[x@0=5] w1[x@1=1] r2[x@1=1] r2[y@0=5] c2 r1[y@0=5] w1[y@1=9] c1",
        "read skew",
        "repeatable read",
    ),
    "H2": (
        "r2[x@0=5] r1[x@0=5] w1[x@1=1] r1[y@0=5] w1[y@1=9] c1 r2[y@1=9] c2",
        "read skew",
        "repeatable read",
    ),
    "H1', which locking would refuse": (
        "r1[x@0=5] w1[x@1=1] r1[y@0=5] w1[y@1=9] r2[x@1=1] r2[y@1=9] c1 c2",
        None,
        None,
    ),
    "H2', which locking would refuse": (
        "r2[x@0=5] r1[x@0=5] w1[x@1=1] r1[y@0=5] r2[y@0=5] w1[y@1=9] c2 c1",
        None,
        None,
    ),
    "H_wcycle": (
        "w1[x@1=2] w2[x@2=5] w2[y@2=5] c2 w1[y@1=8] c1",
        "dirty write",
        "read uncommitted",
    ),
    "H_1a": ("w1[x@1=1] r2[x@1=1] c2 a1", "dirty read", "read committed"),
    "H_1b": ("w1[x@1.1=1] r2[x@1.1=1] w1[x@1.2=2] c1 c2", "dirty read", "read committed"),
    "H_1c": (
        "w1[x@1=1] w2[y@2=2] r1[y@2=2] r2[x@1=1] c1 c2",
        "circular information flow",
        "read committed",
    ),
    "H_serial": (
        "w1[z@1=1] w1[x@1=1] w1[y@1=1] w3[x@3=3] c1 r2[x@1=1] w2[y@2=2] c2 r3[y@2=2] w3[z@3=3] c3",
        None,
        None,
    ),
    "H_wskew": (
        "r1[x@0=1] r1[y@0=5] r2[x@0=1] r2[y@0=5] w1[x@1=3] c1 w2[y@2=2] c2",
        "write skew",
        "serializable",
    ),
}


@pytest.mark.parametrize("name", BERENSON)
def test_a_history_of_berenson_et_al_is_called_by_its_name(name):
    judged_as(*BERENSON[name])


@pytest.mark.parametrize("name", ADYA)
def test_a_history_of_adya_is_called_by_its_name(name):
    text, anomaly, level = ADYA[name]
    judged_as(text, anomaly, level, order="write")


def judged_as(text, name, level, **options):
    log = TransactionLog.parse(with_initial_versions(text), **options)
    assert [one.name for one in log.anomalies()] == ([name] if name else [])
    assert lowest_that_forbids(log) == level


def with_initial_versions(text):
    """Write a read of version 0 as a plain one: nobody wrote it."""
    return text.replace("@0", "")


def test_berensons_h3_is_a_phantom():
    # r1[P] w2[insert y to P] r2[z] w2[z] c2 r1[z] c1: the list of active employees and its count.
    log = TransactionLog(initial={"anna": "active", "count": 1})
    one, two = log.begin("T1"), log.begin("T2")
    one.find("P", {"anna": "active"}, lambda key, value: value == "active")
    two.write("y", "active")
    two.read("count", 1)
    two.write("count", 2)
    two.commit()
    one.read("count", 2)
    one.commit()
    (anomaly,) = log.anomalies()
    assert (anomaly.name, anomaly.code) == ("phantom", "G-single")
    missed = "T1 looked for P and did not find y, before T2 made it match"
    assert anomaly.explain().splitlines() == [
        "phantom (G-single) of T1 and T2 on y, count",
        f"  T1 comes before T2, because {missed},",
        "  but T2 comes before T1, because T1 read T2's count = 2.",
    ]
    assert log.anomalies("read committed") == []


def test_adyas_phantom_of_the_sales_department_is_one():
    # H_phantom: T1 looks for the employees in Sales (x and y), T2 adds z and corrects the sum.
    log = TransactionLog(initial={"x": "Sales", "y": "Sales", "sum": 20})
    one, two = log.begin("T1"), log.begin("T2")
    one.find("Sales", {"x": "Sales", "y": "Sales"}, lambda key, value: value == "Sales")
    two.write("z", "Sales")
    two.read("sum", 20)
    two.write("sum", 30)
    two.commit()
    one.read("sum", 30)
    one.commit()
    assert [one.name for one in log.anomalies()] == ["phantom"]


def test_adyas_insert_that_the_predicate_does_not_notice_is_none():
    # H_pred_read in spirit: T2 adds an employee of Legal, so Sales is as it was.
    log = TransactionLog(initial={"x": "Sales", "sum": 10})
    one, two = log.begin("T1"), log.begin("T2")
    one.find("Sales", {"x": "Sales"}, lambda key, value: value == "Sales")
    two.write("z", "Legal")
    two.write("sum", 30)
    two.commit()
    one.read("sum", 30)
    one.commit()
    assert log.anomalies() == []


def test_adyas_order_of_versions_may_differ_from_that_of_commits():
    # H_write_order: [x2 << x1], and r3 reads x1: T2, T1, T3 is a serial order.
    text = "w1[x@2] w2[x@1] w2[y@1] c1 c2 r3[x@2] w3[x@3] w4[y@2] a4 c3"
    log = TransactionLog.parse(text, order="version")
    assert log.anomalies() == []


def test_two_readers_that_see_two_writers_in_opposite_orders_are_a_long_fork():
    # Cerone, Bernardi and Gotsman 2015: parallel snapshot isolation has it, snapshot does not.
    log = TransactionLog.parse(
        "w1[x=1] c1 w2[y=1] c2 r3[x=1] r3[y=0] c3 r4[x=0] r4[y=1] c4", initial={"x": 0, "y": 0}
    )
    assert [one.name for one in log.anomalies("snapshot")] == ["long fork"]
    assert log.anomalies("read committed") == []


def test_the_read_only_anomaly_of_fekete_oneil_and_oneil_is_found():
    # "A Read-Only Transaction Anomaly Under Snapshot Isolation", SIGMOD Record 2004.
    text = "r2[x=0] r2[y=0] r1[y=0] w1[y=20] c1 r3[x=0] r3[y=20] c3 w2[x=-11] c2"
    log = TransactionLog.parse(text)
    assert log.anomalies("snapshot") == []
    (anomaly,) = log.anomalies()
    assert anomaly.name == "write skew"
    assert set(anomaly.transactions) == {"T1", "T2", "T3"}
