"""Slopes and change points, on series whose answer is known."""

import random

import pytest

from desvelo.oracle.memory.trend import change_point, theil_sen, trend

TIMES = list(range(0, 200, 4))


def test_the_slope_is_that_of_a_line_though_a_fifth_of_the_points_are_wild():
    chance = random.Random(1)
    sizes = [100 * time if chance.random() > 0.2 else chance.randrange(100_000) for time in TIMES]
    slope, low, high = theil_sen(TIMES, sizes)
    assert low <= 100 <= high
    assert slope == pytest.approx(100, rel=0.2)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    chance = random.Random(2)
    covered = 0
    for _ in range(300):
        sizes = [50 * time + chance.gauss(0, 500) for time in TIMES[:25]]
        _, low, high = theil_sen(TIMES[:25], sizes, confidence=0.9)
        covered += low <= 50 <= high
    # 270 are expected; the chance of fewer than 245 or more than 292 is below one in ten thousand.
    assert 245 <= covered <= 292


@pytest.mark.parametrize("knee", [5, 15, 30])
def test_the_warm_up_ends_where_the_line_bends(knee):
    sizes = [1000 * min(n, knee) for n in range(50)]
    assert change_point(range(50), sizes) in {knee, knee + 1}


def test_a_straight_line_has_no_warm_up():
    assert change_point(TIMES, [3 * time for time in TIMES]) == 0


@pytest.mark.parametrize("period", [8, 20, 30, 45])
def test_what_is_given_back_again_and_again_does_not_grow(period):
    assert not trend(TIMES, [1000 * (n % period) for n in range(50)]).grows(1)


def test_what_comes_to_rest_late_does_not_grow():
    for knee in range(2, 34):
        assert not trend(TIMES, [1000 * min(n, knee) for n in range(50)]).grows(1), knee


def test_steps_of_a_container_that_grows_are_growth():
    sizes, room = [], 8
    for time in TIMES:
        while room < time:
            room += room // 8 + 6
        sizes.append(room * 8)
    assert trend(TIMES, sizes).grows(1)


def test_too_few_points_have_no_trend():
    assert trend(range(11), range(11)) is None


def test_one_jump_at_the_end_is_no_growth():
    sizes = [220 * min(n, 32) + (4600 if n > 41 else 0) for n in range(50)]
    assert not trend(TIMES, sizes).grows(1)


def test_a_full_ring_of_values_of_different_sizes_does_not_grow():
    for seed in range(100):
        chance = random.Random(seed)
        ring, sizes = [], []
        for number in range(200):
            ring = [*ring[-128:], chance.randrange(500, 3000)]
            if number % 4 == 3:
                sizes.append(sum(ring))
        assert not trend(TIMES, sizes).grows(40), seed
