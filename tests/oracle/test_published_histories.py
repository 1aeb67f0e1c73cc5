"""Histories that papers and other checkers show, accepted and rejected as they say."""

import pytest

from desvelo.oracle.invocation import Invocation
from desvelo.oracle.linearizability import check
from tests.oracle.sequential_models import Queue, Register, history

# Herlihy and Wing 1990, the four queue histories of figure 1, by their numbers in section 2.
HERLIHY_WING_QUEUES = {
    "H1": (
        "A:enqueue(x) B:enqueue(y) B:ok A:ok B:dequeue() B:x A:dequeue() A:y A:enqueue(z)",
        "ok",
    ),
    "H2": ("A:enqueue(x) A:ok B:enqueue(y) A:dequeue() B:ok A:y", "illegal"),
    "H3": ("A:enqueue(x) B:dequeue() B:x", "ok"),
    "H4": (
        "A:enqueue(x) B:enqueue(y) A:ok B:ok A:dequeue() C:dequeue() A:y C:y",
        "illegal",
    ),
}

# In the manner of their register figures: what a read may see while writes overlap it.
REGISTERS = {
    "a read sees a write that has not returned, and so does the next": (
        "A:write(1) B:read() B:1 B:read() B:1 A:ok",
        "ok",
    ),
    "reads of two clients take the writes in one order": (
        "A:write(1) B:write(2) C:read() C:1 D:read() D:2 A:ok B:ok",
        "ok",
    ),
    "and not in another when they come again": (
        "A:write(1) B:write(2) C:read() C:1 D:read() D:2 C:read() C:1 A:ok B:ok",
        "illegal",
    ),
    "an old value does not come back": (
        "A:write(1) B:read() B:1 A:ok B:write(2) C:read() C:2 C:read() C:1 B:ok",
        "illegal",
    ),
    "a write that nobody saw may never have been": ("A:write(1) B:read() B:0 B:read() B:0", "ok"),
}


@pytest.mark.parametrize("name", HERLIHY_WING_QUEUES)
def test_the_queue_histories_of_herlihy_and_wing_are_judged_as_they_say(name):
    text, outcome = HERLIHY_WING_QUEUES[name]
    assert check(history(text), Queue).outcome == outcome


@pytest.mark.parametrize("name", REGISTERS)
def test_register_histories_are_judged_as_their_names_say(name):
    text, outcome = REGISTERS[name]
    assert check(history(text), Register).outcome == outcome


def test_each_queue_alone_shows_that_two_in_crossed_order_are_not_linearizable():
    # Herlihy and Wing 1990, section 3.3: sequentially consistent queue by queue, but not both at
    # once. Linearizability is local, so it refuses a single queue already.
    p_alone = "A:enqueue(x) A:ok B:enqueue(y) B:ok A:dequeue() A:y"
    assert check(history(p_alone), Queue).outcome == "illegal"


def test_the_register_histories_of_porcupines_manual_are_judged_alike():
    # Porcupine, README: one client writes all the time while two others read.
    seen = [
        Invocation("1", "write", {"value": 100}, 0, 100),
        Invocation("2", "read", {}, 25, 75, result=100),
        Invocation("3", "read", {}, 30, 60, result=0),
    ]
    assert check(seen, Register).outcome == "ok"
    lost = [
        Invocation("1", "write", {"value": 200}, 0, 100),
        Invocation("2", "read", {}, 10, 30, result=200),
        Invocation("3", "read", {}, 40, 90, result=0),
    ]
    verdict = check(lost, Register)
    assert verdict.outcome == "illegal"
    assert verdict.culprit is lost[2]
    assert verdict.instead == ("➜ 200",)


def test_the_smallest_prefix_of_h2_ends_with_the_element_that_was_not_first():
    verdict = check(history(HERLIHY_WING_QUEUES["H2"][0]), Queue)
    assert verdict.explain().splitlines() == [
        "no order of the calls explains dequeue() ➜ 'y' of A: the model says 'x' in every order",
        "The shortest part of the history that no order explains, time goes right:",
        "  A  ├┤      enqueue(item='x') ➜ None",
        "  B    ├─┤   enqueue(item='y') ➜ None",
        "  A     ├─┤  dequeue() ➜ 'y'   ✗",
    ]


def test_the_smallest_prefix_of_h4_ends_with_the_second_to_take_the_element():
    verdict = check(history(HERLIHY_WING_QUEUES["H4"][0]), Queue)
    assert (verdict.culprit.client, verdict.instead) == ("C", ("➜ 'x'",))
