"""Executions to the first failure, for each policy on each bug: median of 20 seeds."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bugs import BUGS, Bug
from desvelo.execution import Settings, execute
from desvelo.exploration import scale_of, young_garbage_only
from desvelo.scenario import Scenario, load_scenario
from desvelo.schedule.policy import Fifo, Scale, make_policy
from desvelo.world.boundary import Boundary

COLUMNS = ("mix", "delays", "pct", "pct(3)", "random_walk", "random_walk(0.5)", "sticky")
SEEDS = 20
LIMIT = 1000


@contextmanager
def prepared(bug: Bug) -> Iterator[tuple[Scenario, Settings, Scale]]:
    """Load a bug, see that plain FIFO does not fail, and measure its plain run."""
    scenario, settings = load_scenario(bug.file), Settings(mode=bug.mode)
    with Boundary(), young_garbage_only():
        execute(scenario, Fifo(), settings)
        plain = execute(scenario, Fifo(), settings)
        assert plain.failure is None, f"{bug.name} fails under FIFO: {plain.failure}"
        gc.freeze()
        yield scenario, settings, scale_of(plain, settings)


def until_failure(
    scenario: Scenario, settings: Settings, scale: Scale, policy: str, seed: int
) -> int | None:
    """Return at which execution the bug shows, counted as `explore` counts."""
    for number in range(1, LIMIT):
        decider = make_policy(policy, seed * 1_000_003 + number, scale)
        if execute(scenario, decider, settings).failure is not None:
            return number + 1
        if number % 20 == 0:
            gc.collect()
    return None


def shown(counts: list[int | None]) -> str:
    """Return the median, or more than the limit."""
    median = statistics.median(LIMIT * 10 if count is None else count for count in counts)
    return f">{LIMIT}" if median > LIMIT else f"{median:g}"


def main() -> None:
    print(f"Executions to the first failure, median of {SEEDS} seeds, at most {LIMIT} each.\n")
    print(f"| bug | what | {' | '.join(COLUMNS)} | executions/s |")
    print(f"|---|---|{'---|' * (len(COLUMNS) + 1)}")
    for bug in BUGS:
        cells, executions, began = [], 0, time.perf_counter()
        with prepared(bug) as (scenario, settings, scale):
            for policy in COLUMNS:
                counts = [
                    until_failure(scenario, settings, scale, policy, seed) for seed in range(SEEDS)
                ]
                executions += sum(count or LIMIT for count in counts)
                cells.append(shown(counts))
        speed = executions / (time.perf_counter() - began)
        print(f"| {bug.name} | {bug.what} | {' | '.join(cells)} | {speed:.0f} |", flush=True)
