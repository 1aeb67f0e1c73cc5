"""Samples of what the target's own processes use, taken beside them while they work."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import clock_gettime, perf_counter, thread_time
from types import TracebackType
from typing import Any, Self

from desvelo.errors import UsageError
from desvelo.measure.result import Sample

EVERY = 0.5
"""Seconds between two samples."""


class Sampling:
    """Samples a process and all that it has started, for as long as the block lasts.

    ``samples`` grows while it runs; ``cost`` is the CPU time of this thread in seconds.

    >>> import os
    >>> with Sampling(os.getpid(), every=0.01) as sampling:
    ...     pass
    >>> sampling.samples[0].processes >= 1, sampling.samples[0].rss > 2**20
    (True, True)
    """

    def __init__(
        self, pid: int, every: float = EVERY, seen: Callable[[Sample], object] = id
    ) -> None:
        self.samples: list[Sample] = []
        self.cost = 0.0
        self._every = every
        self._seen = seen
        self._pid = pid
        self._processes = _Processes(pid)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampling", daemon=True)
        self._begin = self._used_before = 0.0

    def __enter__(self) -> Self:
        self._begin = perf_counter()
        self._used_before = cpu_seconds(self._pid)
        self._thread.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()

    @property
    def peak_rss(self) -> int:
        """The most memory that the processes had at once, in bytes; 0 without a sample."""
        return max((sample.rss for sample in self.samples), default=0)

    def cpu_seconds(self) -> float:
        """Return the processor time that the processes have used since the block began."""
        return max(cpu_seconds(self._pid) - self._used_before, 0.0)

    def now(self) -> Sample | None:
        """Return a sample of this moment, taken by the caller; None when there is no process."""
        return _Processes(self._pid).sample(perf_counter() - self._begin)

    def _run(self) -> None:
        due = self._begin
        while True:
            sample = self._processes.sample(perf_counter() - self._begin)
            if sample is not None:
                self.samples.append(sample)
                self._seen(sample)
            self.cost = thread_time()
            # After a pause, such as that of a machine that slept, missed samples are not made up.
            due = max(due + self._every, perf_counter())
            # The last one is taken at the end, so that even a short block has two.
            if self._end.is_set():
                return
            self._end.wait(due - perf_counter())


class _Processes:
    """A process and its descendants, and how much CPU each had used when it was last seen."""

    def __init__(self, pid: int) -> None:
        self._psutil = _psutil()
        self._pid = pid
        self._known: dict[int, Any] = {}
        self._cpu: dict[int, float] = {}
        self._looked_at = 0.0

    def sample(self, at: float) -> Sample | None:
        """Return all of them together, or None when there is none any more."""
        rss = uss = fds = threads = read = written = count = 0
        used = 0.0
        for pid in _family(self._pid, self._psutil):
            # A process may end, or become somebody else's, between two lines.
            with contextlib.suppress(self._psutil.Error, OSError):
                process = self._known.setdefault(pid, self._psutil.Process(pid))
                memory, io = process.memory_full_info(), process.io_counters()
                with process.oneshot():
                    cpu = sum(process.cpu_times()[:2])
                    threads += process.num_threads()
                fds += process.num_fds()
                rss, uss = rss + memory.rss, uss + memory.uss
                read, written = read + io.read_bytes, written + io.write_bytes
                # What a process had used before the first sample is not this phase's.
                used += cpu - self._cpu.get(pid, 0.0 if self._looked_at else cpu)
                self._cpu[pid] = cpu
                count += 1
        passed, self._looked_at = at - self._looked_at, at
        cores = used / passed if passed > 0 else 0.0
        if not count:
            return None
        return Sample(at, rss, uss, max(cores, 0.0), fds, threads, read, written, count)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its descendants have used up to now."""
    psutil, used = _psutil(), 0.0
    for one in _family(pid, psutil):
        with contextlib.suppress(psutil.Error, OSError):
            if sys.platform == "linux":
                # Its clock, exact to the nanosecond, where /proc counts hundredths of a second; the
                # number is made as clock_getcpuclockid(3) does (CPUCLOCK_SCHED is 2).
                used += clock_gettime((~one << 3) | 2)
            else:
                used += sum(psutil.Process(one).cpu_times()[:2])
    return used


def _psutil() -> Any:
    try:
        return importlib.import_module("psutil")
    except ImportError as missing:
        raise UsageError(
            "processes are watched with psutil: pip install 'desvelo[measure]'"
        ) from missing


def _family(pid: int, psutil: Any) -> list[int]:
    """Return a process and its descendants.

    Linux lists the children of each thread; elsewhere every process has to be looked at.
    """
    found, new = [], [pid]
    while new:
        found += new
        try:
            new = [child for one in new for child in _children(one)]
        except FileNotFoundError:
            with contextlib.suppress(psutil.Error):
                return [pid, *(one.pid for one in psutil.Process(pid).children(recursive=True))]
            return found
    return found


def _children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task")
    return [
        int(child)
        for thread in threads.iterdir()
        for child in (thread / "children").read_text().split()
    ]
