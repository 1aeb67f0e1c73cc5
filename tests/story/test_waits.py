from desvelo.story.sentence import wait_sentence
from desvelo.story.waits import blocked_at_end
from desvelo.world.trace import Facts, Row

DETAILS = (
    "p0 waits at a/s.py:8 in eat for the lock made at a/s.py:4, held by p1 since a/s.py:7",
    "p1 waits at a/s.py:8 in eat for the lock made at a/s.py:4, held by p0 since a/s.py:7",
)


def step(lane, where, **known):
    return Row(0, 0, lane, "line", "with lock:", where, facts=Facts(1, "eat", "with", **known))


def test_who_holds_a_lock_is_taken_from_who_keeps_the_locks_and_not_from_the_words_of_a_line():
    said = wait_sentence([], blocked_at_end(DETAILS, []), DETAILS, {"a/s.py": "s.py"})
    assert said == (
        "`p0` waits at s.py:8 for the lock made at s.py:4, which `p1` has held since s.py:7; "
        "`p1` waits at s.py:8 for the lock made at s.py:4, which `p0` has held since s.py:7. "
        "None of them can go on."
    )


def test_one_who_waits_for_itself_and_one_who_waits_for_nobody_are_told_so():
    own = ("a waits at s.py:7 in f for the lock made at s.py:5, held by a since s.py:7",)
    said = wait_sentence([], blocked_at_end(own, []), own, {})
    assert said.endswith("for the lock made at s.py:5, which it has held itself since s.py:7.")
    word = ("a waits at s.py:9 in f for a notification of the Condition made at s.py:4",)
    said = wait_sentence([], blocked_at_end(word, []), word, {})
    assert said.endswith("a notification of the Condition made at s.py:4, which will never come.")


def test_a_statement_that_waits_at_a_server_is_part_of_the_circle():
    details = (
        *DETAILS[:1],
        "UPDATE t SET n = 1 in PostgreSQL session 3 of b waits for a lock held by session 2 of a",
    )
    said = wait_sentence([], blocked_at_end(details, []), details, {})
    assert "`UPDATE t SET n = 1` (PostgreSQL session 3 of b) waits for a lock held by" in said


def test_each_thread_has_its_own_row_and_that_of_a_pool_the_row_of_whoever_asked_for_the_job():
    trace = [
        step("p0", "a/s.py:7"),
        step("p1", "a/s.py:7"),
        step("p0", "a/s.py:8", suspended=True),
        step("p1", "a/s.py:8", suspended=True),
    ]
    first, second = blocked_at_end(DETAILS, trace)
    assert (first.row, first.got) == (trace[2], trace[1])
    assert (second.row, second.got) == (trace[3], trace[0])
    worker = ("p0>pool_0 waits at a/s.py:8 in job for the result of the Future made at a/s.py:7",)
    assert blocked_at_end(worker, trace)[0].row is trace[2]
