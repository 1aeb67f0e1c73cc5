"""What the phases that send requests write down in the same way."""

from __future__ import annotations

from collections.abc import Sequence

from desvelo.measure.context import Context
from desvelo.measure.load.ledger import Fate
from desvelo.measure.load.tally import Tally
from desvelo.measure.phases.serving import Served
from desvelo.measure.result import Latency, Metric, PhaseResult, Status

NOTHING_SENT = "no request was sent, so nothing was shown"


def write_outcomes(result: PhaseResult, tallies: Sequence[Tally]) -> None:
    """Write down how many requests there were, and how many of them ended as they should."""
    requests = sum(tally.requests for tally in tallies)
    failed = sum(tally.failed for tally in tallies)
    result.metrics["requests"] = Metric(requests, "")
    if not requests:
        result.fail(NOTHING_SENT)
        return
    result.metrics["success_rate"] = Metric(1 - failed / requests, "share", "higher")
    result.metrics["error_rate"] = Metric(failed / requests, "share", "lower")
    for tally in tallies:
        for kind, times in tally.errors.items():
            result.errors[kind] = result.errors.get(kind, 0) + times
    slowest = max((max(tally.times) for tally in tallies if tally.times), default=None)
    if slowest is not None:
        result.metrics["response_time"] = Metric(slowest, "s", "lower")


def write_latency(result: PhaseResult, latency: Latency) -> None:
    """Write down a distribution and those of its percentiles that are looked at most."""
    result.latency = latency
    if latency.count:
        for name, at in (("50", 50), ("95", 95), ("99", 99), ("999", 99.9)):
            result.metrics[f"latency_p{name}"] = Metric(latency.at(at), "s", "lower")


def write_end(
    context: Context, result: PhaseResult, served: Served, tallies: Sequence[Tally]
) -> None:
    """Say of a phase that ended early why it did, and what was known of all that was sent.

    The tallies share a ledger.
    """
    requests = sum(tally.requests for tally in tallies)
    if served.death:
        result.fail(f"after {requests:,} requests {served.death}")
    elif context.interruption.is_set():
        result.status = Status.INTERRUPTED
        result.reason = f"interrupted after {requests:,} requests"
    if served.sampling is not None and requests:
        # Hardly changed by whatever else the machine does, unlike any time on the clock.
        used = served.sampling.cpu_seconds() / requests
        result.metrics["cpu_per_request"] = Metric(used, "s", "lower")
    ledger = tallies[0].ledger
    result.notes.append(
        f"{len(ledger.of(Fate.ACKNOWLEDGED)):,} keys acknowledged, "
        f"{len(ledger.of(Fate.REFUSED)):,} refused, "
        f"{len(ledger.of(Fate.UNKNOWN)):,} without a word; each looked up in the store"
    )
