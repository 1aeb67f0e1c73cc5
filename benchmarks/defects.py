"""Planted defects: how many are found in the default budget, how soon, and how small.

``python -m benchmarks.defects [--seeds 20] [--shrunk 5] [DEFECT ...]`` runs the machines of the
stress tests, each with the budget that `pytest stress_tests/` gives it, on the reference system
with each defect switched on, with fresh seeds and nothing kept from earlier runs, and prints a
table. Of the first few seeds the failure is shrunk as well: a reproduction counts as smallest when
it has no more operations than the catalogue says, and no more deviations, faults and
cancellations together.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hypothesis import Phase, settings

from benchmarks.machines import CLINICAL_MACHINES, MACHINES, backend_of, isolation_of
from desvelo import ConcurrentMachine
from desvelo.finding.finding import Finding
from desvelo.machine.options import SearchOptions, searching_with
from desvelo.machine.report import Collector
from desvelo.machine.search import run_machine
from desvelo.targets import using_target
from stress_tests.test_webhook_client import test_a_client_can_be_used_again_in_another_loop
from vigia_reference.defects import DEFECTS, Defect

FOLDER = Path(tempfile.gettempdir()) / "desvelo-benchmark"


@dataclass
class Result:
    """What one seed showed."""

    found_by: str = ""
    executions: int = 0
    seconds: float = 0.0
    operations: int = 0
    surprises: int = 0


def machines_for(defect: Defect, first: str) -> list[type[ConcurrentMachine]]:
    """Return the machines in whose system a defect is, ``first`` first."""
    wanted: list[type[ConcurrentMachine]] = list(MACHINES)
    if defect.backends:
        wanted = [
            machine
            for machine in CLINICAL_MACHINES
            if backend_of(machine) in (*defect.backends, "")
            and (not defect.isolation or isolation_of(machine) in defect.isolation)
        ]
    return sorted(wanted, key=lambda one: one.__name__ != first)


def search(seed: int, machines: list[type[ConcurrentMachine]], *, shrink: bool) -> Result:
    """Search with one machine after the other, until one fails."""
    result = Result()
    started = time.perf_counter()
    for machine in machines:
        chosen = machine.TestCase.settings
        if not shrink:
            chosen = settings(chosen, phases=[Phase.generate])
        counted: list[Collector] = []
        kept: list[Finding] = []
        options = SearchOptions(
            seed=seed,
            save=FOLDER,
            on_end=lambda _, collector, counted=counted: counted.append(collector),
            on_finding=lambda finding, final, kept=kept: kept.append(finding),
        )
        try:
            with searching_with(options):
                run_machine(machine, chosen)
        except Exception as error:
            when = counted[0].first_failure_at
            if when is None:
                raise RuntimeError(f"{machine.__name__} did not run") from error
            result.found_by = machine.__name__
            result.executions, result.seconds = when
            if shrink:
                finding = kept[-1]
                result.operations = len(finding.operations)
                result.surprises = finding.deviations + len(finding.befell)
            return result
    try:
        test_a_client_can_be_used_again_in_another_loop()
    except Exception:
        result.found_by, result.executions = "a plain test", 1
        result.operations = 2
    result.seconds = time.perf_counter() - started
    return result


def row(defect: str, seeds: int, shrunk: int, first: str) -> tuple[str, int]:
    """Return one line of the table, and how many seeds missed the defect."""
    known = DEFECTS[defect]
    with using_target(f"vigia_reference:{defect}"):
        results = [search(1, machines_for(known, first), shrink=shrunk > 0)]
        machines = machines_for(known, results[0].found_by)
        results += [search(seed, machines, shrink=seed <= shrunk) for seed in range(2, seeds + 1)]
    found = [one for one in results if one.found_by]
    small = [one for one in results[:shrunk] if one.found_by]
    smallest = [
        one
        for one in small
        if one.operations <= known.operations and one.surprises <= known.deviations
    ]
    executions = statistics.median(one.executions for one in found) if found else 0
    most = max((one.executions for one in found), default=0)
    seconds = statistics.median(one.seconds for one in found) if found else 0
    sizes = " ".join(
        f"{operations}/{surprises}"
        for operations, surprises in sorted({(one.operations, one.surprises) for one in small})
    )
    cells = (
        defect,
        f"{len(found)}/{len(results)}",
        f"{executions:.0f}",
        str(most),
        f"{seconds:.2f}",
        f"{known.operations}/{known.deviations}",
        f"{len(smallest)}/{len(small)}",
        sizes,
        ", ".join(sorted({one.found_by for one in found})),
    )
    return f"| {' | '.join(cells)} |", len(results) - len(found)


def main() -> int:
    """Print the table; exit 1 when a defect was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.defects", description=__doc__)
    parser.add_argument("defects", nargs="*", metavar="DEFECT")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--shrunk", type=int, default=5)
    parser.add_argument("--first", default="", metavar="MACHINE", help="search with it first")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    print("| defect | found | median executions | most | median seconds | smallest known", end="")
    print(" | as small | sizes | by |\n|---|---|---|---|---|---|---|---|---|", flush=True)
    missed = 0
    for name in options.defects or DEFECTS:
        line, misses = row(name, options.seeds, options.shrunk, options.first)
        missed += misses
        print(line, flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
