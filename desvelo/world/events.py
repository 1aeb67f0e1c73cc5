"""What may happen next: one object for each thing that is possible and not yet seen."""

from __future__ import annotations

from collections.abc import Callable

NEVER_NS = 1 << 62


class PendingEvent:
    """Something that became possible at one poll and will be seen at this or a later one.

    ``due`` is the number of the poll from which it may be seen, ``place`` its rank within
    that poll, ``deadline_ns`` the virtual time that may not pass before it is seen. ``fire``
    makes it happen.
    """

    __slots__ = (
        "actor",
        "deadline_ns",
        "due",
        "fire",
        "held",
        "kind",
        "not_before_ns",
        "place",
        "sequence",
        "yields_to_sleep",
    )

    def __init__(
        self,
        sequence: int,
        kind: str,
        actor: str,
        due: int,
        place: int,
        deadline_ns: int,
        fire: Callable[[], None],
        *,
        yields_to_sleep: bool = False,
    ) -> None:
        self.sequence = sequence
        self.kind = kind
        self.actor = actor
        self.due = due
        self.place = place
        self.deadline_ns = deadline_ns
        self.fire = fire
        self.yields_to_sleep = yields_to_sleep
        self.not_before_ns = 0
        """The virtual time before which a fault does not let it be seen."""
        self.held = ""
        """The deviation that holds it, by name, while a trace is kept."""

    def order(self) -> tuple[int, int]:
        """Return the sort key among the events of one poll."""
        return (self.place, self.sequence)
