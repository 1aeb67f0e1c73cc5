"""The search agrees with trying every order of every subset of the calls, on small histories.

``DESVELO_HISTORIES=10000 pytest tests/oracle/test_brute_force.py`` tries that many.
"""

import copy
import os
from itertools import chain, combinations, permutations
from random import Random

import pytest

from desvelo.oracle.invocation import Invocation
from desvelo.oracle.linearizability import check
from tests.oracle.sequential_models import PartitionedStore, Queue, Register, Store

HISTORIES = int(os.environ.get("DESVELO_HISTORIES", "400"))


def every_order(history, model):
    """Try everything: whether any order, of any subset of the uncertain calls, is allowed."""
    sure = [call for call in history if call.returned]
    unsure = [call for call in history if not call.returned]
    chosen = chain.from_iterable(combinations(unsure, size) for size in range(len(unsure) + 1))
    return any(
        fits(order, model)
        for subset in chosen
        for order in permutations([*sure, *subset])
        if true_to_time(order)
    )


def true_to_time(order):
    return not any(
        later.returned and later.end < earlier.begin
        for index, earlier in enumerate(order)
        for later in order[index + 1 :]
    )


def fits(order, model):
    state = model()
    for call in order:
        try:
            result = getattr(state, call.name)(**copy.deepcopy(call.arguments))
        except Exception:
            return False
        if call.returned and result != call.result:
            return False
    return True


def drawn_history(random, model):
    """Run a few overlapping calls in some order, and then perhaps change a result."""
    count, state = random.randint(1, 6), model()
    calls = []
    for number in range(count):
        begin = random.randint(0, 12)
        calls.append([number, begin, begin + random.randint(0, 7), *drawn_call(random, model)])
    moments = {call[0]: random.uniform(call[1], call[2]) for call in calls}
    history = []
    for number, begin, ended, name, arguments in sorted(calls, key=lambda call: moments[call[0]]):
        end = ended
        before = copy.deepcopy(state)
        try:
            result, error = getattr(state, name)(**arguments), None
        except IndexError as raised:
            result, error, state = None, raised, before
        fate = random.random()
        if fate < 0.1:
            error, result = TimeoutError("no answer"), None
            state = random.choice((before, state))
        elif fate < 0.2:
            end, result = None, None
        elif fate < 0.35:
            result = random.choice((None, 0, 1, 2, 3))
        history.append(Invocation(f"c{number}", name, arguments, begin, end, result, error))
    random.shuffle(history)
    return history


def drawn_call(random, model):
    value = random.randint(1, 3)
    if model is Queue:
        return random.choice((("enqueue", {"item": value}), ("dequeue", {})))
    if model is Register:
        return random.choice((("write", {"value": value}), ("read", {})))
    key = random.choice("xy")
    name = random.choice(("write", "read", "swap"))
    return name, {"key": key} if name == "read" else {"key": key, "value": value}


@pytest.mark.parametrize("model", [Register, Queue, Store, PartitionedStore])
def test_no_disagreement_with_trying_every_order(model):
    random = Random(f"histories of {model.__name__}")
    outcomes = []
    for _ in range(HISTORIES // 4):
        history = drawn_history(random, model)
        verdict = check(history, model)
        expected = "ok" if every_order(history, model) else "illegal"
        assert verdict.outcome == expected, "\n".join(call.describe() for call in history)
        outcomes.append(verdict.outcome)
        if verdict.outcome == "illegal":
            the_prefix_is_the_smallest(verdict, model)
        else:
            the_order_is_one(verdict, history, model)
    assert 0.1 < outcomes.count("illegal") / len(outcomes) < 0.9


def the_prefix_is_the_smallest(verdict, model):
    """No order explains the prefix; without its last result, one does, and none of its answers."""
    assert not every_order(verdict.prefix, model)
    open_ = [
        Invocation(call.client, call.name, call.arguments, call.begin)
        if call is verdict.culprit
        else call
        for call in verdict.prefix
    ]
    assert every_order(open_, model)
    assert f"➜ {verdict.culprit.result!r}" not in verdict.instead


def the_order_is_one(verdict, history, model):
    """Each key's calls stand in an order that is true to time and that the model allows."""
    assert {id(call) for call in history if call.returned} <= {id(call) for call in verdict.order}
    for key in ("x", "y", None):
        part = [call for call in verdict.order if call.arguments.get("key") == key]
        assert true_to_time(part)
        assert fits(part, model)
