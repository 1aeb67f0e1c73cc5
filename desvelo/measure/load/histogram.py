"""Distributions of latency, kept as HdrHistograms: microseconds, three significant digits."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

from desvelo.errors import UsageError
from desvelo.measure.result import PERCENTILES, Latency

HIGHEST = 3_600_000_000
"""One hour; what took longer counts as one hour."""


def latency_of(seconds: Iterable[float]) -> Latency:
    """Return the distribution of these times.

    >>> latency = latency_of([0.001] * 99 + [0.5])
    >>> latency.count, round(latency.mean, 4), latency.at(50), round(latency.at(100), 2)
    (100, 0.006, 0.001, 0.5)
    """
    histogram = empty()
    total, count = 0.0, 0
    for microseconds, times in Counter([round(one * 1e6) for one in seconds]).items():
        histogram.record_value(min(max(microseconds, 1), HIGHEST), times)
        total += microseconds * times
        count += times
    return _written(histogram, count, total / count / 1e6 if count else 0.0)


def merged(parts: Iterable[Latency]) -> Latency:
    """Return one distribution of all that was counted in several.

    >>> round(merged([latency_of([0.001]), latency_of([0.003])]).at(100), 4)
    0.003
    """
    histogram = empty()
    total, count = 0.0, 0
    for part in parts:
        if part.count:
            histogram.decode_and_add(part.histogram)
            total += part.mean * part.count
            count += part.count
    return _written(histogram, count, total / count if count else 0.0)


def empty() -> Any:
    """Return a histogram of the package hdrhistogram; raises `UsageError` without the package."""
    try:
        module = importlib.import_module("hdrh.histogram")
    except ImportError as missing:
        raise UsageError(
            "latencies are counted with hdrhistogram: pip install 'desvelo[measure]'"
        ) from missing
    return module.HdrHistogram(1, HIGHEST, 3)


def _written(histogram: Any, count: int, mean: float) -> Latency:
    values = histogram.get_percentile_to_value_dict(list(PERCENTILES)) if count else {}
    lowest = histogram.get_min_value() if count else 0
    pairs = [(at, (lowest if at == 0 else values.get(at, 0)) / 1e6) for at in PERCENTILES]
    return Latency(count, mean, tuple(pairs), histogram.encode().decode())
