"""Faults of the wall clock: it is set forward or back, or summer time begins or ends.

Monotonic time and timers go on as they are, as they do on a real machine.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from desvelo.fault.fault import Fault, Strike

if TYPE_CHECKING:
    from desvelo.world import Operation, World

SECOND_NS = 1_000_000_000
JUMPS = (3_600, 60, 86_400, 1)
"""Seconds by which the wall clock jumps; the first is the simplest."""

_BOTH = tuple(sign * seconds for seconds in JUMPS for sign in (1, -1))
_HALF_A_YEAR = 180
NAMES = frozenset({"STD", "DST"})
"""What a zone of ours calls its times."""


def _jumping(jumps: tuple[int, ...]) -> Strike:
    def strike(world: World, _operation: Operation, variant: int) -> None:
        world.clock.wall_offset_ns += jumps[variant] * SECOND_NS

    return strike


def _told(jumps: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(
        f"the wall clock is set {'forward' if jump > 0 else 'back'} by {abs(jump)} s"
        for jump in jumps
    )


def _changing(kinds: tuple[bool, ...]) -> Strike:
    def strike(world: World, _operation: Operation, variant: int) -> None:
        change_local_time(world, begins=kinds[variant])

    return strike


def change_local_time(world: World, *, begins: bool) -> None:
    """Let summer time begin or end now: the zone of the process is one that changes here.

    What has begun can only end, and the other way round.
    """
    now = world.clock.wall_ns() // SECOND_NS
    local = time.localtime(now)
    if set(time.tzname) <= NAMES and begins == bool(local.tm_isdst):
        return
    before = os.environ.get("TZ")
    world.at_end(lambda: _set_zone(before))
    _set_zone(zone_that_changes(now, local.tm_gmtoff, begins=begins))


def zone_that_changes(now: int, offset: int, *, begins: bool) -> str:
    """Return a zone, as POSIX writes it, in which summer time begins or ends at a moment.

    ``now`` is in seconds since 1970, ``offset`` is the zone's own until then, in seconds.

    >>> zone_that_changes(1735732800, 3600, begins=True)
    'STD-01:00:00DST-02:00:00,J1/13:00:00,J181/13:00:00'
    """
    local = time.gmtime(now + offset)
    leap = local.tm_year % 4 == 0 and (local.tm_year % 100 != 0 or local.tm_year % 400 == 0)
    # The zone's rule counts the days without the 29th of February.
    day = min(local.tm_yday - (1 if leap and local.tm_yday > 59 else 0), 365)
    other = day + _HALF_A_YEAR if day <= 365 - _HALF_A_YEAR else day - _HALF_A_YEAR
    at = f"{local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02}"
    here, there = f"J{day}/{at}", f"J{other}/{at}"
    standard = offset if begins else offset - 3600
    start, end = (here, there) if begins else (there, here)
    return f"STD{_west(standard)}DST{_west(standard + 3600)},{start},{end}"


def _west(offset: int) -> str:
    """Write an offset as POSIX does: counted to the west."""
    sign, seconds = ("-" if offset > 0 else "", abs(offset))
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _set_zone(zone: str | None) -> None:
    if zone is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = zone
    time.tzset()


class ClockJump(Fault):
    """The wall clock is set, forward or back."""

    forward = Fault("clock_jump.forward", _jumping(JUMPS), _told(JUMPS), len(JUMPS))
    """It is set forward, by an hour or less simple amounts."""

    backward = Fault(
        "clock_jump.backward",
        _jumping(tuple(-one for one in JUMPS)),
        _told(tuple(-one for one in JUMPS)),
        len(JUMPS),
    )
    """It is set back."""


class DaylightSaving(Fault):
    """Local time changes by an hour; UTC goes on."""

    begins = Fault(
        "daylight_saving.begins", _changing((True,)), "summer time begins: local time jumps forward"
    )
    """Local time jumps forward by an hour."""

    ends = Fault(
        "daylight_saving.ends", _changing((False,)), "summer time ends: local time jumps back"
    )
    """Local time jumps back by an hour: an hour comes a second time."""


clock_jump = ClockJump("clock_jump", _jumping(_BOTH), _told(_BOTH), len(_BOTH))
"""The wall clock is set, forward by an hour or less simple amounts; or back."""

daylight_saving = DaylightSaving(
    "daylight_saving",
    _changing((True, False)),
    ("summer time begins: local time jumps forward", "summer time ends: local time jumps back"),
    2,
)
"""Summer time begins, or ends."""
