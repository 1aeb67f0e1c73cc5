"""Drawing a number of values by a seed, outside of any test."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")


def drawn(strategy: SearchStrategy[T], seed: int, count: int) -> list[T]:
    """Return at most so many values of a strategy; the same seed draws the same.

    >>> from hypothesis import strategies as st
    >>> drawn(st.integers(), 1, 5) == drawn(st.integers(), 1, 5)
    True
    """
    values: list[T] = []

    @seeded(seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(value: T) -> None:
        values.append(value)

    draw()
    return values
