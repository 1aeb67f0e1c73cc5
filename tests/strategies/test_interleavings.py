"""What the strategies for interleavings promise."""

from __future__ import annotations

from hypothesis import given, settings

from desvelo.schedule.policy import make_policy
from strategies import arrivals, minimal, policies, seeds

FEW = settings(max_examples=60, database=None, derandomize=True, deadline=None)


@FEW
@given(policies(), seeds())
def test_every_drawn_policy_exists(name: str, seed: int) -> None:
    assert make_policy(name, seed, 100).decide("arrive", "a", 1000) >= 0


@FEW
@given(arrivals(["a", "b", "c"], most=40))
def test_arrivals_name_every_call_and_stay_within_the_bound(when: dict[str, int]) -> None:
    assert sorted(when) == ["a", "b", "c"]
    assert all(0 <= moment <= 40 for moment in when.values())


def test_a_late_arrival_shrinks_to_the_earliest_that_is_late_enough() -> None:
    late = minimal(arrivals(["a", "b"]), lambda when: when["b"] >= 17)
    assert late == {"a": 0, "b": 17}
