"""The time of the process as code inside the world sees it: the virtual clock's, all of it.

Wall time is replaced inside the C functions by time-machine, so it holds for every reference
to them. The other clocks are replaced by name; `boundary` follows their references.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

import time_machine

from desvelo.world.clock import Clock
from desvelo.world.inside import current

real_perf_counter = time.perf_counter
real_sleep = time.sleep
_real_clock_gettime = time.clock_gettime
_real_clock_gettime_ns = time.clock_gettime_ns


class WorldTraveller(time_machine.Traveller):
    """Wall time inside the world: the virtual clock's; outside it: the real one."""

    def time_ns(self) -> int:
        """Return nanoseconds since 1970, here or out there."""
        world = current()
        if world is None:
            # There only while time-machine is at work.
            return int(importlib.import_module("_time_machine").original_time_ns())
        world.clock.look()
        return world.clock.wall_ns()


def travel() -> time_machine.travel:
    """Put the world's wall time in place; the answer's ``stop`` takes it away."""
    journey = time_machine.travel(0, tick=False)
    journey.start()
    time_machine.traveller_stack[-1] = WorldTraveller(0, None, tick=False)
    return journey


def _seconds(real: Callable[[], float], zero_ns: int = 0) -> Callable[[], float]:
    def clock() -> float:
        world = current()
        return real() if world is None else world.clock.look() - zero_ns / 1e9

    return clock


def _nanoseconds(real: Callable[[], int], zero_ns: int = 0) -> Callable[[], int]:
    def clock() -> int:
        world = current()
        if world is None:
            return real()
        world.clock.look()
        return world.clock.now_ns - zero_ns

    return clock


def _sleep(seconds: float) -> None:
    world = current()
    if world is None:
        real_sleep(seconds)
    elif seconds < 0:
        raise ValueError("sleep length must be non-negative")
    else:
        world.block_for(seconds)


def _clock_gettime(clock: int) -> float:
    world = current()
    if world is None or clock == time.CLOCK_REALTIME:
        return _real_clock_gettime(clock)
    return world.clock.look()


def _clock_gettime_ns(clock: int) -> int:
    world = current()
    if world is None or clock == time.CLOCK_REALTIME:
        return _real_clock_gettime_ns(clock)
    world.clock.look()
    return world.clock.now_ns


def replacements() -> dict[str, Any]:
    """Return what stands in for which function, by dotted name."""
    start = Clock.START_NS
    return {
        "time.monotonic": _seconds(time.monotonic),
        "time.monotonic_ns": _nanoseconds(time.monotonic_ns),
        "time.perf_counter": _seconds(time.perf_counter),
        "time.perf_counter_ns": _nanoseconds(time.perf_counter_ns),
        "time.process_time": _seconds(time.process_time, start),
        "time.process_time_ns": _nanoseconds(time.process_time_ns, start),
        "time.thread_time": _seconds(time.thread_time, start),
        "time.thread_time_ns": _nanoseconds(time.thread_time_ns, start),
        "time.clock_gettime": _clock_gettime,
        "time.clock_gettime_ns": _clock_gettime_ns,
        "time.sleep": _sleep,
    }
