"""How late the world may be: a bound on the time that passes while something is under way."""

from __future__ import annotations

ALLOWANCE = 3
"""Deliveries that may be fully late one after the other."""

RECOVERY = 5
"""Of so much virtual time, one part is earned back for being late again."""


class Lateness:
    """Virtual time that may still pass although work or bytes are under way.

    One delivery is late by no more than the latency. Without a bound on their sum a chain of
    a dozen late deliveries would make a time-out of a second fire, which no scheduler on an
    idle machine does. So in any second no more than about half of one is spent on being late.

    >>> lateness = Lateness(bound_ns=100)
    >>> lateness.left(0)
    300
    >>> lateness.spend(250)
    >>> lateness.left(250)
    100
    """

    __slots__ = ("_limit", "_seen_ns", "_spent_ns")

    def __init__(self, bound_ns: int) -> None:
        self._limit = bound_ns * ALLOWANCE
        self._spent_ns = 0
        self._seen_ns = 0

    def left(self, now_ns: int) -> int:
        """Return how many nanoseconds may pass now."""
        earned = (now_ns - self._seen_ns) // RECOVERY
        self._seen_ns = now_ns
        self._spent_ns = max(self._spent_ns - earned, 0)
        return self._limit - self._spent_ns

    def spend(self, passed_ns: int) -> None:
        """Note that time has passed while something was under way."""
        self._spent_ns += passed_ns
