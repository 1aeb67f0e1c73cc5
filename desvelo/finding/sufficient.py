"""Which operations may be left out of a failure: when what is left can fail for the same reason.

An operation that another one rightly counts on must stay. Without the producer a consumer waits
for ever, and that is no fault of his: such a finding would outlive the mending of the bug.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from desvelo.schedule.policy import Fifo, Scale, Sequential, make_policy

if TYPE_CHECKING:
    from desvelo.failure import Failure
    from desvelo.schedule.decisions import Decider

Names = tuple[str, ...]

Plainly = Callable[[Names, "Decider"], "Failure | None"]
"""Runs some operations under a policy and says how they fail."""

ENDLESS = ("deadlock", "hang")

MOST_ORDERS = 6
"""Orders, one operation after the other, in which a deadlock is tried; of a hang, each run of
which is long, there are two."""

DRAWN = 24
"""Drawn schedules for those that are stuck in each such order: some need to take turns."""

_SCALE = Scale(decisions=60, polls=30, arrivals=3, threads=True)


class Sufficient:
    """Tells of some operations whether a failure of theirs can be the one that was found.

    For a deadlock or a hang they must be able to end well, in plain order or some other, or else
    be stuck in each because they wait for each other: a circle of locks needs nobody else. For
    everything else they must end well one after the other, if all operations do.
    """

    def __init__(self, run: Plainly, everything: Names, failure: Failure) -> None:
        self._run = run
        self._everything = everything
        self._kind = failure.kind
        self._sound: bool | None = None
        self._never_sound: bool | None = None

    def __call__(self, operations: Names) -> bool:
        """Judge some operations."""
        if self._kind in ENDLESS:
            return self._can_end(operations)
        return not self.sequential_is_sound() or self._ends_well(operations)

    def sequential_is_sound(self) -> bool:
        """Tell whether all operations together end well one after the other."""
        if self._sound is None:
            self._sound = self._ends_well(self._everything)
        return self._sound

    def _ends_well(self, operations: Names) -> bool:
        return self._run(operations, Sequential()) is None

    def _can_end(self, operations: Names) -> bool:
        circular = True
        for policy in self._plain_orders(operations):
            failure = self._run(operations, policy)
            if failure is None:
                return True
            if failure.kind not in ENDLESS and self._all_fail_otherwise():
                return True
            circular = circular and failure.circular
        return circular or (self._kind == "deadlock" and self._ends_by_luck(operations))

    def _ends_by_luck(self, operations: Names) -> bool:
        return any(
            self._run(operations, make_policy("mix", seed, _SCALE)) is None for seed in range(DRAWN)
        )

    def _all_fail_otherwise(self) -> bool:
        """Tell whether all together end badly too, in plain order, but do end."""
        if self._never_sound is None:
            failures = [
                self._run(self._everything, policy)
                for policy in self._plain_orders(self._everything)
            ]
            self._never_sound = None not in failures and any(
                failure is not None and failure.kind not in ENDLESS for failure in failures
            )
        return self._never_sound

    def _plain_orders(self, operations: Names) -> Iterator[Decider]:
        yield Fifo()
        most = 2 if self._kind == "hang" else MOST_ORDERS
        for order in itertools.islice(orders(operations), most):
            yield Sequential(order)


def orders(operations: Names) -> Iterator[Names]:
    """Return orders of some operations, those first that differ most.

    >>> ["".join(order) for order in orders(("a", "b", "c"))]
    ['abc', 'cba', 'bca', 'acb', 'cab', 'bac']
    """
    seen = set()
    for shift in range(len(operations)):
        turned = operations[shift:] + operations[:shift]
        for order in (turned, turned[::-1]):
            if order not in seen:
                seen.add(order)
                yield order
