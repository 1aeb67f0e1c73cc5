"""The program of a machine: the steps that were taken, kept so that they can be taken again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis.stateful import MultipleResults
from hypothesis.strategies import DataObject

from desvelo.machine.bridge import number_of_choices


@dataclass(frozen=True)
class Earlier:
    """Stands for the result of an earlier step."""

    step: int
    item: int | None = None
    """Which of its values, when it returned several with ``multiple()``."""


@dataclass
class Step:
    """One call of a rule: its name and its arguments, earlier results by reference."""

    rule: str
    arguments: dict[str, Any]
    initial: bool = False
    actors: list[str] = field(default_factory=list)
    """Whom the step brought into the schedule: operations, a cancellation or a fault."""
    end: int = 0
    """How many choices had been drawn when the step was taken."""

    def uses(self) -> set[int]:
        """Return the steps whose results this one is given."""
        found: set[int] = set()
        for value in self.arguments.values():
            items = value if isinstance(value, list) else [value]
            found |= {item.step for item in items if isinstance(item, Earlier)}
        return found


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
        if isinstance(value, list) and value:
            earlier = [self._earlier(item) for item in value]
            if None not in earlier:
                return earlier
        known = self._earlier(value)
        if known is not None:
            return known
        if isinstance(value, DataObject):
            self.repeatable = False
            return value
        return copied(value)

    def _earlier(self, value: Any) -> Earlier | None:
        """Find the step that made a value; plain values are themselves wherever they come from."""
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return None
        for index in range(len(self.results) - 1, -1, -1):
            result = self.results[index]
            if result is value:
                return Earlier(index)
            if isinstance(result, MultipleResults):
                for item, one in enumerate(result.values):
                    if one is value:
                        return Earlier(index, item)
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
            if any(results[index] is None for index in step.uses()):
                # What it needs was not made this time: such a step would not have been drawn.
                continue
            arguments = {name: _resolve(value, results) for name, value in step.arguments.items()}
            results[-1] = rules[step.rule](machine, **arguments)
            machine.check_all_invariants()


def _resolve(value: Any, results: list[Any]) -> Any:
    if isinstance(value, Earlier):
        result = results[value.step]
        return result if value.item is None or result is None else result.values[value.item]
    if isinstance(value, list) and value and all(isinstance(item, Earlier) for item in value):
        return [_resolve(item, results) for item in value]
    return copied(value)


def copied(value: Any) -> Any:
    """Return a copy that the target may change, or the value itself when it cannot be copied.

    >>> kept = [1]
    >>> copied(kept) is kept, copied(kept)
    (False, [1])
    """
    try:
        return copy.deepcopy(value)
    except Exception:
        return value
