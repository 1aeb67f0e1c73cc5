"""How small findings become: how often the smallest known reproduction, and how fast."""

from __future__ import annotations

import statistics
import time

from benchmarks.bugs import BUGS
from desvelo.exploration import Progress, explore

SEEDS = 20


def main() -> None:
    print(f"Shrunk findings of {SEEDS} seeds each; smallest is by operations, then deviations.\n")
    print("| bug | failures | smallest (operations, deviations) | reached | shrinking, median s |")
    print("|---|---|---|---|---|")
    all_reached = all_found = 0
    for bug in BUGS:
        sizes: dict[str, list[tuple[int, int]]] = {}
        seconds = []
        for seed in range(SEEDS):
            statistics_ = Progress()
            began = time.perf_counter()
            finding = explore(
                bug.file, seed=seed, mode=bug.mode, max_seconds=30, statistics=statistics_
            )
            if finding is None:
                continue
            seconds.append(time.perf_counter() - began - statistics_.seconds)
            size = (len(finding.operations), finding.deviations)
            sizes.setdefault(finding.site, []).append(size)
        # Two ways to fail are two findings, each with its own smallest form.
        smallest = {site: min(found) for site, found in sizes.items()}
        reached = sum(size == smallest[site] for site, found in sizes.items() for size in found)
        found_in_all = sum(map(len, sizes.values()))
        all_reached, all_found = all_reached + reached, all_found + found_in_all
        print(
            f"| {bug.name} | {found_in_all} | {', '.join(map(str, smallest.values()))} "
            f"| {reached} of {found_in_all} | {statistics.median(seconds):.2f} |",
            flush=True,
        )
    print(f"\nSmallest known reproduction in {all_reached} of {all_found} findings.")
