"""Faults as decisions: whether one strikes an operation, which one, and when.

The first decision (``fault``) is asked when an operation begins; 0 means none. Otherwise the
value names a fault and its variant, see `value_of`. The second one (``strike``) is asked then, and
holds the fault back like anything else that is to happen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from desvelo.schedule.decisions import ORDERS, Decider
from desvelo.schedule.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

MAY_FAULT = "may_fault"
"""What a decider has that lets faults come: a function of the operation's name."""


def value_of(number: int, variant: int, faults: int) -> int:
    """Return the value of a decision: the simplest variant of every fault comes first.

    >>> value_of(1, 0, faults=3), value_of(0, 1, faults=3)
    (2, 4)
    """
    return 1 + variant * faults + number


def fault_of(value: int, faults: int) -> tuple[int, int]:
    """Return the number of the fault and of its variant.

    >>> fault_of(4, faults=3)
    (0, 1)
    """
    variant, number = divmod(value - 1, faults)
    return number, variant


class Faulting:
    """Another policy, with at most ``most`` faults at drawn moments of an execution.

    ``polls`` is how long the plain run takes, and ``calls`` how many operations it has.
    """

    def __init__(self, policy: Decider, seed: int, *, most: int, polls: int, calls: int) -> None:
        self._policy = policy
        self._source = Source(seed ^ 0x0FA11ED)
        self._left = most
        self._polls = max(polls, 2)
        self._calls = max(calls, 1)
        self.preempts = bool(getattr(policy, "preempts", False))

    def may_fault(self, actor: str) -> bool:
        """Tell whether a fault may still strike."""
        return self._left > 0

    def may_cancel(self, actor: str) -> bool:
        """Tell whether the other policy may cancel an operation."""
        may: Callable[[str], bool] | None = getattr(self._policy, "may_cancel", None)
        return may is not None and may(actor)

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Decide on faults, and leave the rest to the other policy."""
        source = self._source
        if kind == "fault":
            # The first to begin must not always be the one.
            if source.random() >= max(1 / self._calls, 0.3):
                return 0
            self._left -= 1
            return 1 + source.randrange(limit - 1)
        if kind == "strike":
            # Most wait for their place by themselves.
            late = source.randrange(self._polls) if source.random() < 0.5 else 0
            return min(late * ORDERS, limit - 1)
        return self._policy.decide(kind, actor, limit)
