"""The same programs under Desvelo and under other tools, in one run.

A tool that is not installed is left out with one line.
"""

from __future__ import annotations

import asyncio
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.bugs import BUGS, Bug
from benchmarks.policies import prepared, until_failure
from desvelo.scenario import load_scenario

SEEDS = 10
LIMIT = 1000
PEERS = ("frontrun", "simloop", "simloom", "interleave_test")
NAMES = ("lost_update", "balance_report", "stale_leader")


def holds(scenario: Any, state: Any) -> bool:
    try:
        scenario.check(state)
    except AssertionError:
        return False
    return True


def plain_asyncio(bug: Bug, seed: int) -> int | None:
    """Run it again and again on the stock loop."""
    scenario = load_scenario(bug.file)

    async def once() -> bool:
        state = scenario.setup()
        await asyncio.gather(*(call() for call in scenario.operations(state).values()))
        return holds(scenario, state)

    for number in range(1, LIMIT + 1):
        if not asyncio.run(once()):
            return number
    return None


def frontrun_random(bug: Bug, seed: int) -> int | None:
    import frontrun

    scenario = load_scenario(bug.file)
    state = scenario.setup()

    def task(name: str) -> Callable[[Any], Any]:
        async def run(state: Any) -> None:
            await scenario.operations(state)[name]()

        return run

    result = asyncio.run(
        frontrun.explore_async_random(
            scenario.setup,
            [task(name) for name in scenario.operations(state)],
            lambda state: holds(scenario, state),
            max_attempts=LIMIT,
            seed=seed,
            total_timeout=15,
        )
    )
    return int(result.num_explored) if result.property_holds is False else None


def desvelo(policy: str, mode: str) -> Callable[[Bug, int], int | None]:
    def run(bug: Bug, seed: int) -> int | None:
        with prepared(Bug(bug.name, bug.what, mode)) as (scenario, settings, scale):
            return until_failure(scenario, settings, scale, policy, seed)

    return run


def main() -> None:
    tools: dict[str, Callable[[Bug, int], int | None]] = {
        "plain asyncio": plain_asyncio,
        "desvelo mix, asyncio-order": desvelo("mix", "asyncio-order"),
        "desvelo mix, any-order": desvelo("mix", "any-order"),
        "desvelo pct(3), any-order": desvelo("pct(3)", "any-order"),
        "desvelo random_walk(0.5), any-order": desvelo("random_walk(0.5)", "any-order"),
    }
    for peer in PEERS:
        if importlib.util.find_spec(peer) is None:
            print(f"{peer} is not installed: left out")
    if importlib.util.find_spec("frontrun") is not None:
        tools["frontrun random"] = frontrun_random
    bugs = [bug for bug in BUGS if bug.name in NAMES]
    print(f"\nExecutions to the first failure, median of {SEEDS} seeds, at most {LIMIT} each.")
    print("In brackets the median seconds until then; `-` where no seed found it.\n")
    print(f"| tool | {' | '.join(bug.name for bug in bugs)} |")
    print(f"|---|{'---|' * len(bugs)}")
    for tool, run in tools.items():
        cells = []
        for bug in bugs:
            counts, seconds = [], []
            for seed in range(SEEDS):
                began = time.perf_counter()
                found = run(bug, seed)
                counts.append(LIMIT * 10 if found is None else found)
                seconds.append(time.perf_counter() - began)
                if found is None and seed == 2 and min(counts) > LIMIT:
                    break  # three seeds in vain are enough
            median = statistics.median(counts)
            if min(counts) > LIMIT:
                cells.append("-")
            else:
                shown = f">{LIMIT}" if median > LIMIT else f"{median:g}"
                cells.append(f"{shown} ({statistics.median(seconds):.2f} s)")
        print(f"| {tool} | {' | '.join(cells)} |", flush=True)
