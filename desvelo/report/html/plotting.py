"""The plots of one phase."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from itertools import pairwise

from desvelo.measure.result import Latency, LoadStep, PhaseResult, with_unit
from desvelo.report.html.charts import Chart, Line, Mark, on_percentile_axis

_AXIS = ((0.0, "min"), (50.0, "50"), (90.0, "90"), (99.0, "99"), (99.9, "99.9"), (99.99, "99.99"))
_LEAST_POINTS = 2
_FINE = 0.1
"""Width of a step on the percentile axis where the whole distribution is known."""


def latency_chart(latency: Latency | None, before: Latency | None) -> Chart | None:
    """Plot response times over percentiles, and those of the run before as far as known."""
    if latency is None or not latency.count:
        return None
    curve = _curve(latency)
    places = [on_percentile_axis(at, latency.count) for at, _ in curve]
    lines = [Line("this run", [seconds for _, seconds in curve])]
    if before is not None and before.count:
        earlier = dict(_curve(before, [at for at, _ in curve]))
        lines.append(Line("run before", [earlier.get(at) for at, _ in curve], "dashed"))
    ticks = [(on_percentile_axis(at, 1), said) for at, said in _AXIS]
    known = dict(latency.percentiles)
    told = [
        f"{_ordinal(at)} {with_unit(known[at], 's')}" for at in (50.0, 99.0, 100.0) if at in known
    ]
    return Chart(
        "Response time by percentile",
        "percentile",
        places,
        "s",
        lines,
        f"{latency.count:,} answers: {', '.join(told)}.",
        ticks=[*(tick for tick in ticks if tick[0] < places[-1]), (places[-1], "max")],
        rows=[_named(at) for at, _ in curve],
        y_label="response time",
    )


def _ordinal(percentile: float) -> str:
    return "slowest" if percentile >= 100 else f"p{percentile:g}"


def _named(percentile: float) -> str:
    if percentile <= 0 or percentile >= 100:
        return "fastest" if percentile <= 0 else "slowest"
    return f"{percentile:.5g}"


def _curve(latency: Latency, wanted: Sequence[float] = ()) -> list[tuple[float, float]]:
    """Return (percentile, seconds), from the whole distribution where it can be read."""
    kept = sorted(latency.percentiles)
    try:
        read = importlib.import_module("hdrh.histogram").HdrHistogram.decode(latency.histogram)
    except Exception:  # not installed, no histogram kept, or none of this package
        return kept
    steps = int(math.log10(max(latency.count, 1)) / _FINE)
    even = [100 * (1 - 10 ** -(_FINE * step)) for step in range(1, steps + 1)]
    places = wanted or sorted({*(round(at, 6) for at in even), *(at for at, _ in kept)})
    exact = dict(kept)
    return [
        (at, exact[at] if at in exact else read.get_value_at_percentile(at) / 1e6) for at in places
    ]


def closed_charts(steps: Sequence[LoadStep], knee: LoadStep | None) -> list[Chart]:
    """Plot what was answered, and how slowly, against the number of users at once."""
    users = [float(step.users) for step in steps]
    if not _rising(users):
        return []
    marks = [Mark(float(knee.users), "knee")] if knee in steps and knee is not None else []
    names = [f"{step.users:,} {'user' if step.users == 1 else 'users'}" for step in steps]
    most = max(steps, key=lambda step: step.throughput)
    turn = f" The knee is at {knee.users:,}." if marks and knee is not None else ""
    return [
        Chart(
            "Throughput against users",
            "users at once",
            users,
            "1/s",
            [Line("answers", [step.throughput for step in steps])],
            f"At most {with_unit(most.throughput, '1/s')}, with {most.users:,} at once.{turn}",
            scale="log",
            rows=names,
            marks=marks,
            y_label="answers",
        ),
        Chart(
            "Response time against users",
            "users at once",
            users,
            "s",
            _percentile_lines(steps),
            _from_to(steps, "number of users"),
            scale="log",
            rows=names,
            marks=marks,
            y_label="response time",
        ),
    ]


def open_charts(steps: Sequence[LoadStep]) -> list[Chart]:
    """Plot what was answered, and how slowly, against the rate of arrivals."""
    offered = [step.offered for step in steps]
    if not _rising(offered):
        return []
    names = [f"{with_unit(one, '1/s')}" for one in offered]
    served = min(step.throughput / step.offered for step in steps)
    return [
        Chart(
            "Answers against arrivals",
            "arrivals per second",
            offered,
            "1/s",
            [
                Line("answers", [step.throughput for step in steps]),
                Line("arrivals", offered, "dashed"),
            ],
            f"At worst {with_unit(served, 'share')} of what arrived was answered in the time.",
            rows=names,
            y_label="answers",
        ),
        Chart(
            "Response time against arrivals",
            "arrivals per second",
            offered,
            "s",
            _percentile_lines(steps),
            _from_to(steps, "rate"),
            rows=names,
            y_label="response time",
        ),
    ]


def resource_charts(phase: PhaseResult) -> list[Chart]:
    """Plot what the target's own processes held over time."""
    samples = phase.samples
    at = [sample.at for sample in samples]
    if not _rising(at):
        return []
    rss, uss = [sample.rss for sample in samples], [sample.uss for sample in samples]
    fds, threads = [sample.fds for sample in samples], [sample.threads for sample in samples]
    cpu = [sample.cpu for sample in samples]
    moved = [sample.written_bytes - samples[0].written_bytes for sample in samples]
    told: list[tuple[str, str, list[Line], bool]] = [
        ("Memory", "B", [Line("resident", rss), Line("unshared", uss, "dashed")], False),
        ("File descriptors", "", [Line("open", fds)], False),
        ("Processor", "cores", [Line("used", cpu)], True),
        ("Threads", "", [Line("running", threads)], False),
    ]
    if any(moved):
        told.append(("Written to disk", "B", [Line("since the start", moved)], True))
    return [
        Chart(
            title,
            "seconds",
            at,
            unit,
            lines,
            _course([value for value in lines[0].values if value is not None], unit),
            rows=[f"{one:.1f} s" for one in at],
            from_zero=from_zero,
            y_label=title.lower(),
        )
        for title, unit, lines, from_zero in told
    ]


def _course(values: Sequence[float], unit: str) -> str:
    first, last, most = (with_unit(one, unit) for one in (values[0], values[-1], max(values)))
    return f"From {first} to {last}, at most {most}."


def _percentile_lines(steps: Sequence[LoadStep]) -> list[Line]:
    return [
        Line(f"p{at:g}", [dict(step.latency.percentiles).get(at) for step in steps], style)
        for at, style in ((50.0, "dashed"), (99.0, "line"))
    ]


def _from_to(steps: Sequence[LoadStep], what: str) -> str:
    ends = [dict(step.latency.percentiles).get(99.0) for step in (steps[0], steps[-1])]
    least, most = ("–" if one is None else with_unit(one, "s") for one in ends)
    return f"p99 from {least} at the lowest {what} to {most} at the highest."


def _rising(values: Sequence[float]) -> bool:
    return len(values) >= _LEAST_POINTS and all(a < b for a, b in pairwise(values))
