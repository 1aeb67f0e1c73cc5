"""Planted defects: how many are found in the default budget, how soon, and how small.

``python -m benchmarks.defects [--seeds 20] [--jobs 2] [DEFECT ...]`` runs the stress tests on the
reference system with each defect switched on, with fresh seeds and nothing kept from earlier runs,
and prints a table. A reproduction counts as smallest when it has no more operations than the
catalogue says, and no more deviations, faults and cancellations together.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vigia_reference.defects import DEFECTS


@dataclass(frozen=True)
class Result:
    """One run of the stress tests on one defect."""

    defect: str
    found: bool
    executions: int
    operations: int
    deviations: int
    seconds: float
    test: str
    kind: str


def run(defect: str, seed: int) -> Result:
    """Run ``pytest stress_tests/`` on a defect and read what it found."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "stress_tests",
            "--target",
            f"vigia_reference:{defect}",
            "--fuzz-seed",
            str(seed),
            "--findings",
            folder,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        failed = done.returncode == 1
        for path in Path(folder).glob("*.json"):
            found = json.loads(path.read_text())
            surprises = found["deviations"] + len(found["befell"])
            return Result(
                defect,
                failed,
                found["executions"],
                len(found["operations"]),
                surprises,
                seconds,
                found["scenario"].rpartition(":")[2],
                found["kind"],
            )
        # A plain test has no file: two calls in a fixed order.
        return Result(
            defect, failed, 1, DEFECTS[defect].operations, 0, seconds, "plain test", "error"
        )


def row(defect: str, results: list[Result]) -> str:
    """Return one line of the table."""
    known = DEFECTS[defect]
    found = [one for one in results if one.found]
    smallest = [
        one
        for one in found
        if one.operations <= known.operations and one.deviations <= known.deviations
    ]
    executions = statistics.median(one.executions for one in found) if found else 0
    seconds = statistics.median(one.seconds for one in results)
    sizes = sorted({(one.operations, one.deviations) for one in found})
    tests = ", ".join(sorted({one.test for one in found}))
    return (
        f"| {defect} | {len(found)}/{len(results)} | {executions:.0f} | {seconds:.1f} | "
        f"{known.operations}/{known.deviations} | {len(smallest)}/{len(found)} | "
        f"{' '.join(f'{a}/{b}' for a, b in sizes)} | {tests} |"
    )


def main() -> int:
    """Print the table; exit 1 when a defect was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.defects", description=__doc__)
    parser.add_argument("defects", nargs="*", metavar="DEFECT")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    names = options.defects or list(DEFECTS)
    print(
        "| defect | found | median executions | median seconds in all | smallest known "
        "| as small | sizes found | by |\n|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    missed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for name in names:
            results = list(
                pool.map(lambda seed, name=name: run(name, seed), range(1, options.seeds + 1))
            )
            missed += sum(not one.found for one in results)
            print(row(name, results), flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
