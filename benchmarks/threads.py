"""Controlled threads: executions per second, and executions to the first failure.

``python -m benchmarks threads [--seeds 20] [--peers PYTHON]``. With ``--peers`` the same four
programs are run by frontrun and interleave-test, in the environment of that interpreter and in
turn with ours. ``--free N`` runs lock-free and properly locked programs N times and counts false
deadlocks and hangs.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.thread_programs import PROGRAMS
from desvelo.execution import Settings, execute
from desvelo.exploration import scale_of, young_garbage_only
from desvelo.scenario import Scenario
from desvelo.schedule.policy import Fifo, Scale, make_policy
from desvelo.world.boundary import Boundary

POLICIES = ("mix", "delays", "pct", "pct(3)", "pos", "random_walk", "random_walk(0.5)", "sticky")
LIMIT = 2_000


@contextmanager
def prepared(program: Any) -> Iterator[tuple[Scenario, Settings, Scale]]:
    """Measure the plain run of a program, which must not fail."""
    scenario, settings = Scenario(program), Settings()
    with Boundary(), young_garbage_only():
        plain = execute(scenario, Fifo(), settings)
        plain = execute(scenario, Fifo(), settings)
        assert plain.failure is None, plain.failure
        gc.freeze()
        yield scenario, settings, scale_of(plain, settings, threads=True)


def rate(program: Any, seconds: float = 2.0) -> float:
    """Return executions per CPU second of the process under drawn schedules."""
    with prepared(program) as (scenario, settings, scale):
        count, began = 0, time.process_time()
        while time.process_time() - began < seconds:
            execute(scenario, make_policy("mix", count, scale), settings)
            count += 1
            if count % 20 == 0:
                gc.collect()
        return count / (time.process_time() - began)


def until_failure(program: Any, policy: str, seeds: int) -> list[int]:
    """Return at which execution the defect shows, for each seed."""
    counts = []
    with prepared(program) as (scenario, settings, scale):
        for seed in range(seeds):
            found = LIMIT * 10
            for number in range(1, LIMIT):
                decider = make_policy(policy, seed * 1_000_003 + number, scale)
                if execute(scenario, decider, settings).failure is not None:
                    found = number
                    break
            gc.collect()
            counts.append(found)
    return counts


def free_of_false_alarms(executions: int) -> tuple[int, list[str]]:
    """Run correct programs; return how many executions there were and what was reported."""
    from benchmarks import thread_correct

    wrong: list[str] = []
    done = 0
    share = executions // len(thread_correct.PROGRAMS)
    for program in thread_correct.PROGRAMS:
        with prepared(program) as (scenario, settings, scale):
            for number in range(share):
                outcome = execute(scenario, make_policy("mix", number, scale), settings)
                done += 1
                if outcome.failure is not None:
                    wrong.append(f"{program.__name__} {number}: {outcome.failure.summary()}")
                if number % 20 == 0:
                    gc.collect()
    return done, wrong


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks threads", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has the peers")
    parser.add_argument("--free", type=int, metavar="N", help="run correct programs N times")
    options = parser.parse_args()
    if options.free:
        began = time.perf_counter()
        done, wrong = free_of_false_alarms(options.free)
        seconds = time.perf_counter() - began
        print(f"{done:,} executions of correct programs in {seconds:.0f} s: {len(wrong)} alarms")
        print("\n".join(wrong[:10]))
        return
    print(f"Python {sys.version.split()[0]}\n\n| program | executions/s |\n|---|---|")
    ours = {}
    for program in PROGRAMS:
        ours[program.__name__] = statistics.median(rate(program) for _ in range(3))
        print(f"| {program.what} | {ours[program.__name__]:,.0f} |", flush=True)
    print(
        f"\nExecutions to the first failure, median of {options.seeds} seeds, "
        "after the plain run that measures the program.\n"
    )
    print(f"| program | {' | '.join(POLICIES)} |\n|---|{'---|' * len(POLICIES)}")
    for program in PROGRAMS:
        cells = []
        for policy in POLICIES:
            median = statistics.median(until_failure(program, policy, options.seeds))
            cells.append(f">{LIMIT}" if median > LIMIT else f"{median:g}")
        print(f"| {program.what} | {' | '.join(cells)} |", flush=True)
    if options.peers:
        _compare(options.peers, options.seeds)


def _compare(python: str, seeds: int) -> None:
    here = Path(__file__).parent
    command = [python, str(here / "thread_peers.py"), str(seeds), str(LIMIT)]
    launcher = Path(python).parent / "frontrun"
    if launcher.exists():
        # It wants to put its own locks in place before anything else is loaded.
        command.insert(0, str(launcher))
    print(
        "\n| tool | program | executions to the first failure | executions/s |\n|---|---|---|---|"
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            row = json.loads(line)
            print(f"| {row['tool']} | {row['what']} | {row['found']} | {row['rate']} |", flush=True)


if __name__ == "__main__":
    main()
