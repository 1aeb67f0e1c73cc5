"""The program of a machine: the steps that were taken, kept so that they can be taken again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from desvelo.machine.bridge import number_of_choices


@dataclass(frozen=True)
class Earlier:
    """Stands for the result of an earlier step."""

    step: int


@dataclass
class Step:
    """One call of a rule: its name and its arguments, earlier results by reference."""

    rule: str
    arguments: dict[str, Any]
    initial: bool = False
    actor: str = ""
    """Whom the step brought into the schedule: an operation, a cancellation or a fault."""
    end: int = 0
    """How many choices had been drawn when the step was taken."""


@dataclass
class Program:
    """The steps of one example."""

    steps: list[Step] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    repeatable: bool = True
    """False when a step drew interactively: such a program can run only under Hypothesis."""

    def record(self, rule: str, arguments: dict[str, Any], *, initial: bool) -> None:
        """Remember a step before it is taken."""
        kept = {name: self._keep(value) for name, value in arguments.items()}
        self.steps.append(Step(rule, kept, initial, end=number_of_choices()))
        self.results.append(None)

    def _keep(self, value: Any) -> Any:
        if (
            isinstance(value, list)
            and value
            and all(self._index(item) is not None for item in value)
        ):
            return [self._keep(item) for item in value]
        index = self._index(value)
        if index is not None:
            return Earlier(index)
        if type(value).__name__ == "DataObject":
            self.repeatable = False
            return value
        try:
            return copy.deepcopy(value)
        except Exception:
            return value

    def _index(self, value: Any) -> int | None:
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return None
        for index in range(len(self.results) - 1, -1, -1):
            if self.results[index] is value:
                return index
        return None

    def run_on(
        self, machine: Any, rules: dict[str, Callable[..., Any]], enabled: Callable[[str], bool]
    ) -> None:
        """Take the steps again on a fresh machine."""
        results: list[Any] = []
        for step in self.steps:
            results.append(None)
            if not step.initial and not enabled(step.rule):
                continue
            arguments = {name: _resolve(value, results) for name, value in step.arguments.items()}
            results[-1] = rules[step.rule](machine, **arguments)
            machine.check_all_invariants()


def _resolve(value: Any, results: list[Any]) -> Any:
    if isinstance(value, Earlier):
        return results[value.step]
    if isinstance(value, list) and value and all(isinstance(item, Earlier) for item in value):
        return [results[item.step] for item in value]
    try:
        return copy.deepcopy(value)
    except Exception:
        return value
