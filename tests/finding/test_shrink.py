"""Shrinking on failures that are functions: which operations and deviations make them."""

from __future__ import annotations

import itertools

import pytest

from desvelo.failure import Failure
from desvelo.finding.shrink import Attempt, Minimum, Shrinker, values_of
from desvelo.schedule.decisions import Deviation, Key, Schedule

KINDS = [("arrive", name) for name in "abcd"] + [("deliver", name) for name in "abcd" * 3]
RACE = Failure("race", AssertionError("broken"), "x.py:1 in check")
OTHER = Failure("error", KeyError("k"), "x.py:2 in other")


def deviation(actor, kind, ordinal, value):
    return Deviation(Key(actor, kind, ordinal), value)


class Target:
    """A program whose failure is a rule over operations and the values of deviations."""

    def __init__(self, rule, polls=20):
        self.rule = rule
        self.polls = polls
        self.runs = 0

    def run(self, operations, schedule):
        self.runs += 1
        met = [d for d in schedule.deviations if d.key.actor in operations]
        values = {(d.key.actor, d.key.kind, d.key.ordinal): d.value for d in met}
        failure = self.rule(operations, values, schedule.seed)
        kinds = [(kind, actor) for kind, actor in KINDS if actor in operations]
        return Attempt(failure, Schedule(met, schedule.seed), kinds, self.polls)

    def shrink(self, deviations, operations=tuple("abcd"), seed=0, **options):
        start = Minimum(operations, Schedule(deviations, seed), RACE)
        assert self.run(operations, start.schedule).failure is not None
        return Shrinker(self.run, start, **options).shrink()


def noise(*besides):
    """Many deviations that do nothing."""
    taken = {(d.key.actor, d.key.kind, d.key.ordinal) for d in besides}
    rows = [
        deviation(actor, kind, ordinal, 40 + ordinal)
        for kind, count in (("arrive", 1), ("deliver", 3))
        for actor, ordinal in itertools.product("abcd", range(count))
        if (actor, kind, ordinal) not in taken
    ]
    return [*rows, *besides]


def test_a_failure_of_the_plain_order_loses_all_deviations():
    best = Target(lambda operations, values, seed: RACE).shrink(noise())
    assert best.operations == ("a",)
    assert best.schedule == Schedule()


def test_operations_that_do_not_matter_are_dropped():
    target = Target(lambda operations, values, seed: RACE if {"a", "c"} <= {*operations} else None)
    assert target.shrink(noise()).operations == ("a", "c")


def test_operations_are_not_dropped_when_the_rest_is_not_sound():
    target = Target(lambda operations, values, seed: RACE)
    best = target.shrink(noise(), sound=lambda operations: len(operations) >= 3)
    assert len(best.operations) == 3


def test_soundness_is_asked_once_for_each_set_of_operations():
    asked = []
    target = Target(lambda operations, values, seed: RACE if len(operations) > 2 else None)
    target.shrink(noise(), sound=lambda operations: asked.append(operations) or True)
    assert len(asked) == len(set(asked))


def test_a_single_deviation_gets_its_mildest_value():
    def rule(operations, values, seed):
        return RACE if 28 <= values.get(("b", "deliver", 1), 0) <= 90 else None

    best = Target(rule).shrink(noise(deviation("b", "deliver", 1, 77)))
    assert best.schedule.deviations == (deviation("b", "deliver", 1, 28),)


def test_a_window_of_one_poll_is_kept():
    def rule(operations, values, seed):
        return RACE if values.get(("a", "arrive", 0), 0) // 4 == 13 else None

    best = Target(rule).shrink(noise(deviation("a", "arrive", 0, 54)))
    assert best.schedule.deviations == (deviation("a", "arrive", 0, 52),)


def test_another_decision_is_taken_when_it_is_milder():
    def rule(operations, values, seed):
        late, early = values.get(("a", "arrive", 0), 0), values.get(("b", "arrive", 0), 0)
        return RACE if late >= 60 or early >= 8 else None

    best = Target(rule).shrink(
        [deviation("a", "arrive", 0, 72)], sound=lambda operations: len(operations) == 4
    )
    assert best.schedule.deviations == (deviation("b", "arrive", 0, 8),)


def test_three_deviations_become_one_when_one_is_enough():
    def rule(operations, values, seed):
        three = all(values.get((name, "deliver", 0), 0) >= 4 for name in "abc")
        return RACE if three or values.get(("d", "arrive", 0), 0) >= 16 else None

    best = Target(rule).shrink(
        [deviation(name, "deliver", 0, 20) for name in "abc"],
        sound=lambda operations: len(operations) == 4,
    )
    assert best.schedule.deviations == (deviation("d", "arrive", 0, 16),)


def test_two_deviations_that_are_both_needed_stay_two():
    def rule(operations, values, seed):
        one, two = values.get(("a", "arrive", 0), 0), values.get(("b", "arrive", 0), 0)
        return RACE if 12 <= one <= 20 and 24 <= two <= 32 else None

    needed = (deviation("a", "arrive", 0, 18), deviation("b", "arrive", 0, 31))
    best = Target(rule).shrink(noise(*needed))
    assert best.schedule.deviations == (
        deviation("a", "arrive", 0, 12),
        deviation("b", "arrive", 0, 24),
    )


def test_fewer_operations_count_more_than_fewer_deviations():
    def rule(operations, values, seed):
        if "c" in operations and values.get(("c", "arrive", 0), 0) >= 4:
            return RACE
        both = all(values.get((name, "arrive", 0), 0) >= 4 for name in "ab")
        return RACE if both and "d" not in operations else None

    sound = {tuple("abcd"), tuple("abc"), tuple("ab"), tuple("abd")}
    best = Target(rule).shrink(
        noise(deviation("c", "arrive", 0, 8)), sound=lambda operations: operations in sound
    )
    assert best.operations == ("a", "b")
    assert len(best.schedule) == 2


def test_another_failure_is_not_taken_for_this_one():
    def rule(operations, values, seed):
        return RACE if values.get(("a", "arrive", 0), 0) >= 40 else OTHER

    best = Target(rule).shrink([deviation("a", "arrive", 0, 40)])
    assert best.failure is RACE
    assert len(best.schedule) == 1


def test_the_worlds_seed_goes_back_to_0_when_it_may():
    target = Target(lambda operations, values, seed: RACE if "a" in operations else None)
    assert target.shrink(noise(), seed=99).schedule.seed == 0


def test_the_worlds_seed_stays_when_the_failure_needs_it():
    target = Target(lambda operations, values, seed: RACE if seed == 99 else None)
    best = target.shrink(noise(), seed=99)
    assert best.schedule == Schedule((), 99)


@pytest.mark.parametrize("bound", [1, 2, 5, 20])
def test_a_bound_on_runs_is_kept_and_the_best_is_still_a_failure(bound):
    def rule(operations, values, seed):
        return RACE if values.get(("a", "arrive", 0), 0) >= 40 else None

    target = Target(rule)
    best = target.shrink(noise(deviation("a", "arrive", 0, 900)), max_runs=bound)
    assert target.runs <= bound + 1  # and the one of this test
    assert target.run(best.operations, best.schedule).failure is RACE


def test_no_time_means_no_shrinking():
    target = Target(lambda operations, values, seed: RACE)
    assert len(target.shrink(noise(), max_seconds=0.0).schedule) == len(noise())


def test_an_interrupt_keeps_what_was_reached():
    count = itertools.count()

    def rule(operations, values, seed):
        if next(count) == 3:
            raise KeyboardInterrupt
        return RACE if "a" in operations and values else None

    target = Target(rule)
    shrinker = Shrinker(target.run, Minimum(tuple("abcd"), Schedule(noise()), RACE))
    best = shrinker.shrink()
    assert shrinker.interrupted
    assert best.failure is RACE
    assert len(best.operations) < 4


def test_each_improvement_is_told():
    told = []
    Target(lambda operations, values, seed: RACE if "a" in operations else None).shrink(
        noise(), on_better=lambda best: told.append((len(best.operations), len(best.schedule)))
    )
    assert told[-1] == (1, 0)
    assert told == sorted(told, reverse=True)


def test_values_go_up_and_end_with_the_longest_hold():
    for kind, polls in itertools.product(("arrive", "split", "timer"), (1, 5, 119, 121, 5000)):
        values = list(values_of(kind, polls))
        assert values == sorted(set(values))
        assert values[0] == 1
