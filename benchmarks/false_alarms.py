"""False alarms: the stress tests on the correct system, until so many executions have been made.

``python -m benchmarks.false_alarms [--executions 100000] [--seed 1] [--backend NAME]`` runs every
machine of the webhook service in turn, or every machine of the clinical store through one driver
(``sqlite``, ``aiosqlite``, ``psycopg``, ``asyncpg``), with many schedules for each program that
Hypothesis draws, and prints what was executed and what was found. Anything found is a defect of
the engine, of the checks or of the reference system. Exit status 1 when there is any.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.machines import CLINICAL_MACHINES, MACHINES, backend_of
from desvelo.machine.options import SearchOptions, searching_with
from desvelo.machine.report import Collector

SCHEDULES_PER_PROGRAM = 12
SLICE = 60.0
"""Real seconds that one machine runs before the next has its turn."""


def main() -> int:
    """Run until the executions are made; print a line for each machine."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.false_alarms", description=__doc__)
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path, default=Path(".desvelo/findings"))
    parser.add_argument("--backend", choices=sorted({*map(backend_of, CLINICAL_MACHINES)} - {""}))
    options = parser.parse_args()
    machines = MACHINES
    if options.backend is not None:
        machines = tuple(one for one in CLINICAL_MACHINES if backend_of(one) == options.backend)
    made = dict.fromkeys((machine.__name__ for machine in machines), 0)
    schedules = dict(made)
    alarms: list[str] = []
    turn, started = 0, time.perf_counter()
    while sum(made.values()) < options.executions and not alarms:
        machine = machines[turn % len(machines)]
        name = machine.__name__

        def ended(_: str, collector: Collector, name: str = name) -> None:
            made[name] += collector.executions
            schedules[name] += len(collector.schedules)

        search = SearchOptions(
            seed=options.seed + turn,
            deadline=time.perf_counter() + SLICE,
            save=options.save,
            batch=SCHEDULES_PER_PROGRAM,
            on_end=ended,
        )
        try:
            with searching_with(search):
                machine.TestCase("runTest").runTest()
        except Exception as error:
            alarms.append(f"{name}: {type(error).__name__}: {error}")
        turn += 1
        seconds = time.perf_counter() - started
        sys.stderr.write(
            f"{sum(made.values())} executions, {len(alarms)} alarms, {seconds:.0f} s\n"
        )
    print("| machine | executions | distinct schedules |\n|---|---|---|")
    for name, count in made.items():
        print(f"| {name} | {count} | {schedules[name]} |")
    print(f"\n{sum(made.values())} executions, {len(alarms)} false alarms")
    for alarm in alarms:
        print(alarm)
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
