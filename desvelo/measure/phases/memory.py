"""The memory phase: the same load again and again. Does the server's own process grow?

What is sampled is the server and what it has started, never the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from desvelo.measure.context import Context
from desvelo.measure.load.client import Load
from desvelo.measure.load.ledger import Ledger
from desvelo.measure.load.tally import Tally
from desvelo.measure.load.users import send_all
from desvelo.measure.phases.serving import Served, compare_stored, serving
from desvelo.measure.phases.traffic import write_end, write_outcomes
from desvelo.measure.result import Metric, PhaseResult, Sample, Status, with_unit
from desvelo.oracle.memory.trend import LEAST_POINTS, trend

REQUESTS = 100
"""In each repetition."""
USERS = 10
ALLOWED = 4 * 2**20
"""Bytes over all repetitions that are not worth a word: a database's own cache fills up so, slowly
and for long (that of SQLite up to 2 MiB for each connection)."""


def run(context: Context) -> PhaseResult:
    """Repeat a load, and look at what the server's processes hold after each repetition.

    See docs/phases/memory.md.
    """
    result = PhaseResult("memory")
    if context.settings.url:
        result.status = Status.SKIPPED
        result.reason = "the processes of a live server are out of sight; leave --url out"
        return result
    with serving(context, result, every=context.settings.memory.every) as served:
        if served is not None:
            _repeat(context, result, served)
    return result


def _repeat(context: Context, result: PhaseResult, served: Served) -> None:
    repetitions = context.settings.memory.repetitions
    assert served.sampling is not None
    bar = context.progress.start("memory", repetitions)
    tallies: list[Tally] = []
    after: list[Sample] = []
    ledger = Ledger()
    for number in range(repetitions):
        if context.interruption.is_set() or served.death:
            break
        tallies.append(Tally(context.offered("accepted"), ledger))
        asyncio.run(_load(context, served, tallies[-1], number))
        sample = served.sampling.now()
        if sample is not None:
            after.append(sample)
        bar.advance()
    bar.finish()
    write_outcomes(result, tallies)
    write_end(context, result, served, tallies)
    _write_growth(result, after)
    compare_stored(context, result, served, ledger)


async def _load(context: Context, served: Served, tally: Tally, number: int) -> None:
    # The same shapes each time, for other drawings would be another load.
    requests = context.offered("webhook_requests")(context.settings.seed, REQUESTS)
    over = context.interruption.is_set
    await send_all(Load(served.url, tally, over=over), iter(requests), USERS)


def _write_growth(result: PhaseResult, after: list[Sample]) -> None:
    if not after:
        return
    # The first repetition loads what is loaded once: it is no growth.
    first, last = after[min(1, len(after) - 1)], after[-1]
    for name, unit, before, now in (
        ("memory_growth", "B", first.rss, last.rss),
        ("fds_growth", "", first.fds, last.fds),
        ("threads_growth", "", first.threads, last.threads),
    ):
        result.metrics[name] = Metric(max(now - before, 0), unit, "lower")
    if len(after) < LEAST_POINTS:
        result.notes.append(
            f"{len(after)} repetitions are too few to tell a leak from warming up; {LEAST_POINTS} "
            "are enough"
        )
        return
    found = [
        f"{what} by {with_unit(slope, unit)} with each repetition of {REQUESTS} requests, and "
        "went on to the end"
        for what, unit, least, sizes in (
            ("the server's memory grows", "B", ALLOWED / len(after), [one.uss for one in after]),
            ("the server's open files grow", "", 0.0, [one.fds for one in after]),
            ("the server's threads grow", "", 0.0, [one.threads for one in after]),
        )
        if (slope := _slope(sizes, least))
    ]
    result.problems += found
    if not found:
        result.notes.append(
            f"memory, files and threads show no growth that lasts in {len(after)} repetitions"
        )


def _slope(sizes: Sequence[int], least: float) -> float:
    """Return how much is surely added with each repetition, up to the last; 0 for nothing."""
    found = trend([float(number) for number in range(len(sizes))], [float(one) for one in sizes])
    return found.slope if found is not None and found.grows(least) else 0.0
