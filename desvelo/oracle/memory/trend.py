"""Does a series of sizes grow, and how fast? Robust against steps, spikes and a warm-up.

The slope is the median of the slopes between all pairs of points (Theil 1950, Sen 1968), with
Sen's distribution-free confidence interval, which counts concordant pairs as Kendall's tau does.
The warm-up ends at a change point: where two straight lines fit best, by least squares. The
interval assumes independent errors, which sizes of memory do not have, so it is not enough for a
verdict: growth must also go on to the end, and must not have been given back on the way.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, median

LEAST_POINTS = 12
"""Samples below which nothing is said."""
_LEAST_TAIL = 3
"""What is left after the warm-up is at least one in so many samples."""
_BETTER = 0.25
"""Two lines have to leave this share of one line's squared error, or less, to be believed."""
_GIVEN_BACK = 0.4
"""Share of the growth which, when it was once given back, speaks for a buffer that wraps."""
_STEADY = 0.4
"""The last third grows at least with this share of the slope, or it is coming to rest."""
_WITHOUT_ITS_JUMP = 0.15
"""The same without the largest jump in it, which may be a table that was made larger once."""
_AFTER_FILLING = 0.15
"""Growth after the warm-up has to be this share of that within it: what is replaced by values of
other sizes goes up and down by itself."""


@dataclass(frozen=True)
class Trend:
    """The growth of one series after its warm-up, per repetition."""

    slope: float
    low: float
    """Lower end of the confidence interval."""
    high: float
    warm_up: float
    """The repetition at which the warm-up was over."""
    lasts: bool
    """It goes on to the end, and was not given back on the way."""

    def grows(self, least: float) -> bool:
        """Tell whether it surely grows by more than ``least`` per repetition."""
        return self.lasts and self.low > least


def trend(times: Sequence[float], sizes: Sequence[float], confidence: float = 0.99) -> Trend | None:
    """Judge a series of sizes at increasing times; nothing when there are too few.

    >>> found = trend(range(40), [1000 * n for n in range(40)])
    >>> found.slope, found.grows(100)
    (1000.0, True)
    >>> trend(range(40), [1000 * min(n, 20) for n in range(40)]).grows(100)
    False
    """
    if len(sizes) < LEAST_POINTS:
        return None
    start = change_point(times, sizes)
    tail_times, tail_sizes = times[start:], sizes[start:]
    slope, low, high = theil_sen(tail_times, tail_sizes, confidence)
    return Trend(slope, low, high, times[start], _lasts(times, sizes, start, slope))


def theil_sen(
    times: Sequence[float], sizes: Sequence[float], confidence: float = 0.99
) -> tuple[float, float, float]:
    """Return the median slope between pairs of points, and its confidence interval.

    >>> theil_sen([0, 1, 2, 3, 4, 5, 6, 7], [0, 2, 4, 99, 8, 10, 12, 14])[0]
    2.0
    """
    slopes = sorted(
        (later - earlier) / (end - begin)
        for (begin, earlier), (end, later) in itertools.combinations(
            zip(times, sizes, strict=True), 2
        )
        if end != begin
    )
    points, count = len(sizes), len(slopes)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    spread = z * math.sqrt(points * (points - 1) * (2 * points + 5) / 18)
    below = max(math.floor((count - spread) / 2), 0)
    above = min(math.ceil((count + spread) / 2), count - 1)
    return float(median(slopes)), float(slopes[below]), float(slopes[above])


def change_point(times: Sequence[float], sizes: Sequence[float]) -> int:
    """Return the index at which the warm-up is over: 0 when one line tells it as well.

    >>> change_point(range(30), [min(n, 10) for n in range(30)])
    10
    """
    count = len(sizes)
    last = count - max(count // _LEAST_TAIL, 4)
    head, tail = _errors(times, sizes), _errors(times[::-1], sizes[::-1])
    best, error = 0, head[count]
    for cut in range(2, last + 1):
        both = head[cut] + tail[count - cut]
        if both < error * (1 - 1e-9):
            best, error = cut, both
    return best if error <= head[count] * _BETTER else 0


def _errors(times: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Return the squared error of a straight line through the first n points, for every n."""
    found = [0.0]
    n = mean_t = mean_s = tt = ts = ss = 0.0
    for time, size in zip(times, sizes, strict=True):
        # Welford 1962: means and sums of squares one point at a time, without cancellation.
        n += 1
        dt, ds = time - mean_t, size - mean_s
        mean_t += dt / n
        mean_s += ds / n
        tt += dt * (time - mean_t)
        ss += ds * (size - mean_s)
        ts += dt * (size - mean_s)
        found.append(max(ss - (ts * ts / tt if tt else 0.0), 0.0))
    return found


def _lasts(times: Sequence[float], sizes: Sequence[float], start: int, slope: float) -> bool:
    third = max((len(sizes) - start) // 3, 4)
    growth = sizes[-1] - sizes[start]
    if growth <= 0:
        return False
    # From a little after the very beginning, where a first run throws away what it set up.
    peak, given_back = sizes[len(sizes) // 10], 0.0
    for size in sizes[len(sizes) // 10 :]:
        peak = max(peak, size)
        given_back = max(given_back, peak - size)
    if given_back > growth * _GIVEN_BACK:
        return False
    if growth < (sizes[start] - sizes[0]) * _AFTER_FILLING:
        return False
    expected = slope * (times[-1] - times[-third])
    late = sizes[-1] - sizes[-third]
    jump = max(later - earlier for earlier, later in itertools.pairwise(sizes[-third:]))
    return late >= expected * _STEADY and late - jump >= expected * _WITHOUT_ITS_JUMP
