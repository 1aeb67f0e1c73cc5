"""Sizes by allocation site and of the process, taken while a call is repeated."""

from __future__ import annotations

import gc
import importlib
import os
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Place = tuple[str, int]
"""File and line."""

_OURS = (str(Path(__file__).parent) + os.sep, tracemalloc.__file__)
_PER_BLOCK = 400
"""Bytes by which the process grows for each traced block: the table of tracemalloc, its copy and
the tuples of a snapshot, whose memory the system does not get back; 250 to 340 were measured."""
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Samples:
    """The sizes at a number of moments; a site that is not there at a moment has size 0."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.sites: dict[Place, dict[int, int]] = {}
        """For each site its size by the index of the sample."""
        self.process: list[int] = []
        """Bytes that belong to this process alone; of all its memory where that is not known."""
        self.tracing: list[int] = []
        """Bytes that the tracing itself takes, about."""
        self._own_memory = _process_memory()

    def take(self, time: int) -> None:
        """Look now, after ``time`` repetitions."""
        # What only waits for the collector is no growth.
        gc.collect()
        index = len(self.times)
        self.times.append(time)
        self.process.append(self._own_memory())
        sizes, blocks = _sizes()
        self.tracing.append(blocks * _PER_BLOCK)
        for place, size in sizes.items():
            self.sites.setdefault(place, {})[index] = size

    def series(self, place: Place) -> list[int]:
        """Return the sizes of a site, one for each moment."""
        sizes = self.sites[place]
        return [sizes.get(index, 0) for index in range(len(self.times))]


@contextmanager
def tracing(frames: int) -> Iterator[None]:
    """Trace allocations, from now on and only while it is entered unless somebody did before.

    What is there already is frozen, so that a collection looks at what came since.
    """
    before = tracemalloc.is_tracing()
    frozen = gc.get_freeze_count() == 0
    if not before:
        tracemalloc.start(frames)
    gc.collect()
    if frozen:
        gc.freeze()
    try:
        yield
    finally:
        if frozen:
            gc.unfreeze()
        if not before:
            tracemalloc.stop()


def callers(place: Place) -> list[Place]:
    """Return the way to the allocations of a site that are alive, innermost first."""
    longest: list[Place] = []
    for trace in tracemalloc.take_snapshot().traces:
        way: list[Place] = []
        for frame in reversed(list(trace.traceback)):
            if frame.filename.startswith(_OURS):
                break  # we called it
            way.append((frame.filename, frame.lineno))
        if way[:1] == [place] and len(way) > len(longest):
            longest = way
    return longest


def _sizes() -> tuple[dict[Place, int], int]:
    """Return the bytes of each site, and the number of all blocks."""
    found: dict[Place, int] = {}
    traces = tracemalloc.take_snapshot().traces
    # Statistics by line would build an object for each line and sort them: this is enough.
    for trace in traces:
        frame = trace.traceback[-1]
        if not frame.filename.startswith(_OURS):
            place = (frame.filename, frame.lineno)
            found[place] = found.get(place, 0) + trace.size
    return found, len(traces)


def _process_memory() -> Any:
    try:
        process = importlib.import_module("psutil").Process()
        process.memory_full_info()
    except Exception:
        return _resident
    return lambda: int(process.memory_full_info().uss)


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except OSError:
        return 0
