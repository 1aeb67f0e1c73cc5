from desvelo.story.statements import find_overlap, overlap_sentence
from desvelo.story.transactions import folded
from desvelo.world.trace import Facts, Row

READ, WRITE = "SELECT n FROM stock WHERE id = 1", "UPDATE stock SET n = $1 WHERE id = 1"


def rows(*said):
    return [Row(0, 0, lane, "statement", text) for lane, text in said]


def test_two_who_read_a_table_before_either_wrote_it_are_named_with_their_statements():
    overlap = find_overlap(
        rows(
            ("server for a", "BEGIN"),
            ("server for b", "BEGIN"),
            ("server for a", f"{READ} ➜ 1 row"),
            ("server for b", f"{READ} ➜ 1 row"),
            ("server for a", f"{WRITE} ➜ UPDATE 1"),
            ("server for a", "COMMIT"),
            ("server for b", f"{WRITE} ➜ UPDATE 1"),
            ("server for b", "COMMIT"),
        )
    )
    assert overlap is not None
    said = overlap_sentence(overlap)
    assert said.startswith(f"`a` and `b` both read `stock` (`{READ}`) before either wrote it")


def test_a_read_before_the_other_committed_is_one_too_and_said_so():
    overlap = find_overlap(
        rows(
            ("a", "sqlite: BEGIN"),
            ("a", f"sqlite: {READ}  ➜ (1,)"),
            ("a", f"sqlite: {WRITE}  ➜ 1 row"),
            ("b", f"sqlite: {READ}  ➜ (1,)"),
            ("a", "sqlite: COMMIT"),
            ("b", f"sqlite: {WRITE}  ➜ 1 row"),
        )
    )
    assert overlap is not None
    assert "before either had committed what it wrote" in overlap_sentence(overlap)


def test_one_after_the_other_is_no_overlap():
    one = [("a", READ), ("a", WRITE)]
    assert find_overlap(rows(*one, ("b", READ), ("b", WRITE))) is None


def test_what_was_undone_or_failed_did_not_write():
    undone = [("a", "BEGIN"), ("a", READ), ("b", READ), ("a", WRITE), ("a", "ROLLBACK")]
    assert find_overlap(rows(*undone, ("b", WRITE))) is None
    failed = [("a", READ), ("b", READ), ("a", f"{WRITE}  ✗ database is locked"), ("b", WRITE)]
    assert find_overlap(rows(*failed)) is None


def test_other_tables_and_what_was_read_again_in_time_are_no_overlap():
    other = [("a", READ), ("b", READ), ("a", WRITE), ("b", "INSERT INTO log VALUES ($1)")]
    assert find_overlap(rows(*other)) is None
    again = [("a", READ), ("b", READ), ("a", WRITE), ("b", READ), ("b", WRITE)]
    assert find_overlap(rows(*again)) is None


def test_a_key_that_both_looked_at_before_either_set_it_is_an_overlap():
    overlap = find_overlap(
        rows(("a", "GET n -> nothing"), ("b", "GET n -> nothing"), ("a", "SET n 1 -> OK"))
        + rows(("b", "SET n 1 -> OK"))
    )
    assert overlap is not None
    assert "`a` and `b` both read `n` (`GET n`)" in overlap_sentence(overlap)


def test_the_statements_of_a_transaction_that_is_told_as_one_row_are_folded_into_it():
    facts = Facts(frame=1, function="write", kind="simple")
    lane = "server for a"
    done = [
        Row(0, 0, "b", "statement", "sqlite: BEGIN"),
        Row(0, 0, lane, "line", 'connection.execute("BEGIN")', "s.py:1", facts=facts),
        *rows((lane, "sqlite: BEGIN"), (lane, "sqlite: INSERT INTO stock VALUES (?)  ➜ 1 row")),
        Row(0, 0, lane, "setting", "sqlite: PRAGMA foreign_keys"),
        *rows((lane, "sqlite: COMMIT")),
        Row(0, 0, lane, "run", "Store.write (s.py:1) returns None"),
        *rows((lane, "sqlite: BEGIN")),
    ]
    assert folded(done) == {2, 3, 5}
