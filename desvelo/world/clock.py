"""Virtual time: a whole number of nanoseconds that moves only when the world moves it."""

from __future__ import annotations

EPOCH_NS = 1_735_732_800 * 1_000_000_000
"""Wall clock at the start of every execution: 2025-01-01 12:00:00 UTC."""

LOOK_NS = 1_000
"""How far time moves when the loop looks at it: code takes time, however little.

Without it two timers set one after the other would fall on the same instant, and their order
in the loop's heap, which never happens on a real clock, would not be first come, first served.
"""

MILLISECOND_NS = 1_000_000


class Clock:
    """The time of one world, in nanoseconds since its start.

    >>> clock = Clock()
    >>> clock.advance_to(clock.now_ns + 20 * MILLISECOND_NS)
    >>> round(clock.monotonic(), 3)
    1000.02
    """

    __slots__ = ("now_ns", "wall_offset_ns")

    START_NS = 1_000 * 1_000_000_000
    """`monotonic` begins here: programs may subtract from it without meeting zero."""

    def __init__(self) -> None:
        self.now_ns = self.START_NS
        self.wall_offset_ns = EPOCH_NS - self.START_NS

    def monotonic(self) -> float:
        """Return seconds, as ``time.monotonic`` does."""
        return self.now_ns / 1e9

    def look(self) -> float:
        """Return seconds as the loop sees them; looking takes a moment."""
        self.now_ns += LOOK_NS
        return self.now_ns / 1e9

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970, as ``time.time_ns`` does."""
        return self.now_ns + self.wall_offset_ns

    def advance_to(self, when_ns: int) -> None:
        """Move forward to ``when_ns``; never backwards."""
        self.now_ns = max(self.now_ns, when_ns)
