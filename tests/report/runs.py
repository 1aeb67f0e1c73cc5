"""Runs that nobody made: with every phase, every kind of figure, and words that do harm."""

import math

from desvelo.measure.load.histogram import latency_of
from desvelo.measure.result import (
    Check,
    Comparison,
    FoundFailure,
    LoadStep,
    Metric,
    PhaseResult,
    Run,
    Sample,
    Status,
    TestRecord,
)

STORY = """race: AssertionError: 9 in stock (2 operations, 1 deviation from FIFO)

What happened, time goes down:
  | take_back                                   | order                                       |
  | ------------------------------------------- | ------------------------------------------- |
* | its start is held back                      |                                             |
  |                                             | starts                                      |
> | starts                                      |                                             |
  | lost_update.py:23  stock = self.stock  ➜ 10 |                                             |
  |   … 20 ms later                                                                           |
  |                                             | lost_update.py:29  stock = self.stock | 10  |
! |   then check(): AssertionError: 10 in stock, one sold and one returned, leaves 9          |
* out of the ordinary, but possible at any time   ! the failure

`take_back` and `order` both read `self.stock` as 10."""


def full_run(number=1, slower=1.0, day=1):
    """Return a run of all phases, with ``slower`` times the response times."""
    minute = f"2026-01-{day:02}T03:{number % 60:02}:00+00:00"
    times = [
        slower * (0.002 + 0.0004 * (index % 50) + 0.1 * (index % 97 == 0)) for index in range(2000)
    ]
    latency = latency_of(times)
    load = PhaseResult(
        "load",
        started=minute,
        seconds=63.5,
        metrics={
            "throughput": Metric(812.5 / slower, "1/s", "higher"),
            "latency_p99": Metric(latency.at(99.0), "s", "lower"),
            "memory": Metric(61_341_696.0 + number, "B", "lower"),
            "requests": Metric(48_211.0, ""),
        },
        checks=[
            Check("throughput", "at least", 2.0, "1/s", 812.5, True, "default"),
            Check("memory", "at most", 2 * 2**30, "B", None, False, "thresholds.toml: load.memory"),
        ],
        errors={"timeout": 12, "status 503": 311},
        latency=latency,
        steps=[_step(users, latency, slower) for users in (1, 2, 5, 10, 20, 50, 100)]
        + [
            LoadStep(0, rate, 5.0, int(rate * 5), 0, min(rate, 815), latency)
            for rate in (200.0, 400.0, 790.0)
        ],
        knee=4,
        samples=[_sample(index) for index in range(120)],
    )
    endurance = PhaseResult(
        "endurance",
        Status.FAILED,
        "1 of 3 tests is flaky",
        minute,
        31.0,
        metrics={"success_rate": Metric(0.9712, "share", "higher")},
        problems=["2 keys are stored twice: D-1, D-2"],
        tests=[
            TestRecord("tests/test_a.py::test_steady", 10, 0, 0.0123),
            TestRecord("tests/test_a.py::test_now_and_then", 10, 3, 0.456, "assert 1 == 2"),
            TestRecord("tests/test_a.py::test_never", 10, 10, 0.001, "boom"),
        ],
        notes=["test_now_and_then fails only after test_steady"],
    )
    skipped = PhaseResult("webhook", Status.SKIPPED, "nobody answers /health", minute)
    found = FoundFailure(
        "race", "race: 9 in stock", "race-1.json", "desvelo replay race-1.json", STORY
    )
    return Run(
        f"202601{day:02}T03{number:04}",
        minute,
        "vigia_reference",
        "quick",
        Status.FAILED,
        "endurance: 1 of 3 tests is flaky",
        94.5,
        "05f54995c9a8",
        {"name": "vm", "system": "Linux 6.18", "cpu": "EPYC", "cores": "2"},
        {"python": "3.11.7"},
        "desvelo run --profile quick",
        [load, endurance, skipped],
        [
            Comparison(
                "load",
                "latency_p99",
                "s",
                0.021,
                0.042,
                1.0,
                0.9987,
                "worse",
                "load: p99 doubled",
                12,
            ),
            Comparison("load", "throughput", "1/s", 0.0, 812.5, 0.0, 0.0, "unknown", "no past", 0),
        ],
        [found],
    )


def _step(users, latency, slower):
    rate = 820 / slower * (1 - math.exp(-users / 8))
    return LoadStep(users, 0.0, 5.0, int(rate * 5), users // 50, rate, latency)


def _sample(index):
    rss = 52_000_000 + 60_000 * index
    return Sample(
        index / 2,
        rss,
        rss - 9_000_000,
        0.5 + 0.3 * math.sin(index),
        12 + index % 7,
        4,
        0,
        4096 * index,
    )


HOSTILE = (
    "</script><script>window.harmed=1</script><img src=x onerror='window.harmed=1'>"
    "<svg/onload=window.harmed=1> \"' onfocus=window.harmed=1 autofocus x=' --> <!-- ]]>"
    " javascript:window.harmed=1 \u2028\u2029\x00\x1b[31m\ud800\u202e{{7*7}} ${window.harmed=1}"
)


def hostile(value):
    """Return a JSON document with every free text of it replaced by what does harm."""
    if isinstance(value, dict):
        kept = ("status", "better", "bound", "verdict", "unit")
        return {
            (key if key.islower() and key.isidentifier() else HOSTILE): one
            if key in kept
            else hostile(one)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [hostile(one) for one in value]
    return HOSTILE if isinstance(value, str) else value


def hostile_run():
    """Return a run in which everybody who could say something was hostile."""
    document = hostile(full_run().as_json())
    table = STORY.replace(
        "stock = self.stock  ➜ 10", "</text><script>window.harmed=1</script>"[:24]
    )
    document["findings"].append({**document["findings"][0], "story": table, "svg": HOSTILE})
    document["machine"][HOSTILE] = HOSTILE
    document["phases"][0]["metrics"][HOSTILE] = document["phases"][0]["metrics"]["throughput"]
    return Run.from_json(document)
