"""The webhook phase: many requests, so many at once, then what was stored against what was said.

The requests are drawn by the target's strategies; among them are some that a correct server
refuses, and second deliveries of one webhook.
"""

from __future__ import annotations

import asyncio

from desvelo.measure.context import Context
from desvelo.measure.load.arrivals import arrive, evenly
from desvelo.measure.load.client import Load
from desvelo.measure.load.ledger import Ledger
from desvelo.measure.load.request import WebhookRequest
from desvelo.measure.load.tally import Tally
from desvelo.measure.load.users import send_all
from desvelo.measure.phases.serving import Served, compare_stored, serving
from desvelo.measure.phases.traffic import (
    NOTHING_SENT,
    write_end,
    write_latency,
    write_outcomes,
)
from desvelo.measure.result import Metric, PhaseResult


def run(context: Context) -> PhaseResult:
    """Send ``settings.webhook.requests`` requests and compare; see docs/phases/webhook.md."""
    numbers = context.settings.webhook
    result = PhaseResult("webhook")
    requests = context.offered("webhook_requests")(context.settings.seed, numbers.requests)
    if not requests:
        result.fail(NOTHING_SENT)
        return result
    with serving(context, result) as served:
        if served is not None:
            _send(context, result, served, requests)
    return result


def _send(
    context: Context, result: PhaseResult, served: Served, requests: list[WebhookRequest]
) -> None:
    numbers = context.settings.webhook
    bar = context.progress.start("webhook", len(requests))
    tally = Tally(context.offered("accepted"), Ledger(), told=bar.advance)
    load = Load(
        served.url,
        tally,
        over=lambda: context.interruption.is_set() or bool(served.death),
    )
    if numbers.rate:
        offsets = evenly(numbers.rate, len(requests) / numbers.rate)
        work = arrive(load, iter(requests), offsets, connections=numbers.concurrency)
    else:
        work = send_all(load, iter(requests), numbers.concurrency)
    try:
        window = asyncio.run(work)
    finally:
        bar.finish()
    result.steps.append(
        tally.step(
            window,
            users=0 if numbers.rate else numbers.concurrency,
            offered=numbers.rate,
        )
    )
    step = result.steps[0]
    write_end(context, result, served, [tally])
    write_outcomes(result, [tally])
    write_latency(result, step.latency)
    result.metrics["throughput"] = Metric(step.throughput, "1/s", "higher", tally.rates(window))
    compare_stored(context, result, served, tally.ledger)
