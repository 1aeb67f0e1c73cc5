"""A run against its own past: what became worse, and how sure is that?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from desvelo.measure.history.changepoint import change_points
from desvelo.measure.history.noise import LEAST_RUNS, Change, against_past
from desvelo.measure.history.store import History
from desvelo.measure.result import Comparison, Metric, PhaseResult, Run, Status, with_unit

LONGEST_PAST = 40
"""Earlier runs that are looked at."""
CONFIDENCE = 0.99
"""For a whole run: so sure are all its alarms together, however many metrics it has."""
SMALLEST_CHANGE = 0.05
"""A change that is sure and smaller than this is nobody's concern."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a change is an alarm: ``changes`` by metric name, relative; others by the default."""

    confidence: float = CONFIDENCE
    smallest: float = SMALLEST_CHANGE
    changes: Mapping[str, float] | None = None

    def smallest_of(self, metric: str) -> float:
        """Return the smallest relative change of one metric that is an alarm."""
        return (self.changes or {}).get(metric, self.smallest)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A change that is not judged yet, with the number of runs, or of pairs, it was seen in."""

    phase: str
    name: str
    metric: Metric
    change: Change
    runs: int
    basis: str = "runs"


def compare(run: Run, history: History, limits: Limits | None = None) -> list[Comparison]:
    """Compare each metric that can be better or worse with the earlier runs of the same kind.

    Of the same kind are runs of one target with one profile on one machine whose phase passed.
    Only what came after the last change of level counts, so that a slow-down of last month,
    which was accepted, does not hide one of today. Confidences are corrected for the number of
    metrics by Holm's method (1979): without that, forty metrics at 99 % would raise a false alarm
    in every third run.
    """
    limits = limits or Limits()
    candidates: list[Candidate] = []
    unknown: list[Comparison] = []
    for phase, name, metric in _judged(run.phases):
        past = history.values(run, phase, name, LONGEST_PAST)
        level = _since_last_change(past)
        change = against_past(metric.value, level)
        if change is None:
            unknown.append(_unknown(phase, name, metric, len(past)))
        else:
            candidates.append(Candidate(phase, name, metric, change, len(level)))
    return [*judged(candidates, limits), *unknown]


def _judged(phases: Iterable[PhaseResult]) -> list[tuple[str, str, Metric]]:
    return [
        (result.phase, name, metric)
        for result in phases
        if result.status in (Status.PASSED, Status.FAILED)
        for name, metric in result.metrics.items()
        if metric.better
    ]


def _since_last_change(past: Sequence[float]) -> Sequence[float]:
    points = change_points(past) if len(past) > LEAST_RUNS else []
    level = past[points[-1] :] if points else past
    # A level that has only just begun says too little; then all that is known has to do.
    return level if len(level) >= LEAST_RUNS else past


def judged(candidates: Sequence[Candidate], limits: Limits) -> list[Comparison]:
    """Judge changes together, the surest first."""
    found = []
    surest_first = sorted(candidates, key=lambda one: (-one.change.confidence, one.phase, one.name))
    chance = 0.0
    for place, one in enumerate(surest_first):
        # Holm: the n-th surest is tested against what is left; never surer than the one before.
        left = len(surest_first) - place
        chance = max(chance, min((1 - one.change.confidence) * left, 1.0))
        smallest = limits.smallest_of(one.name)
        verdict = _verdict(one.metric, one.change, 1 - chance, smallest, limits.confidence)
        found.append(
            Comparison(
                one.phase,
                one.name,
                one.metric.unit,
                one.change.before,
                one.change.now,
                one.change.ratio,
                1 - chance,
                verdict,
                in_words(one, 1 - chance, verdict),
                one.runs,
            )
        )
    return found


def _verdict(
    metric: Metric, change: Change, confidence: float, smallest: float, wanted: float
) -> str:
    if confidence < wanted or abs(change.ratio) < smallest:
        return "same"
    return "worse" if (change.ratio > 0) == (metric.better == "lower") else "better"


def in_words(candidate: Candidate, confidence: float, verdict: str) -> str:
    """Say a change in one sentence.

    >>> slower = Candidate("load", "p99", Metric(0.015, "s"), Change(0.01, 0.015, 0.5, 0.999), 12)
    >>> in_words(slower, 0.995, "worse")
    'load: p99 is worse: 15.0 ms, was 10.0 ms over 12 runs (+50 %, 99.5 % sure)'
    """
    change, unit = candidate.change, candidate.metric.unit
    numbers = f"{with_unit(change.now, unit)}, was {with_unit(change.before, unit)}"
    numbers += f" over {candidate.runs} {candidate.basis}"
    what, percent = f"{candidate.phase}: {candidate.name}", f"{change.ratio * 100:+.0f} %"
    if verdict == "same":
        return f"{what} has not changed beyond its noise: {numbers} ({percent})"
    sure = "over 99.9" if confidence > 0.999 else f"{confidence * 100:.1f}"
    return f"{what} is {verdict}: {numbers} ({percent}, {sure} % sure)"


def _unknown(phase: str, name: str, metric: Metric, runs: int) -> Comparison:
    few = f"{runs} earlier run{'' if runs == 1 else 's'}"
    why = f"{few}, at least {LEAST_RUNS} are needed" if runs < LEAST_RUNS else "it is not positive"
    sentence = f"{phase}: {name} cannot be compared yet: {why}"
    return Comparison(
        phase, name, metric.unit, 0.0, metric.value, 0.0, 0.0, "unknown", sentence, runs
    )
