"""Faults that a machine or a scenario may allow: what a network, a clock and a disk do.

A machine lists those it allows in its class attribute ``faults``; each is then a step that
Hypothesis draws and shrinks like any other. A scenario does so too, and there they are decisions
of the schedule.
"""

from __future__ import annotations

from desvelo.fault.clocks import clock_jump, daylight_saving
from desvelo.fault.connections import (
    crash_server,
    drip,
    duplicate,
    half_close,
    lose_ack,
    partial,
    refuse,
    reorder,
    reset,
    restart_server,
    stall,
)
from desvelo.fault.fault import Fault
from desvelo.fault.surroundings import disconnect, disk_full, lookup_fails, sync_fails

RESETS = (
    reset,
    reset.before_request,
    reset.in_request,
    reset.after_request,
    reset.before_response,
    reset.in_response,
    reset.after_response,
)
"""A reset, now and at each of its places."""

NETWORK = (
    *RESETS,
    stall,
    refuse,
    partial,
    drip,
    half_close,
    half_close.by_client,
    lose_ack,
    duplicate,
    reorder,
    crash_server,
    lookup_fails,
)
"""What a network does."""

CLOCK = (clock_jump, daylight_saving)
"""What the wall clock does."""

STORE = (disconnect, disk_full, sync_fails)
"""What a database's disk and connections do."""

ALL = (*NETWORK, *CLOCK, *STORE)
"""All that need nothing of the machine: `restart_server` needs its ``restart()``."""

__all__ = [
    "ALL",
    "CLOCK",
    "NETWORK",
    "RESETS",
    "STORE",
    "Fault",
    "clock_jump",
    "crash_server",
    "daylight_saving",
    "disconnect",
    "disk_full",
    "drip",
    "duplicate",
    "half_close",
    "lookup_fails",
    "lose_ack",
    "partial",
    "refuse",
    "reorder",
    "reset",
    "restart_server",
    "stall",
    "sync_fails",
]
