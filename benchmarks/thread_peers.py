"""The programs of `thread_programs` under other tools; run by an interpreter that has them.

``python thread_peers.py SEEDS LIMIT`` prints one JSON object a line.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from thread_programs import PROGRAMS

SECONDS = 20.0
RATE_RUNS = 300


def holds(program: Any, state: Any) -> bool:
    try:
        program.check(state)
    except AssertionError:
        return False
    return True


def by_interleave_test(strategy: str, granularity: str) -> Callable[..., int | None]:
    import interleave_test

    def run(program: Any, seed: int, limit: int, *, judge: bool = True) -> int | None:
        def model() -> None:
            state = program.setup()
            tasks = [interleave_test.spawn(call) for call in program.operations(state).values()]
            for task in tasks:
                task.join()
            if judge:
                program.check(state)

        result = interleave_test.explore(
            model,
            iterations=limit,
            seed=seed,
            strategy=strategy,
            granularity=granularity,
            raise_on_failure=False,
        )
        return None if result.ok else _count(result)

    return run


def _count(result: Any) -> int:
    for name in ("iterations", "iterations_run", "schedules_run", "runs", "explored"):
        value = getattr(result, name, None)
        if isinstance(value, int):
            return value
    raise AttributeError(str(vars(result).keys()))


def by_frontrun(strategy: str) -> Callable[..., int | None]:
    import frontrun

    def run(program: Any, seed: int, limit: int, *, judge: bool = True) -> int | None:
        names = list(program.operations(program.setup()))
        options: dict[str, Any] = (
            {"max_attempts": limit, "seed": seed}
            if strategy == "random"
            else {"max_executions": limit}
        )
        result = frontrun.explore(
            program.setup,
            [lambda state, name=name: program.operations(state)[name]() for name in names],
            lambda state: not judge or holds(program, state),
            strategy=strategy,
            reproduce_on_failure=0,
            detect_io=False,
            total_timeout=SECONDS,
            deadlock_timeout=1.0,
            **options,
        )
        return None if result.property_holds is not False else int(result.num_explored)

    return run


def main() -> None:
    """Print what each tool needs for each program."""
    seeds, limit = int(sys.argv[1]), int(sys.argv[2])
    tools: dict[str, Callable[..., int | None]] = {}
    if importlib.util.find_spec("interleave_test") is not None:
        for strategy in ("random", "pct"):
            for granularity in ("line", "opcode"):
                tools[f"interleave-test {strategy}, {granularity}"] = by_interleave_test(
                    strategy, granularity
                )
    if importlib.util.find_spec("frontrun") is not None:
        tools["frontrun random"] = by_frontrun("random")
        tools["frontrun dpor"] = by_frontrun("dpor")
    for tool, run in tools.items():
        for kind in PROGRAMS:
            program = kind()
            row = {"tool": tool, "what": kind.what, "found": "-", "rate": "-"}
            try:
                began = time.perf_counter()
                counts = []
                for seed in range(1 if tool.endswith("dpor") else seeds):
                    found = run(program, seed, limit)
                    counts.append(limit * 10 if found is None else found)
                    if time.perf_counter() - began > SECONDS:
                        break
                median = statistics.median(counts)
                row["found"] = (
                    f">{limit}" if median > limit else f"{median:g} ({len(counts)} seeds)"
                )
                if "lock" not in kind.what:
                    began = time.process_time()
                    run(program, 1, RATE_RUNS, judge=False)
                    row["rate"] = f"{RATE_RUNS / (time.process_time() - began):,.0f}"
            except Exception as error:
                row["found"] = f"{type(error).__name__}: {error}"[:80]
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
