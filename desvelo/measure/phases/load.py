"""The load phase: users until throughput stops growing, arrivals at fixed rates, tests by workers.

The users find the knee. What latency is like is then measured at shares of the knee's throughput,
with requests that arrive whether or not the server is ready for them.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from time import perf_counter, thread_time
from typing import Any

from desvelo.measure.context import Context
from desvelo.measure.load.arrivals import arrive, at_random
from desvelo.measure.load.client import Load
from desvelo.measure.load.ledger import Ledger
from desvelo.measure.load.ramp import knee_of, ramp
from desvelo.measure.load.request import WebhookRequest
from desvelo.measure.load.tally import Tally
from desvelo.measure.load.users import send_all
from desvelo.measure.load.window import Window
from desvelo.measure.phases.parallel import run_in_parallel
from desvelo.measure.phases.serving import Served, compare_stored, serving
from desvelo.measure.phases.traffic import write_end, write_latency, write_outcomes
from desvelo.measure.result import LoadStep, Metric, PhaseResult, Status, with_unit

SHARES = (0.5, 0.8)
"""Of the knee's throughput: the rates of arrivals when none were asked for."""
CONNECTIONS = 256
"""Arrivals use at most so many; a browser or a service that calls has its own too."""
WARMING_UP = 40
"""Requests that are sent first and not measured: the server's first are slow for good reasons."""
LATE = 0.005
BUSY = 0.9


def run(context: Context) -> PhaseResult:
    """Measure a server under load; see docs/phases/load.md."""
    result = PhaseResult("load")
    with serving(context, result) as served:
        if served is not None:
            _Requests(context, result, served).run()
    if not context.settings.url and (context.settings.tests or hasattr(context.target, "checks")):
        _add_suite(context, result)
    return result


def _add_suite(context: Context, result: PhaseResult) -> None:
    """Run the target's tests by several workers; their metrics are those that begin ``tests_``."""
    suite = PhaseResult("load")
    run_in_parallel(context, suite)
    for name, metric in suite.metrics.items():
        result.metrics[name if name.startswith("tests") else f"tests_{name}"] = metric
    result.tests += suite.tests
    result.notes += suite.notes
    for kind, times in suite.errors.items():
        result.errors[kind] = result.errors.get(kind, 0) + times
    if suite.status is Status.FAILED:
        result.fail(suite.reason)
    elif suite.status is Status.INTERRUPTED and result.status is Status.PASSED:
        result.status, result.reason = suite.status, suite.reason


class _Requests:
    def __init__(self, context: Context, result: PhaseResult, served: Served) -> None:
        self._context = context
        self._result = result
        self._served = served
        self._ledger = Ledger()
        self._tallies: list[Tally] = []
        self._rates: list[tuple[float, ...]] = []
        self._supply = _Supply(context.offered("webhook_requests"), context.settings.seed)

    def run(self) -> None:
        numbers, result = self._context.settings.load, self._result
        bar = self._context.progress.start("load", None)
        self._warm_up()
        for users in ramp(numbers.users, numbers.most, result.steps, self._over):
            self._closed(users)
            bar.advance()
        # A ramp that was cut short has not shown where it would have ended.
        knee = result.knee = None if self._over() else knee_of(result.steps)
        for rate in numbers.rates or self._shares():
            if not self._over():
                self._open(rate)
                bar.advance()
        bar.finish()
        write_end(self._context, result, self._served, self._tallies)
        write_outcomes(result, self._tallies)
        self._write_knee(knee)
        compare_stored(self._context, result, self._served, self._ledger)

    def _over(self) -> bool:
        return self._context.interruption.is_set() or bool(self._served.death)

    def _shares(self) -> list[float]:
        best = max((step.throughput for step in self._result.steps), default=0.0)
        knee = self._result.knee
        rate = best if knee is None else self._result.steps[knee].throughput
        return [share * rate for share in SHARES if rate]

    def _warm_up(self) -> None:
        tally = self._tally()
        requests = iter(self._supply.prepared(WARMING_UP))
        asyncio.run(send_all(self._load(tally), itertools.islice(requests, WARMING_UP), 2))
        # They count as requests, and in the ledger, but not among the times.
        del tally.times[:]

    def _closed(self, users: int) -> None:
        seconds = self._context.settings.load.seconds
        before = self._result.steps[-1].throughput if self._result.steps else 500.0
        tally = self._tally()
        requests = self._supply.prepared(round(3 * before * seconds))
        window = self._measured(
            send_all(self._load(tally), requests, users, seconds), f"at {users} users"
        )
        self._write(tally, tally.step(window, users=users), window)

    def _open(self, rate: float) -> None:
        seconds = self._context.settings.load.seconds
        offsets = list(at_random(rate, seconds, self._context.settings.seed))
        tally = self._tally()
        knee = self._result.knee
        ready = 8 if knee is None else self._result.steps[knee].users
        work = arrive(
            self._load(tally), self._supply.prepared(len(offsets)), offsets, CONNECTIONS, ready
        )
        window = self._measured(work, f"at {rate:.0f} arrivals a second")
        # Arrivals were offered for the whole time, also when the last came a little earlier.
        whole = Window(window.begin, max(seconds, window.seconds))
        self._write(tally, tally.step(whole, offered=rate), whole)
        write_latency(self._result, self._result.steps[-1].latency)

    def _measured(self, work: Coroutine[Any, Any, Window], when: str) -> Window:
        begin, before = perf_counter(), thread_time()
        window = asyncio.run(work)
        busy = (thread_time() - before) / (perf_counter() - begin)
        if busy > BUSY:
            self._result.notes.append(
                f"{when} the generator itself was busy for {busy:.0%} of the time: the server may "
                "be faster than what was measured; use Locust on several machines"
            )
        if window.late > LATE:
            self._result.notes.append(
                f"{when} the generator was up to {with_unit(window.late, 's')} late, which the "
                "latencies include"
            )
        return window

    def _write(self, tally: Tally, step: LoadStep, window: Window) -> None:
        self._result.steps.append(step)
        self._rates.append(tally.rates(window))

    def _write_knee(self, knee: int | None) -> None:
        closed = [step for step in self._result.steps if step.users]
        if not closed:
            return
        index = closed.index(max(closed, key=lambda step: step.throughput))
        if knee is None and not self._over():
            self._result.notes.append(
                f"no knee was found: throughput still grew at {closed[-1].users} users"
            )
        if knee is not None:
            index = knee
            self._result.metrics["knee_users"] = Metric(closed[knee].users, "users")
        self._result.metrics["throughput"] = Metric(
            closed[index].throughput, "1/s", "higher", self._rates[index]
        )
        if self._result.latency is None:
            write_latency(self._result, closed[index].latency)

    def _tally(self) -> Tally:
        tally = Tally(self._context.offered("accepted"), self._ledger)
        self._tallies.append(tally)
        return tally

    def _load(self, tally: Tally) -> Load:
        return Load(self._served.url, tally, over=self._over)


class _Supply:
    """Requests without an end, made before they are needed as far as one can know."""

    def __init__(self, make: Callable[[int, int], list[WebhookRequest]], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._ready: deque[WebhookRequest] = deque()

    def prepared(self, count: int) -> Iterator[WebhookRequest]:
        """Return all requests to come, the next ``count`` of them made already."""
        if count > len(self._ready):
            self._ready.extend(self._make(self._seed, count - len(self._ready)))
        return self._each()

    def _each(self) -> Iterator[WebhookRequest]:
        while True:
            if not self._ready:
                # Few at a time, for meanwhile nothing is sent.
                self._ready.extend(self._make(self._seed, 20))
            yield self._ready.popleft()
