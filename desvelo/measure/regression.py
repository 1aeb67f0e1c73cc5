"""A run against its own past and other revisions, judged by the limits of ``thresholds.toml``."""

from __future__ import annotations

from desvelo.measure.history.comparison import Limits
from desvelo.measure.result import Run, Status
from desvelo.measure.thresholds import Thresholds
from desvelo.measure.thresholds.reading import CONFIDENCE, EVERY


def judge_comparisons(run: Run) -> None:
    """Fail a run that has become worse than what it was compared with."""
    worse = [one for one in run.comparisons if one.verdict == "worse"]
    if worse and run.status is Status.PASSED:
        more = f" and {len(worse) - 1} more" if len(worse) > 1 else ""
        run.status, run.reason = Status.FAILED, f"{worse[0].sentence}{more}"


def limits_of(thresholds: Thresholds) -> Limits:
    """Return what counts as a regression.

    >>> from desvelo.measure.thresholds import read_thresholds
    >>> limits_of(read_thresholds(None, "quick"))
    Limits(confidence=0.99, smallest=0.1, changes={'memory': 0.2})
    """
    limits = {name: limit.value for name, limit in thresholds.regression.items()}
    return Limits(limits.pop(CONFIDENCE), limits.pop(EVERY), limits)
