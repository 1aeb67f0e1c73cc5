"""Correct programs of threads: whatever is reported of them is a false alarm."""

from __future__ import annotations

import concurrent.futures
import queue
import threading
import time
from typing import Any


class LockFree:
    """Each thread works on its own, and they meet in operations that are atomic."""

    runtime = "threads"

    def setup(self) -> Any:
        return {"done": []}

    def operations(self, state: Any) -> dict[str, Any]:
        def work(name: str) -> None:
            total = 0
            for number in range(3):
                total += number
            state["done"].append((name, total))

        return {name: lambda name=name: work(name) for name in ("one", "two", "three")}

    def check(self, state: Any) -> None:
        assert sorted(state["done"]) == [("one", 3), ("three", 3), ("two", 3)]


class Spinning:
    """One thread polls a flag that another sets: no lock, no wait."""

    runtime = "threads"

    def setup(self) -> Any:
        return {"ready": False, "seen": 0}

    def operations(self, state: Any) -> dict[str, Any]:
        def wait() -> None:
            while not state["ready"]:
                time.sleep(0.001)
            state["seen"] += 1

        def tell() -> None:
            state["ready"] = True

        return {"wait": wait, "tell": tell}

    def check(self, state: Any) -> None:
        assert state["seen"] == 1


class Pipeline:
    """A queue, a worker started by the target, a condition and a pool."""

    runtime = "threads"

    def setup(self) -> Any:
        return {"box": queue.Queue(2), "got": [], "turn": threading.Condition()}

    def operations(self, state: Any) -> dict[str, Any]:
        def worker() -> None:
            while (item := state["box"].get()) is not None:
                with state["turn"]:
                    state["got"].append(item)
                    state["turn"].notify_all()

        def produce() -> None:
            thread = threading.Thread(target=worker)
            thread.start()
            for number in range(3):
                state["box"].put(number)
            state["box"].put(None)
            thread.join()

        def watch() -> None:
            with state["turn"]:
                assert state["turn"].wait_for(lambda: len(state["got"]) >= 2, timeout=30)

        return {"produce": produce, "watch": watch}

    def check(self, state: Any) -> None:
        assert state["got"] == [0, 1, 2]


class Pools:
    """Futures of a pool, waited for with and without a time-out."""

    runtime = "threads"

    def setup(self) -> Any:
        return {"lock": threading.RLock(), "sum": 0}

    def operations(self, state: Any) -> dict[str, Any]:
        def add(number: int) -> int:
            with state["lock"]:
                seen = state["sum"]
                state["sum"] = seen + number
            return number

        def work() -> None:
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                assert sorted(pool.map(add, (1, 2))) == [1, 2]
                assert pool.submit(add, 3).result(timeout=10) == 3

        return {"one": work, "two": work}

    def check(self, state: Any) -> None:
        assert state["sum"] == 12


PROGRAMS: tuple[Any, ...] = (LockFree, LockFree, LockFree, Spinning, Pipeline, Pools)
