"""This code against an earlier revision of itself: the phase that ``--against`` adds to a run."""

from __future__ import annotations

from collections.abc import Callable

from desvelo.measure.context import Context
from desvelo.measure.history.comparison import Limits
from desvelo.measure.history.revision import PAIRS, compare_with_revision
from desvelo.measure.result import Comparison, Metric, PhaseResult, Status

NAME = "against"


def against(
    revision: str, limits: Limits, comparisons: list[Comparison]
) -> Callable[[Context], PhaseResult]:
    """Return a phase that adds to ``comparisons``; its metrics are those of the code as it is."""

    def run(context: Context) -> PhaseResult:
        found = compare_with_revision(context, revision, limits)
        comparisons.extend(found)
        result = PhaseResult(
            NAME,
            # Neither better nor worse: what they are compared with is in the comparisons.
            metrics={one.metric: Metric(one.now, one.unit) for one in found},
            notes=[f"in turns with {revision}, {PAIRS} times each"],
        )
        if context.interruption.is_set():
            result.status = Status.INTERRUPTED
            result.reason = "interrupted before all turns were made"
        return result

    return run
