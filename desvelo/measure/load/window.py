"""The time for which load was on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """From a moment of `time.perf_counter`, for so many seconds."""

    begin: float
    seconds: float
    late: float = 0.0
    """By how much a request was sent after its moment at most, through no fault of the server."""
