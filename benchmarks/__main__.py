"""``python -m benchmarks [NAME ...]``: print one table for each name, all without a name."""

from __future__ import annotations

import importlib
import sys

NAMES = ("policies", "shrinking", "peers")


def main(names: list[str]) -> int:
    for name in names or NAMES:
        if name not in NAMES:
            print(f"no benchmark is called {name!r}; they are: {', '.join(NAMES)}", file=sys.stderr)
            return 2
    for name in names or NAMES:
        importlib.import_module(f"benchmarks.{name}").main()
        print()
    return 0


sys.exit(main(sys.argv[1:]))
