"""What drifts while tests are repeated: their time, and what their process holds."""

from __future__ import annotations

from collections.abc import Sequence

from desvelo.measure.result import with_unit
from desvelo.measure.suite.running import SuiteRun
from desvelo.oracle.memory.trend import LEAST_POINTS, trend

LEAST_GROWTH = {"memory": (16_384.0, "B"), "file descriptors": (0.0, ""), "threads": (0.0, "")}
"""For each test of a round, what is not worth a word, and the unit: libraries keep a few kB of each
new address in caches that take long to fill."""
LEAST_SLOWING = 0.002
"""Share of its own time by which a test has to become slower in each round."""


def drifts(run: SuiteRun) -> list[str]:
    """Return a sentence for each thing that surely grows from round to round, to the end.

    Needs twelve rounds at least; fewer say nothing.
    """
    rounds = run.rounds
    numbers = [float(one.number) for one in rounds]
    held = {
        "memory": [float(one.rss) for one in rounds],
        "file descriptors": [float(one.fds) for one in rounds],
        "threads": [float(one.threads) for one in rounds],
    }
    tests = max(len({one.test for one in run.ran}), 1)
    found = []
    for what, sizes in held.items():
        least, unit = LEAST_GROWTH[what]
        growth = _growth(numbers, sizes, least * tests)
        if growth:
            found.append(
                f"{what} grow by {with_unit(growth, unit)} with each round".replace(
                    "memory grow ", "memory grows "
                )
            )
    return found + _slower_tests(run)


def _slower_tests(run: SuiteRun) -> list[str]:
    times: dict[str, list[tuple[float, float]]] = {}
    for one in run.ran:
        times.setdefault(one.test, []).append((float(one.round), one.seconds))
    found = []
    for test, points in times.items():
        seconds = [each for _, each in points]
        usual = sorted(seconds)[len(seconds) // 2]
        growth = _growth([number for number, _ in points], seconds, usual * LEAST_SLOWING)
        if growth:
            found.append(
                f"{test} becomes slower by {with_unit(growth, 's')} with each round "
                f"(from {with_unit(seconds[0], 's')} to {with_unit(seconds[-1], 's')})"
            )
    return found


def _growth(numbers: Sequence[float], sizes: Sequence[float], least: float) -> float:
    if len(sizes) < LEAST_POINTS:
        return 0.0
    found = trend(numbers, sizes)
    return found.slope if found is not None and found.grows(least) else 0.0
