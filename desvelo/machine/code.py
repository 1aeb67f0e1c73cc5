"""The program of a machine as code: the steps, as somebody would write them down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from desvelo.machine.program import Earlier, Program, Step

if TYPE_CHECKING:
    from desvelo.machine.concurrent import ConcurrentMachine


def as_code(machine: type[ConcurrentMachine], program: Program) -> list[str]:
    """Return the lines that take the steps of a program; they run when pasted.

    >>> class Empty: ...
    >>> as_code(Empty, Program([Step("settle", {})]))
    ['state = Empty()', 'state.settle()', 'state.teardown()']
    """
    referred = {index for step in program.steps for index in _references(step.arguments.values())}
    started: dict[int, str] = {index: f"pending_{n}" for n, index in enumerate(sorted(referred))}
    lines = [f"state = {machine.__name__}()"]
    for index, step in enumerate(program.steps):
        if _says_nothing(step):
            continue
        call = f"state.{step.rule}({_arguments(step, started)})"
        lines.append(f"{started[index]} = {call}" if index in started else call)
    return [*lines, "state.teardown()"]


def _references(values: Any) -> set[int]:
    found: set[int] = set()
    for value in values:
        if isinstance(value, Earlier):
            found.add(value.step)
        elif isinstance(value, list):
            found |= _references(value)
    return found


def _says_nothing(step: Step) -> bool:
    """Tell whether a step only says what holds without it: plain order, no randomness drawn."""
    return step.rule == "interleave" and step.arguments == {"plan": {"policy": "fifo", "seed": 0}}


def _arguments(step: Step, names: dict[int, str]) -> str:
    given = {
        name: value
        for name, value in step.arguments.items()
        if not (name == "deviations" and not value)
    }
    ordered = [name for name in given if name != "deviations"] + [
        name for name in given if name == "deviations"
    ]
    return ", ".join(f"{name}={_written(given[name], names)}" for name in ordered)


def _written(value: Any, names: dict[int, str]) -> str:
    if isinstance(value, Earlier):
        return names[value.step]
    if isinstance(value, list) and value and all(isinstance(item, Earlier) for item in value):
        return f"[{', '.join(names[item.step] for item in value)}]"
    return repr(value)


def first_change(recorded: Sequence[str], now: Sequence[str]) -> str | None:
    """Say which step of a program is another one now, or nothing."""
    for number, (one, two) in enumerate(zip(recorded, now, strict=False), 1):
        if one != two:
            return f"step {number} was `{one}` and is `{two}` now"
    if len(recorded) != len(now):
        return f"the program had {len(recorded)} steps and has {len(now)} now"
    return None
