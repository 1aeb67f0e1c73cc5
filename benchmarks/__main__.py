"""``python -m benchmarks [NAME [OPTION ...]]``: print the table of a name, or the quick ones."""

from __future__ import annotations

import importlib
import sys

QUICK = ("rate", "policies", "shrinking", "peers", "linearizability")
LONG = (
    "confirmation",
    "threads",
    "defects",
    "false_alarms",
    "replays",
    "postgres",
    "redis",
    "sqlite",
    "leak_check",
    "leak_cost",
    "memory",
    "fault_plans",
    "load",
    "alerts",
)
"""These take their own options, and from minutes to hours."""


def main(arguments: list[str]) -> int:
    """Run one benchmark with its options, or all the quick ones."""
    if arguments and arguments[0] not in (*QUICK, *LONG):
        known = ", ".join((*QUICK, *LONG))
        print(f"no benchmark is called {arguments[0]!r}; they are: {known}", file=sys.stderr)
        return 2
    status = 0
    for name in arguments[:1] or QUICK:
        sys.argv = [f"python -m benchmarks {name}", *arguments[1:]]
        status = importlib.import_module(f"benchmarks.{name}").main() or status
        print(flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
