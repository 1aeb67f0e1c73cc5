"""The section of one phase."""

from __future__ import annotations

import re
from collections.abc import Iterator

from desvelo.measure.result import LoadStep, Metric, PhaseResult, Status, with_unit
from desvelo.measure.thresholds.catalogue import METRICS
from desvelo.report.html.document import Plots, moment
from desvelo.report.html.markup import Html, element, join, listed, table
from desvelo.report.html.plotting import (
    closed_charts,
    latency_chart,
    open_charts,
    resource_charts,
)

_WORDS = {
    "p50": "p50",
    "p999": "p99.9",
    "fds": "file descriptors",
    "cpu": "processor",
}


def badge(status: Status) -> Html:
    """Return how something ended, as a word with a colour."""
    return element("span", str(status), class_=f"badge {status}")


def readable(metric: str) -> str:
    """Write the name of a metric as words.

    >>> readable("latency_p999"), readable("fds_growth")
    ('latency p99.9', 'file descriptors growth')
    """
    return " ".join(_WORDS.get(word, word) for word in metric.split("_"))


def exact(value: float, unit: str) -> Html:
    """Return a number as people read it, with its exact value for programs."""
    return element("data", with_unit(value, unit), value=repr(value))


def breakable(name: str) -> Html:
    """Let a long name go on in the next line where one of its words ends.

    >>> breakable("a_b")
    'a_<wbr>b'
    """
    return join(re.split(r"(?<=[_/:.])(?=[^_/:.])", name), Html("<wbr>"))


def phase_section(
    number: int, phase: PhaseResult, before: PhaseResult | None, plots: Plots
) -> Html:
    """Return all that a phase measured; ``before`` is the same phase of the run before."""
    return element(
        "section",
        element("h2", f"Phase {phase.phase} ", badge(phase.status), id=f"phase-{number}-title"),
        _told(phase),
        join(_parts(phase, before, plots)),
        id=f"phase-{number}",
        aria_labelledby=f"phase-{number}-title",
    )


def _told(phase: PhaseResult) -> Html:
    took = f"Took {with_unit(phase.seconds, 's')}" if phase.seconds else "Took no time"
    began = join([", from ", moment(phase.started)]) if phase.started else None
    return join(
        [
            element("p", phase.reason, class_="reason") if phase.reason else None,
            element("p", took, began, ".", class_="quiet"),
        ]
    )


def _parts(phase: PhaseResult, before: PhaseResult | None, plots: Plots) -> Iterator[Html]:
    if phase.problems:
        yield _titled("Problems", listed(phase.problems))
    if phase.metrics:
        yield _titled("Metrics", _metrics(phase, before))
    latency = plots.add(latency_chart(phase.latency, before.latency if before else None))
    if latency is not None:
        yield _titled("Response times", latency)
    if phase.steps:
        yield _titled("Load", *_load(phase, plots))
    resources = [plots.add(chart) for chart in resource_charts(phase)]
    if resources:
        yield _titled("The target's own processes", element("div", *resources, class_="charts"))
    if phase.errors:
        yield _titled("Errors by kind", _errors(phase))
    if phase.tests:
        yield _titled("Tests", _tests(phase))
    if phase.notes:
        yield _titled("Notes", listed(phase.notes))


def _titled(title: str, *content: str | None) -> Html:
    return element("div", element("h3", title), *content, class_="part")


def _metrics(phase: PhaseResult, before: PhaseResult | None) -> Html:
    earlier = before.metrics if before is not None else {}
    heads = ["metric", "value", *(["run before"] if earlier else []), "better", "meaning"]
    rows = []
    for name, metric in phase.metrics.items():
        past = earlier.get(name)
        known = METRICS.get(name)
        rows.append(
            [
                readable(name),
                exact(metric.value, metric.unit),
                *([_same_unit(past, metric)] if earlier else []),
                metric.better or "–",
                known.meaning if known is not None else "",
            ]
        )
    return table(
        f"Metrics of the phase {phase.phase}", heads, rows, numbers=range(1, len(heads) - 2)
    )


def _same_unit(past: Metric | None, metric: Metric) -> str:
    return exact(past.value, past.unit) if past and past.unit == metric.unit else "–"


def _load(phase: PhaseResult, plots: Plots) -> list[Html | None]:
    knee = None
    if phase.knee is not None and 0 <= phase.knee < len(phase.steps):
        knee = phase.steps[phase.knee]
    closed = [step for step in phase.steps if step.users]
    arriving = [step for step in phase.steps if not step.users]
    charts = [*closed_charts(closed, knee), *open_charts(arriving)]
    heads = ["load", "for", "requests", "errors", "answers", "p50", "p99", "slowest"]
    rows = [
        [
            f"{_offered(step)} (knee)" if step is knee else _offered(step),
            with_unit(step.seconds, "s"),
            f"{step.requests:,}",
            f"{step.errors:,}",
            exact(step.throughput, "1/s"),
            *(_at(step, percentile) for percentile in (50.0, 99.0, 100.0)),
        ]
        for step in phase.steps
    ]
    turning = [index for index, step in enumerate(phase.steps) if step is knee]
    steps = table(
        f"Steps of load of the phase {phase.phase}",
        heads,
        rows,
        numbers=range(1, len(heads)),
        noted=turning,
    )
    drawn = [plots.add(chart) for chart in charts]
    return [element("div", *drawn, class_="charts") if drawn else None, steps]


def _offered(step: LoadStep) -> str:
    if not step.users:
        return f"{with_unit(step.offered, '1/s')} arriving"
    return "1 user" if step.users == 1 else f"{step.users:,} users"


def _at(step: LoadStep, percentile: float) -> str:
    value = dict(step.latency.percentiles).get(percentile)
    return "–" if value is None or not step.latency.count else exact(value, "s")


def _errors(phase: PhaseResult) -> Html:
    kinds = sorted(phase.errors.items(), key=lambda one: (-one[1], one[0]))
    rows = [[kind, f"{count:,}"] for kind, count in kinds]
    return table(f"Errors of the phase {phase.phase}", ["kind", "times"], rows, numbers=[1])


def _tests(phase: PhaseResult) -> Html:
    tests = sorted(phase.tests, key=lambda one: (not one.flaky, not one.failures, -one.seconds))
    rows = [
        [
            breakable(one.name),
            "flaky" if one.flaky else "failed" if one.failures else "passed",
            f"{one.failures:,} of {one.runs:,}",
            exact(one.seconds, "s"),
            one.message,
        ]
        for one in tests
    ]
    return table(
        f"Tests of the phase {phase.phase}, flaky ones first",
        ["test", "result", "failures", "mean time", "first failure"],
        rows,
        numbers=[2, 3],
        marked=[index for index, one in enumerate(tests) if one.failures],
    )
