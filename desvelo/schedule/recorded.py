"""A written-down schedule, played again."""

from __future__ import annotations

from collections.abc import Mapping

from desvelo.schedule.decisions import MAX_HOLD, PREEMPTING


class Recorded:
    """The deviations of a schedule, by name, and 0 for everything else.

    Names survive the removal of other operations, so the same deviations can be tried on a
    smaller program; those that are never met have no effect.

    >>> policy = Recorded({("b", "deliver", 1): 8})
    >>> [policy.decide("deliver", actor, 1000) for actor in "abb"]
    [0, 0, 8]
    """

    def __init__(self, values: Mapping[tuple[str, str, int], int]) -> None:
        self._values = values
        self.preempts = any(kind in PREEMPTING for _, kind, _ in values)
        """Whether it pauses threads in the midst of their lines."""
        self._cancelled = frozenset(actor for actor, kind, _ in values if kind == "cancel")
        self._struck = frozenset(actor for actor, kind, _ in values if kind == "fault")
        self._ordinals: dict[tuple[str, str], int] = {}

    def may_cancel(self, actor: str) -> bool:
        """Tell whether the schedule cancels this operation."""
        return actor in self._cancelled

    def may_fault(self, actor: str) -> bool:
        """Tell whether the schedule lets a fault strike this operation."""
        return actor in self._struck

    def decide(self, kind: str, actor: str, limit: int) -> int:
        """Return the recorded value of this decision, or 0."""
        key = (actor, kind)
        ordinal = self._ordinals.get(key, 0)
        self._ordinals[key] = ordinal + 1
        return min(self._values.get((actor, kind, ordinal), 0), limit - 1, MAX_HOLD)
