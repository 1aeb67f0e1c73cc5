"""Four small programs of threads, each with one defect, for every tool that is measured."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Counter:
    """Two threads add one twice each, by reading and writing."""

    what = "2 threads x 2 increments"
    runtime = "threads"

    class State:
        def __init__(self) -> None:
            self.count = 0

        def add(self) -> None:
            for _ in range(2):
                seen = self.count
                self.count = seen + 1

    def setup(self) -> Any:
        return Counter.State()

    def operations(self, state: Any) -> dict[str, Callable[[], Any]]:
        return {"one": state.add, "two": state.add}

    def check(self, state: Any) -> None:
        assert state.count == 4


class CheckThenAct:
    """Three threads make something that is to be made once."""

    what = "3 threads check, then act"
    runtime = "threads"

    class State:
        def __init__(self) -> None:
            self.known: dict[str, int] = {}
            self.made: list[int] = []

        def get(self) -> int:
            if "code" not in self.known:
                number = len(self.made) + 1
                self.made.append(number)
                self.known["code"] = number
            return self.known["code"]

    def setup(self) -> Any:
        return CheckThenAct.State()

    def operations(self, state: Any) -> dict[str, Callable[[], Any]]:
        return {"one": state.get, "two": state.get, "three": state.get}

    def check(self, state: Any) -> None:
        assert len(state.made) == 1


class TwoLocks:
    """Two threads take two locks in opposite orders."""

    what = "two locks, opposite orders"
    runtime = "threads"

    class State:
        def __init__(self) -> None:
            self.first = threading.Lock()
            self.second = threading.Lock()
            self.total = 0

        def forth(self) -> None:
            with self.first, self.second:
                self.total += 1

        def back(self) -> None:
            with self.second, self.first:
                self.total += 1

    def setup(self) -> Any:
        return TwoLocks.State()

    def operations(self, state: Any) -> dict[str, Callable[[], Any]]:
        return {"forth": state.forth, "back": state.back}

    def check(self, state: Any) -> None:
        assert state.total == 2


class Depth3:
    """One thread must stop in the midst, then the other, and then the first go on."""

    what = "an ordering of depth 3"
    runtime = "threads"

    class State:
        def __init__(self) -> None:
            self.open = False
            self.entered = False
            self.broken = False
            self.steps = 0

        def gate(self) -> None:
            self.steps += 1
            self.open = True
            self.steps += 1
            self.steps += 1
            self.open = False
            self.steps += 1
            self.steps += 1
            if self.entered:
                self.broken = True
            self.steps += 1

        def visitor(self) -> None:
            self.steps += 1
            self.steps += 1
            if self.open:
                self.entered = True
                self.steps += 1
                self.entered = False
            self.steps += 1

    def setup(self) -> Any:
        return Depth3.State()

    def operations(self, state: Any) -> dict[str, Callable[[], Any]]:
        return {"gate": state.gate, "visitor": state.visitor}

    def check(self, state: Any) -> None:
        assert not state.broken


PROGRAMS: tuple[Any, ...] = (Counter, CheckThenAct, TwoLocks, Depth3)
