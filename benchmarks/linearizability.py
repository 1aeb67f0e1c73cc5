"""How long a history takes to be judged: ``python -m benchmarks linearizability``.

A history of 1,000 operations of 8 clients on a store of registers, made by running the calls in
some order and widening their times until 8 are open at each moment: linearizable. It is judged by
key (as the model's ``partition`` says) and as one; then with one result falsified, and with calls
whose fate is unknown. Each is judged in a few seeds; the seconds are CPU seconds of the process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from desvelo.oracle.invocation import Invocation
from desvelo.oracle.linearizability import Verdict, check


class Store:
    """Registers by key."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def write(self, key: str, value: int) -> None:
        self.values[key] = value

    def read(self, key: str) -> int | None:
        return self.values.get(key)

    def swap(self, key: str, old: int | None, new: int) -> bool:
        if self.values.get(key) != old:
            return False
        self.values[key] = new
        return True


class PartitionedStore(Store):
    """The same, key by key."""

    def partition(self, name: str, arguments: dict[str, Any]) -> str:
        return str(arguments["key"])


def history(seed: int, operations: int, clients: int, keys: int, unsure: float) -> list[Invocation]:
    """Return a linearizable history with ``clients`` calls open at each moment."""
    random, store = Random(seed), Store()
    free = [0.0] * clients
    calls = []
    for number in range(operations):
        # The client that has waited longest takes effect at this moment, and ends some calls on.
        client = min(range(clients), key=free.__getitem__)
        moment = number + random.random() / 2
        end = moment + random.random() * clients
        name, arguments = drawn_call(random, store, keys)
        result = getattr(store, name)(**arguments)
        call = Invocation(f"client-{client}", name, arguments, free[client], end, result)
        if random.random() < unsure:
            call = replace(call, end=None, result=None)
        calls.append(call)
        free[client] = max(end, number) + 0.001
    return calls


def drawn_call(random: Random, store: Store, keys: int) -> tuple[str, dict[str, Any]]:
    """Return an operation and its arguments; every other swap finds what it expects."""
    key, value = f"key-{random.randrange(keys)}", random.randrange(5)
    name = random.choice(("write", "read", "swap"))
    if name == "write":
        return name, {"key": key, "value": value}
    if name == "read":
        return name, {"key": key}
    old = store.values.get(key) if random.random() < 0.5 else random.randrange(5)
    return name, {"key": key, "old": old, "new": value}


def falsified(calls: Sequence[Invocation]) -> list[Invocation]:
    """Return the history with the result of its last read one that nobody ever wrote."""
    last = max(index for index, call in enumerate(calls) if call.name == "read" and call.returned)
    return [replace(call, result=99) if index == last else call for index, call in enumerate(calls)]


def main() -> int:
    """Print the table; fail when the partitioned history takes a second or a verdict is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.linearizability")
    parser.add_argument("--operations", type=int, default=1_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--keys", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    size = (options.operations, options.clients, options.keys)
    print(
        f"{size[0]:,} operations, {size[1]} clients, {size[2]} keys; {options.seeds} seeds each.\n"
    )
    print("| history | verdict | seconds (median) | slowest | states (median) |")
    print("|---|---|---|---|---|")
    good = True
    for title, model, unsure, wrong in (
        ("by key", PartitionedStore, 0.0, False),
        ("by key, 2 % never returned", PartitionedStore, 0.02, False),
        ("by key, last read falsified", PartitionedStore, 0.0, True),
        ("as one", Store, 0.0, False),
    ):
        verdicts: list[Verdict] = []
        seconds = []
        for seed in range(options.seeds):
            calls = history(seed, *size, unsure)
            if wrong:
                calls = falsified(calls)
            began = time.process_time()
            verdicts.append(check(calls, model))
            seconds.append(time.process_time() - began)
        outcomes = sorted({verdict.outcome for verdict in verdicts})
        states = statistics.median(verdict.states for verdict in verdicts)
        print(
            f"| {title} | {', '.join(outcomes)} | {statistics.median(seconds):.3f} "
            f"| {max(seconds):.3f} | {states:,.0f} |",
            flush=True,
        )
        if model is PartitionedStore:
            good = good and outcomes == ["illegal" if wrong else "ok"] and max(seconds) < 1
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
