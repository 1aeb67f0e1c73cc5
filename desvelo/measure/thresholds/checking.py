"""Checking a phase against its thresholds."""

from __future__ import annotations

from desvelo.measure.result import Check, PhaseResult, Status
from desvelo.measure.thresholds.catalogue import (
    AT_LEAST,
    MEASURED,
    METRICS,
    NOT_OF_A_LIVE_SERVER,
)
from desvelo.measure.thresholds.reading import Limit, Thresholds


def judge(result: PhaseResult, thresholds: Thresholds, *, live: bool = False) -> None:
    """Add the checks of a phase, and fail it when one is broken.

    What a phase has to measure and did not is a broken check. ``live`` says that the server is
    not the run's own, so that its processes are out of sight. Of a phase that was interrupted
    only what it measured is looked at.
    """
    if result.status is Status.SKIPPED or (result.status is Status.FAILED and not result.metrics):
        return
    for limit in thresholds.of(result.phase).values():
        if limit.metric in result.metrics or (
            result.status is not Status.INTERRUPTED
            and _has_to_be_measured(limit, result.phase, thresholds, live=live)
        ):
            result.checks.append(_check(limit, result))
    if result.status is Status.PASSED:
        broken = [check for check in result.checks if not check.passed]
        if broken:
            more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
            result.fail(f"{broken[0]}{more}")


def _has_to_be_measured(limit: Limit, phase: str, thresholds: Thresholds, *, live: bool) -> bool:
    if live and limit.metric in NOT_OF_A_LIVE_SERVER:
        return False
    asked_for = thresholds.phases.get(phase, {})
    return limit.metric in asked_for or limit.metric in MEASURED.get(phase, ())


def _check(limit: Limit, result: PhaseResult) -> Check:
    known = METRICS[limit.metric]
    measured = result.metrics.get(limit.metric)
    value = None if measured is None else measured.value
    passed = value is not None and (
        value >= limit.value if known.bound == AT_LEAST else value <= limit.value
    )
    return Check(limit.metric, known.bound, limit.value, known.unit, value, passed, limit.source)
