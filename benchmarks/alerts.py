"""How surely slow-downs are told, and how seldom noise is taken for one.

    python -m benchmarks alerts                        # judge with the noise of benchmarks/data
    python -m benchmarks alerts --collect noise.json   # measure the noise of this machine (5 min)
    python -m benchmarks alerts --noise noise.json

The noise is that of real runs of the webhook phase, one after the other, and of real servers of
the same code measured in turns. Histories are drawn from it in blocks of neighbouring runs (moving
block bootstrap, Künsch 1989), so that a machine that is slow for a while stays so in them. Then
the newest run is made slower by a factor, and judged as `desvelo run` judges it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from desvelo.measure.context import Context
from desvelo.measure.environment import machine
from desvelo.measure.history import compare, open_history
from desvelo.measure.history.changepoint import change_points
from desvelo.measure.history.comparison import Limits
from desvelo.measure.history.revision import (
    METRICS,
    PAIRS,
    SECONDS,
    a_server,
    in_turns,
    judge_pairs,
)
from desvelo.measure.phases import webhook
from desvelo.measure.plan import Wishes, plan
from desvelo.measure.regression import limits_of
from desvelo.measure.result import Metric, PhaseResult, Run
from desvelo.measure.thresholds import read_thresholds
from desvelo.targets import load_target

NOISE = Path(__file__).with_name("data") / "webhook_noise.json"
SLOW_DOWNS = (0.0, 0.1, 0.2, 0.5)
HISTORIES = 200
PAST, FURTHER, BLOCK = 20, 5, 5
REQUESTS, CONCURRENCY = 1000, 50
Values = dict[str, float]
Noise = dict[str, Any]


def main() -> int:
    """Collect noise, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--collect", type=Path, metavar="FILE")
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--noise", type=Path, default=NOISE, metavar="FILE")
    options = parser.parse_args()
    if options.collect is not None:
        noise = {"machine": machine(), "load": [], **_collected(options.runs)}
        options.collect.write_text(json.dumps(noise, indent=1) + "\n", encoding="utf-8")
        return 0
    noise = json.loads(options.noise.read_text(encoding="utf-8"))
    _print_spread(noise)
    _print_rates(noise, limits_of(read_thresholds(None, "ci")))
    return 0


def _collected(count: int) -> dict[str, object]:
    target = load_target("vigia_reference")
    wishes = Wishes(("webhook",), requests=REQUESTS, concurrency=CONCURRENCY)
    load, runs = [os.getloadavg()[0]], []
    for _ in range(count):
        with tempfile.TemporaryDirectory() as folder:
            result = webhook.run(Context(target, plan(wishes), Path(folder)))
        runs.append({name: result.metrics[name].value for name in METRICS})
        print(runs[-1], file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        context = Context(target, plan(wishes), Path(folder))
        with a_server(context, "one") as one, a_server(context, "other") as other:
            before, now = in_turns(context, (one, other), 2 * count, SECONDS)
    load.append(os.getloadavg()[0])
    return {"load": load, "runs": runs, "pairs": [before, now]}


def _print_spread(noise: Noise) -> None:
    runs, (before, now) = noise["runs"], noise["pairs"]
    low, high = noise["load"]
    print(f"{len(runs)} runs, {len(now['throughput'])} pairs; load average {low:.1f} to {high:.1f}")
    for name in METRICS:
        values = [run[name] for run in runs]
        ratios = [new / old for old, new in zip(before[name], now[name], strict=True)]
        print(
            f"{name:12} varies by {_spread(values):5.1%} from run to run, "
            f"the ratio within a pair by {_spread(ratios):5.1%}"
        )


def _spread(values: list[float]) -> float:
    """Return the coefficient of variation, robust: half of what lies between the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 1.349 / middle


def _print_rates(noise: Noise, limits: Limits) -> None:
    print(f"\nof {HISTORIES} histories of {PAST} runs, alarms after a slow-down of")
    print(f"{'':44}" + "".join(f"{slow:>8.0%}" for slow in SLOW_DOWNS))
    rows: dict[str, list[int]] = {
        "the next run (this fails a run)": [],
        f"one of the next {FURTHER} runs": [],
        f"two of the next {FURTHER} runs": [],
        f"a change point, {FURTHER} runs later": [],
        f"--against: {PAIRS} pairs in turns": [],
    }
    for slow in SLOW_DOWNS:
        counts = [0] * len(rows)
        for number in range(HISTORIES):
            alarms = _alarms(noise, slow, limits, random.Random(number))
            told = (
                alarms[0],
                any(alarms),
                sum(alarms) >= 2,
                _change_point(noise, slow, random.Random(number)),
                _in_pairs(noise, slow, limits, random.Random(number)),
            )
            counts = [count + one for count, one in zip(counts, told, strict=True)]
        for row, count in zip(rows.values(), counts, strict=True):
            row.append(count)
    for title, counts in rows.items():
        print(f"{title:44}" + "".join(f"{count / HISTORIES:>8.1%}" for count in counts))


def _history(noise: Noise, generator: random.Random) -> Iterator[Values]:
    runs: list[Values] = noise["runs"]
    while True:
        start = generator.randrange(len(runs))
        yield from (runs[(start + place) % len(runs)] for place in range(BLOCK))


def _slower(values: Values, slow: float) -> Values:
    return {
        name: value / (1 + slow) if METRICS[name].better == "higher" else value * (1 + slow)
        for name, value in values.items()
    }


def _alarms(noise: Noise, slow: float, limits: Limits, generator: random.Random) -> list[bool]:
    """Return of each of the runs after a history whether it raises an alarm."""
    drawn = _history(noise, generator)
    alarms = []
    with open_history(":memory:") as history:
        for number in range(PAST + FURTHER):
            new = number >= PAST
            run = _run(number, _slower(next(drawn), slow if new else 0.0))
            if new:
                alarms.append(any(one.verdict == "worse" for one in compare(run, history, limits)))
            history.add(run)
    return alarms


def _change_point(noise: Noise, slow: float, generator: random.Random) -> bool:
    drawn = _history(noise, generator)
    runs = [_slower(next(drawn), slow if n >= PAST else 0.0) for n in range(PAST + FURTHER)]
    # So sure are all metrics together.
    chance = 0.01 / len(METRICS)
    near = range(PAST - 2, PAST + 3)
    return any(
        point in near
        for name in METRICS
        for point in change_points([run[name] for run in runs], chance)
    )


def _in_pairs(noise: Noise, slow: float, limits: Limits, generator: random.Random) -> bool:
    before, now = noise["pairs"]
    # Both servers run the same code, so either may be the slower one.
    if generator.random() < 0.5:
        before, now = now, before
    count = len(now["throughput"])
    places = [
        (start + place) % count
        for start in (generator.randrange(count) for _ in range(PAIRS // 4))
        for place in range(4)
    ]
    earlier = {name: [before[name][place] for place in places] for name in METRICS}
    slower = [_slower({name: now[name][place] for name in METRICS}, slow) for place in places]
    current = {name: [one[name] for one in slower] for name in METRICS}
    return any(one.verdict == "worse" for one in judge_pairs(earlier, current, limits))


def _run(number: int, values: Values) -> Run:
    metrics = {
        name: Metric(value, METRICS[name].unit, METRICS[name].better)
        for name, value in values.items()
    }
    started = f"2026-01-01T{number // 60:02}:{number % 60:02}:00+00:00"
    return Run(f"r{number}", started, "t", "ci", phases=[PhaseResult("webhook", metrics=metrics)])


if __name__ == "__main__":
    sys.exit(main())
