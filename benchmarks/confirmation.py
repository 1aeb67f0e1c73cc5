"""How often a finding is confirmed on kernel sockets, whether it is so every time, and how long
it takes: each asyncio scenario of ``examples/``, its finding confirmed many times.

    python -m benchmarks confirmation [--times 100]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from desvelo import exploration
from desvelo.finding.confirmation import confirm
from desvelo.scenario import load_scenario

ANY_ORDER = {"stale_leader.py"}
"""Found only where steps of tasks may run in another order."""


def confirmations(file: Path, times: int) -> tuple[list[tuple[Any, str]], list[float]]:
    """Explore a scenario, and confirm what is found as often as wanted."""
    verdicts: list[tuple[Any, str]] = []
    seconds: list[float] = []

    def again(*arguments: Any, **options: Any) -> Any:
        for _ in range(times):
            started = time.perf_counter()
            verdict = confirm(*arguments, **options)
            seconds.append(time.perf_counter() - started)
            verdicts.append((verdict.confirmed, verdict.why))
        return verdict

    exploration.confirm = again  # type: ignore[attr-defined]
    try:
        mode = "any-order" if file.name in ANY_ORDER else "asyncio-order"
        exploration.explore(str(file), max_seconds=60, seed=1, mode=mode)
    finally:
        exploration.confirm = confirm  # type: ignore[attr-defined]
    return verdicts, seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks confirmation")
    parser.add_argument("--times", type=int, default=100)
    options = parser.parse_args()
    print("| scenario | confirmed | median ms | slowest ms |\n|---|---|---|---|")
    status = 0
    for file in sorted(Path("examples").glob("*.py")):
        if load_scenario(str(file)).runtime != "asyncio":
            continue
        verdicts, seconds = confirmations(file, options.times)
        sure = sum(confirmed is True for confirmed, _ in verdicts)
        median, slowest = statistics.median(seconds) * 1e3, max(seconds) * 1e3
        print(f"| {file.stem} | {sure} of {len(verdicts)} | {median:.0f} | {slowest:.0f} |")
        for _, why in {verdict for verdict in verdicts if verdict[0] is not True}:
            print(f"  {why}")
        status |= sure != len(verdicts)
    return status
