"""How surely did a number change, given how much it moves by itself?

Times, rates and sizes are compared by their logarithms: noise on a machine is a factor, and a
change of 10 % means the same at 5 ms and at 5 s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from desvelo.measure.history.student import two_sided

LEAST_RUNS = 5
"""Earlier runs below which nothing is said of a new one."""
LEAST_PAIRS = 5
_LEAST_SPREAD = 0.002
"""Relative noise that is always assumed: runs that agree to the last digit are luck."""
_FROM_MAD = 1.4826
"""What makes the median absolute deviation of a normal distribution its standard deviation."""


@dataclass(frozen=True, slots=True)
class Change:
    """``ratio`` is new to old minus one; ``confidence`` the probability that it is no noise."""

    before: float
    now: float
    ratio: float
    confidence: float


def against_past(value: float, past: Sequence[float]) -> Change | None:
    """Judge one new value by those before it: would the next run of the same code be so far off?

    This is the prediction interval for one further observation, t = (x - m) / (s √(1 + 1/n)),
    with the larger of the standard deviation and the one estimated from the median absolute
    deviation. Nothing is said of fewer than five values, or of values that are not positive.

    >>> past = [100, 103, 98, 101, 97, 102]
    >>> found = against_past(150, past)
    >>> round(found.ratio, 2), found.confidence > 0.999
    (0.5, True)
    >>> against_past(104, past).confidence > 0.9
    False
    """
    if len(past) < LEAST_RUNS or value <= 0 or min(past) <= 0:
        return None
    logs = [math.log(one) for one in past]
    middle = median(logs)
    spread = max(stdev(logs), _FROM_MAD * median(abs(one - middle) for one in logs), _LEAST_SPREAD)
    t = (math.log(value) - fmean(logs)) / (spread * math.sqrt(1 + 1 / len(logs)))
    before = math.exp(fmean(logs))
    return Change(before, value, value / before - 1, 1 - two_sided(t, len(logs) - 1))


def of_pairs(before: Sequence[float], now: Sequence[float]) -> Change | None:
    """Judge measurements that were made in turns, each beside its counterpart.

    What disturbs the machine disturbs both of a pair, so their ratio is far calmer than either:
    the paired t test on the logarithms (Student 1908).

    >>> found = of_pairs([10, 20, 11, 19, 10, 21], [11, 22.1, 12, 21, 11, 23])
    >>> round(found.ratio, 2), found.confidence > 0.999
    (0.1, True)
    """
    if len(before) != len(now):
        raise ValueError(f"{len(before)} measurements cannot be paired with {len(now)}")
    if len(before) < LEAST_PAIRS or min(*before, *now) <= 0:
        return None
    logs = [math.log(new / old) for old, new in zip(before, now, strict=True)]
    spread = max(stdev(logs), _LEAST_SPREAD)
    t = fmean(logs) / (spread / math.sqrt(len(logs)))
    middle = math.exp(fmean(math.log(one) for one in before))
    ratio = math.exp(fmean(logs)) - 1
    return Change(middle, middle * (1 + ratio), ratio, 1 - two_sided(t, len(logs) - 1))
