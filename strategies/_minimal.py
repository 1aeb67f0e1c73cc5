"""The simplest value of a strategy, the same on every run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import Phase, find, settings
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")

# No database and no fresh seed: an example in a docstring must read the same tomorrow.
# The profile that happens to be loaded (Hypothesis picks `ci` by itself) must not matter either.
_SAME_EVERY_TIME = settings(
    database=None,
    derandomize=True,
    deadline=None,
    max_examples=2_000,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=(),
)


def _anything(_value: Any) -> bool:
    return True


def minimal(strategy: SearchStrategy[T], condition: Callable[[T], bool] = _anything) -> T:
    """The simplest value that ``strategy`` can draw and that ``condition`` accepts.

    It is what a failing test would be shrunk to, so it is the quickest way to see what a
    finding that depends on ``condition`` is going to look like.

    >>> from strategies import minimal, patient_codes
    >>> minimal(patient_codes())
    'TEST-001'
    >>> minimal(patient_codes(), lambda code: code.startswith("CD-"))
    'CD-2025-001'

    Raises `hypothesis.errors.NoSuchExample` when nothing drawn was accepted.
    """
    return find(strategy, condition, settings=_SAME_EVERY_TIME)
