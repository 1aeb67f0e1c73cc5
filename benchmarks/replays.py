"""Replays a finding in many fresh processes, each with another seed for the hashes of strings.

    python -m benchmarks.replays FILE [--times 100] [--at-once 2]

Every process must meet the very same events. Status 0 when all agree with the file, 1 otherwise.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from desvelo import Finding

_ONE = """
import sys
from desvelo import Finding
result = Finding.load(sys.argv[1]).replay()
print(result.digest if result.failed else "does not fail: " + result.message)
"""


def one_replay(file: Path, number: int) -> str:
    """Replay once and return the hash of all events, or what went wrong."""
    environment = {**os.environ, "PYTHONHASHSEED": str(number)}
    done = subprocess.run(
        [sys.executable, "-c", _ONE, str(file)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return f"status {done.returncode}: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
    return done.stdout.strip().splitlines()[-1]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replays", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    expected = Finding.load(options.file).digest
    started = time.perf_counter()
    with ThreadPoolExecutor(options.at_once) as pool:
        seen = Counter(pool.map(lambda n: one_replay(options.file, n), range(options.times)))
    seconds = time.perf_counter() - started
    same = seen.pop(expected, 0)
    print(f"{same} of {options.times} replays met the very same events ({seconds:.1f} s)")
    for other, count in seen.most_common(5):
        print(f"{count} times: {other}")
    return 0 if same == options.times else 1


if __name__ == "__main__":
    sys.exit(main())
